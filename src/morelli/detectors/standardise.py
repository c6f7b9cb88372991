"""Per-coordinate standardisation, fitted once and kept with the detector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from morelli.numerics.state import State

FLOOR = 0.05  # added to the standard deviation, as in the paper


@dataclass(frozen=True, eq=False)
class Standardisation:
    """(x − mean)/(deviation + 0.05), coordinate by coordinate. Source: arXiv 2306.06210."""

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def fit(features: Tensor) -> Standardisation:
        return Standardisation(features.mean(0), features.std(0, correction=0) + FLOOR)

    @staticmethod
    def none(features: Tensor) -> Standardisation:
        return Standardisation(torch.zeros_like(features[0]), torch.ones_like(features[0]))

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean.to(features)) / self.deviation.to(features)

    def state(self) -> State:
        return State(tensors={"mean": self.mean, "deviation": self.deviation})

    @staticmethod
    def from_state(state: State) -> Standardisation:
        return Standardisation(state.tensors["mean"], state.tensors["deviation"])
