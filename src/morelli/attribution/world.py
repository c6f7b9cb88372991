"""World: fingerprints of models that nobody enrols, by which scores are made comparable and error rates promised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize

from morelli.attribution.scoring import SCORINGS, Scoring
from morelli.errors import MismatchError, TooFewSamples
from morelli.numerics.state import State


@dataclass(frozen=True, eq=False)
class World:
    """Many models that the fingerprint network never saw.

    The first half makes scores comparable, the second tells how often they mislead: a model that did both would not
    stand for one that did neither.

    Attributes:
        models: [models, images, d], fingerprints of length 1. Kin (seeds of one blueprint) belong side by side.
        scoring: a name in `SCORINGS`.
    Raises:
        MismatchError: there is no such scoring. TooFewSamples: fewer than four models, or than two images of each.
    """

    models: Tensor
    scoring: str = "cosine"

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise MismatchError(f"there is no scoring '{self.scoring}'; there are {', '.join(SCORINGS)}.")
        if self.models.ndim != 3 or len(self.models) < 4 or self.models.shape[1] < 2:
            raise TooFewSamples(
                f"a world is {tuple(self.models.shape)}; expected fingerprints of four models or more, two images or "
                "more of each."
            )

    @property
    def cohort(self) -> Tensor:
        """The models whose scores are the unit."""
        return self.models[: len(self.models) // 2]

    @property
    def strangers(self) -> Tensor:
        """The models that stand for those that nobody knows."""
        return self.models[len(self.models) // 2 :]

    @cached_property
    def _raw(self) -> Scoring:
        return SCORINGS[self.scoring](self.cohort)

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        """Enrolled [n, d], queries [m, k, d] → [m]: in standard deviations of the cohort's scores, from both sides.

        Source: symmetric cohort normalisation of speaker verification (Matejka et al., Interspeech 2017).
        """
        raw = self._raw.score(enrolled, queries)
        theirs = self._raw.score(enrolled, groups(self.cohort, queries.shape[1]))
        ours = torch.stack([self._raw.score(model, queries) for model in self.cohort])
        from_entry = (raw - theirs.mean()) / theirs.std().clamp_min(1e-6)
        from_query = (raw - ours.mean(0)) / ours.std(0).clamp_min(1e-6)
        return (from_entry + from_query) / 2

    def state(self) -> State:
        return State({"scoring": self.scoring}, {"models": self.models})

    @staticmethod
    def from_state(state: State) -> World:
        return World(normalize(state.tensors["models"].float(), dim=-1), state.settings["scoring"])


def groups(models: Tensor, size: int) -> Tensor:
    """[models, images, d] → [·, size, d]: images of each model in groups; as many as there are where size is more."""
    size = min(size, models.shape[1])
    count = models.shape[1] // size
    return models[:, : count * size].reshape(-1, size, models.shape[2])
