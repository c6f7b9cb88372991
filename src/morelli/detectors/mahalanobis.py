"""One shrunk Gaussian, fitted to own samples alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor

from morelli.detectors.principal import principal_axes
from morelli.detectors.protocol import Progress
from morelli.detectors.standardise import Standardisation
from morelli.errors import TooFewSamples
from morelli.numerics.state import State


@dataclass(frozen=True, eq=False)
class Mahalanobis:
    """Score = squared Mahalanobis distance: along the axes by their variances, off them by the mean rest."""

    standardisation: Standardisation
    axes: Tensor  # [k, d]
    variances: Tensor  # [k]
    rest: Tensor  # [], variance of one dimension off the axes

    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n]."""
        data = self.standardisation(features).flatten(1)
        along = data @ self.axes.to(data).T
        off = (data - along @ self.axes.to(data)).square().sum(1)  # a difference of two squares would drown in rounding
        return (along.square() / self.variances.to(data)).sum(1) + off / self.rest.to(data)

    def state(self) -> State:
        tensors = {"axes": self.axes, "variances": self.variances, "rest": self.rest}
        return State({"type": "mahalanobis"}, tensors, {"standardisation": self.standardisation.state()})

    @staticmethod
    def from_state(state: State) -> Mahalanobis:
        tensors = state.tensors
        standardisation = Standardisation.from_state(state.parts["standardisation"])
        return Mahalanobis(standardisation, tensors["axes"], tensors["variances"], tensors["rest"])


@dataclass(frozen=True)
class MahalanobisRecipe:
    """One-class: `other` is not looked at.

    Attributes:
        axes: principal axes with a variance of their own; the variances are shrunk towards their mean by the
            Ledoit-Wolf amount, and the dimensions off the axes share one variance.
    """

    axes: int = 128

    def steps(self, own: int, other: int) -> int:
        return 1

    def settings(self) -> dict[str, Any]:
        return {"type": "mahalanobis"} | asdict(self)

    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Mahalanobis:
        """Raises TooFewSamples with fewer than three own samples; `other` and `seed` have no effect."""
        if len(own) < 3:
            raise TooFewSamples(f"a Gaussian was asked of {len(own)} own samples; give at least 3, better hundreds.")
        standardisation = Standardisation.fit(own)
        data = standardisation(own).flatten(1)
        axes, coordinates = principal_axes(data, self.axes)
        shrinkage = float(ledoit_wolf_shrinkage(coordinates.double().cpu().numpy(), assume_centered=True))
        raw = coordinates.double().square().mean(0)
        variances = (1 - shrinkage) * raw + shrinkage * raw.mean()
        total = float(data.double().square().sum(1).mean())
        left = max(data.shape[1] - len(axes), 1)
        rest = max((total - float(raw.sum())) / left, 1e-6 * float(raw.mean()))
        if progress:
            progress(1)
        return Mahalanobis(standardisation, axes, variances.to(own), torch.tensor(rest))
