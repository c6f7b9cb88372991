"""World: fingerprints of models that nobody enrols, by which scores are made comparable and error rates promised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from morelli.attribution.scoring import SCORINGS, Scoring
from morelli.errors import MismatchError
from morelli.numerics.state import State


@dataclass(frozen=True, eq=False)
class World:
    """Many models that the fingerprint network never saw.

    Attributes:
        models: [models, images, d], fingerprints of length 1.
        scoring: a name in `SCORINGS`.
    Raises:
        MismatchError: there is no such scoring.
    """

    models: Tensor
    scoring: str = "cosine"

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise MismatchError(f"there is no scoring '{self.scoring}'; there are {', '.join(SCORINGS)}.")

    @cached_property
    def _raw(self) -> Scoring:
        return SCORINGS[self.scoring](self.models)

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        """Enrolled [n, d], queries [m, k, d] → [m]: in standard deviations of this world's scores, from both sides.

        Source: symmetric cohort normalisation of speaker verification (Matejka et al., Interspeech 2017).
        """
        raw = self._raw.score(enrolled, queries)
        theirs = self._raw.score(enrolled, groups(self.models, queries.shape[1]))
        ours = torch.stack([self._raw.score(model, queries) for model in self.models])
        from_entry = (raw - theirs.mean()) / theirs.std().clamp_min(1e-6)
        from_query = (raw - ours.mean(0)) / ours.std(0).clamp_min(1e-6)
        return (from_entry + from_query) / 2

    def state(self) -> State:
        return State({"scoring": self.scoring}, {"models": self.models})

    @staticmethod
    def from_state(state: State) -> World:
        return World(state.tensors["models"].float(), state.settings["scoring"])


def groups(models: Tensor, size: int) -> Tensor:
    """[models, images, d] → [·, size, d]: images of each model in groups; as many as there are where size is more."""
    size = min(size, models.shape[1])
    count = models.shape[1] // size
    return models[:, : count * size].reshape(-1, size, models.shape[2])
