"""World: fingerprints of models that nobody enrols, by which scores are measured and error rates promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
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
            They are recentred.
        shifts: name of a coding, for example "jpeg:80" → [d], what it adds to a fingerprint on average.
        scoring: a name in `SCORINGS`.
        known: fingerprints [n, d] of each model of a gallery, from which what varies within a model is then learned
            too; `MINE` of it stays with the world.
    Raises:
        MismatchError: there is no such scoring. TooFewSamples: fewer than two models or strangers, or images of each.
    """

    models: Tensor
    strangers: Tensor
    shifts: Mapping[str, Tensor] = field(default_factory=dict)
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

    def recentred(self, fingerprints: Tensor, coding: str) -> Tensor:
        """[..., d] without what their file's coding added, by the nearest quality that is known; "none" adds nothing.

        What a codec does is larger than what models differ by, and much of it is the same for all.
        """
        kind, _, quality = coding.partition(":")
        known = {abs(float(name.partition(":")[2]) - float(quality)): name for name in self._codings(kind)}
        return fingerprints - self.shifts[known[min(known)]] if known else fingerprints

    def _codings(self, kind: str) -> list[str]:
        return [name for name in self.shifts if name.partition(":")[0] == kind]

    def see(self, fingerprints: Tensor) -> Tensor:
        """[..., d] → [..., e], as the scoring compares them."""
        return self._scoring.see(fingerprints)

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        """Enrolled [n, d], groups of queries [m, k, d] → [m]; higher = less alike."""
        return self._scoring.score(self.see(enrolled), self.see(queries))

    def state(self) -> State:
        tensors = {"models": self.models, "strangers": self.strangers}
        if self.shifts:
            tensors["shifts"] = torch.stack(list(self.shifts.values()))
        return State({"scoring": self.scoring, "shifts": list(self.shifts)}, tensors)

    @staticmethod
    def from_state(state: State) -> World:
        tensors, names = state.tensors, state.settings["shifts"]
        shifts = dict(zip(names, tensors["shifts"].float(), strict=True)) if names else {}
        return World(tensors["models"].float(), tensors["strangers"].float(), shifts, state.settings["scoring"])


def groups(models: Tensor, size: int) -> Tensor:
    """[models, images, d] → [·, size, d]: images of each model in groups; as many as there are where size is more."""
    size = min(size, models.shape[1])
    count = models.shape[1] // size
    return models[:, : count * size].reshape(-1, size, models.shape[2])
