"""World: fingerprints of models that nobody enrols, by which scores are measured and error rates promised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from morelli.attribution.scoring import SCORINGS, Scoring, within
from morelli.errors import MismatchError, TooFewSamples
from morelli.numerics.state import State

MINE = 0.2  # share of the world in the covariance within a model, where a gallery is known


@dataclass(frozen=True, eq=False)
class World:
    """Models that nobody enrols.

    Attributes:
        models: [models, images, d], fingerprints of synthetic generators, which say what varies within a model.
        strangers: [strangers, codings, images, d], of other generators, whose images were coded in several ways. They
            say how often scores mislead, and are not among `models`: who did both would not stand for the unknown.
        scoring: a name in `SCORINGS`.
        known: fingerprints [n, d] of each model of a gallery, from which what varies within a model is then learned
            too; `MINE` of it stays with the world.
    Raises:
        MismatchError: there is no such scoring. TooFewSamples: fewer than two models or strangers, or images of each.
    """

    models: Tensor
    strangers: Tensor
    scoring: str = "distance"
    known: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise MismatchError(f"there is no scoring '{self.scoring}'; there are {', '.join(SCORINGS)}.")
        shapes = self.models.shape, self.strangers.shape
        if tuple(map(len, shapes)) != (3, 4) or min(shapes[0][:2] + shapes[1][::2]) < 2 or not self.strangers.shape[1]:
            raise TooFewSamples(
                f"a world is {tuple(shapes[0])} and {tuple(shapes[1])}; expected fingerprints [models, images, d] and "
                "[strangers, codings, images, d], of two models and strangers or more, and two images of each."
            )

    @cached_property
    def _scoring(self) -> Scoring:
        covariance = within(list(self.models))
        if self.known:
            covariance = MINE * covariance + (1 - MINE) * within(self.known)
        return SCORINGS[self.scoring](self.models, covariance)

    def see(self, fingerprints: Tensor) -> Tensor:
        """[..., d] → [..., e], as the scoring compares them."""
        return self._scoring.see(fingerprints)

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        """Enrolled [n, d], groups of queries [m, k, d] → [m]; higher = less alike."""
        return self._scoring.score(self.see(enrolled), self.see(queries))

    def state(self) -> State:
        return State({"scoring": self.scoring}, {"models": self.models, "strangers": self.strangers})

    @staticmethod
    def from_state(state: State) -> World:
        tensors = state.tensors
        return World(tensors["models"].float(), tensors["strangers"].float(), state.settings["scoring"])


def groups(models: Tensor, size: int) -> Tensor:
    """[models, images, d] → [·, size, d]: images of each model in groups; as many as there are where size is more."""
    size = min(size, models.shape[1])
    count = models.shape[1] // size
    return models[:, : count * size].reshape(-1, size, models.shape[2])
