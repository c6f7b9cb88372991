"""Conditional: a Gaussian of some features given the others, fitted to own samples alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from morelli.detectors.mahalanobis import Mahalanobis, MahalanobisRecipe
from morelli.detectors.protocol import Progress
from morelli.errors import MismatchError, OutOfRange, TooFewSamples
from morelli.numerics.state import State

PER_UNKNOWN = 2  # own samples for each feature that explains
PENALTY = 1e-2  # of the regression, in units of a standardised feature's share


@dataclass(frozen=True, eq=False)
class Conditional:
    """Score = squared Mahalanobis distance of the first features from what the others let expect of own samples.

    Attributes:
        slope: [d − k, k]. offset: [k]. gaussian: of the k remainders.
    """

    slope: Tensor
    offset: Tensor
    gaussian: Mahalanobis

    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n]. Raises MismatchError for features of another size."""
        return self.gaussian.score(_remainders(features.flatten(1), self.slope, self.offset))

    def state(self) -> State:
        tensors = {"slope": self.slope, "offset": self.offset}
        return State({"type": "conditional"}, tensors, {"gaussian": self.gaussian.state()})

    @staticmethod
    def from_state(state: State) -> Conditional:
        gaussian = Mahalanobis.from_state(state.parts["gaussian"])
        return Conditional(state.tensors["slope"], state.tensors["offset"], gaussian)


@dataclass(frozen=True)
class ConditionalRecipe:
    """Ridge regression of the first features on the others, and a shrunk Gaussian of what is left. One-class.

    Attributes:
        explained: how many features, from the first.
    """

    explained: int = 1

    def steps(self, own: int, other: int) -> int:
        return 1

    def settings(self) -> dict[str, Any]:
        return {"type": "conditional"} | asdict(self)

    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Conditional:
        """`other` and `seed` have no effect.

        Raises:
            OutOfRange: nothing is left to explain by, or features are not finite. TooFewSamples: fewer than two for
                each feature that explains.
        """
        data = own.flatten(1).double()
        if not 0 < self.explained < data.shape[1] or not data.isfinite().all():
            raise OutOfRange(
                f"{self.explained} of {data.shape[1]} features are to be explained by the others, all finite."
            )
        known = data[:, self.explained :]
        if len(data) < PER_UNKNOWN * known.shape[1]:
            raise TooFewSamples(
                f"{len(data)} own samples are too few for {known.shape[1]} features that explain; give "
                f"{PER_UNKNOWN * known.shape[1]} or more to train on."
            )
        centre, scale = known.mean(0), known.std(0).clamp_min(1e-6)
        unit, aims = (known - centre) / scale, data[:, : self.explained]
        gram = unit.T @ unit + PENALTY * len(unit) * torch.eye(unit.shape[1]).to(unit)
        slope = torch.linalg.solve(gram, unit.T @ (aims - aims.mean(0))) / scale[:, None]
        offset = aims.mean(0) - centre @ slope
        slope, offset = slope.to(own.dtype), offset.to(own.dtype)
        gaussian = MahalanobisRecipe().fit(_remainders(own.flatten(1), slope, offset), None, seed)
        if progress:
            progress(1)
        return Conditional(slope, offset, gaussian)


def _remainders(features: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    explained = slope.shape[1]
    if features.shape[1] != explained + len(slope):
        raise MismatchError(f"features have {features.shape[1]} numbers; expected {explained + len(slope)}.")
    return features[:, :explained] - features[:, explained:] @ slope.to(features) - offset.to(features)
