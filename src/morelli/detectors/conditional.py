"""Conditional: are some features larger than the others let expect of own samples?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from morelli.detectors.protocol import Progress
from morelli.errors import MismatchError, MorelliError, OutOfRange, TooFewSamples
from morelli.numerics.state import State

PENALTY = 1e-2  # of the regression, in units of a standardised feature's share


@dataclass(frozen=True, eq=False)
class Conditional:
    """Score = mean of what the first features have above what the others let expect, in own samples' deviations.

    Attributes:
        slope: [d − k, k]. offset, deviation: [k].
        bounds: [2, d − k], beyond which the others explain no more than there; none in earlier bundles.
    """

    slope: Tensor
    offset: Tensor
    deviation: Tensor
    bounds: Tensor | None = None

    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n]. Raises MismatchError for features of another size."""
        values = features.flatten(1)
        explained = len(self.offset)
        if values.shape[1] != explained + len(self.slope):
            raise MismatchError(f"features have {values.shape[1]} numbers; expected {explained + len(self.slope)}.")
        known = values[:, explained:]
        if self.bounds is not None:
            known = torch.maximum(torch.minimum(known, self.bounds[1].to(values)), self.bounds[0].to(values))
        expected = known @ self.slope.to(values) + self.offset.to(values)
        return ((values[:, :explained] - expected) / self.deviation.to(values)).mean(1)

    def state(self) -> State:
        tensors = {"slope": self.slope, "offset": self.offset, "deviation": self.deviation}
        if self.bounds is not None:
            tensors["bounds"] = self.bounds
        return State({"type": "conditional"}, tensors)

    @staticmethod
    def from_state(state: State) -> Conditional:
        tensors = state.tensors
        return Conditional(tensors["slope"], tensors["offset"], tensors["deviation"], tensors.get("bounds"))


@dataclass(frozen=True)
class ConditionalRecipe:
    """Ridge regression of the first features on the others. One-class, and one-sided: less than expected is no fault.

    Attributes:
        explained: how many features, from the first.
        per_unknown: own samples that it takes for each feature that explains.
        reach: own deviations from their mean up to which the others explain; None, and they do without end.
    """

    explained: int = 1
    per_unknown: float = 2.0
    reach: float | None = None

    def steps(self, own: int, other: int) -> int:
        return 1

    def settings(self) -> dict[str, Any]:
        return {"type": "conditional"} | asdict(self)

    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Conditional:
        """`other` and `seed` have no effect.

        Raises:
            OutOfRange: nothing is left to explain by, or features are not finite.
            TooFewSamples: fewer than `per_unknown` for each feature that explains, or than three.
            MorelliError: all own samples have the same features.
        """
        data = own.flatten(1).double()
        if not 0 < self.explained < data.shape[1]:
            raise OutOfRange(f"{self.explained} of {data.shape[1]} features cannot be explained by the others.")
        if not data.isfinite().all():
            raise OutOfRange("features are not finite; check the range of the samples.")
        known, aims = data[:, self.explained :], data[:, : self.explained]
        least = max(3, round(self.per_unknown * known.shape[1]))
        if len(data) < least:
            raise TooFewSamples(
                f"{len(data)} own samples are too few for {known.shape[1]} features that explain; give {least} or more "
                "to train on."
            )
        if not (data != data[0]).any():
            raise MorelliError("features of all own samples are the same, so nothing can be learned from them.")
        centre, scale = known.mean(0), known.std(0).clamp_min(1e-6)
        unit = (known - centre) / scale
        gram = unit.T @ unit + PENALTY * len(unit) * torch.eye(unit.shape[1]).to(unit)
        slope = torch.linalg.solve(gram, unit.T @ (aims - aims.mean(0))) / scale[:, None]
        offset = aims.mean(0) - centre @ slope
        deviation = (aims - known @ slope - offset).std(0).clamp_min(1e-6)
        if progress:
            progress(1)
        bounds = None
        if self.reach is not None:
            bounds = torch.stack([centre - self.reach * scale, centre + self.reach * scale]).to(own.dtype)
        slope, offset, deviation = (x.to(own.dtype).contiguous() for x in (slope, offset, deviation))
        return Conditional(slope, offset, deviation, bounds)
