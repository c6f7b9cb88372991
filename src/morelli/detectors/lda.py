"""Shrinkage linear discriminant: one direction, whitened by a Ledoit-Wolf covariance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from morelli.detectors.principal import principal_axes
from morelli.detectors.protocol import Progress
from morelli.detectors.standardise import Standardisation
from morelli.errors import TooFewSamples
from morelli.numerics.state import State


@dataclass(frozen=True, eq=False)
class Lda:
    """Score = ⟨direction, standardised features⟩ + offset; positive where "other" is the likelier class."""

    standardisation: Standardisation
    direction: Tensor  # [*shape]
    offset: Tensor  # []

    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n]."""
        weighted = self.standardisation(features).flatten(1) * self.direction.to(features).flatten()
        return weighted.sum(1) + self.offset.to(features)

    def state(self) -> State:
        tensors = {"direction": self.direction, "offset": self.offset}
        return State({"type": "lda"}, tensors, {"standardisation": self.standardisation.state()})

    @staticmethod
    def from_state(state: State) -> Lda:
        standardisation = Standardisation.from_state(state.parts["standardisation"])
        return Lda(standardisation, state.tensors["direction"], state.tensors["offset"])


@dataclass(frozen=True)
class LdaRecipe:
    """Standardise by own samples, keep the first principal axes of both classes, fit scikit-learn's LDA there.

    Attributes:
        axes: principal axes kept where features are wider; fewer where there are fewer samples. See
            docs/choosing.md for how 128 was chosen.

    Source: Ledoit & Wolf 2004 (the covariance), as in scikit-learn with solver "lsqr", shrinkage "auto".
    """

    axes: int = 128

    def steps(self, own: int, other: int) -> int:
        return 1

    def settings(self) -> dict[str, Any]:
        return {"type": "lda"} | asdict(self)

    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Lda:
        """Raises TooFewSamples without at least two samples of either class; `seed` has no effect."""
        if other is None or min(len(own), len(other)) < 2:
            raise TooFewSamples(
                "a linear discriminant needs at least two own and two other samples. "
                "Give samples of another source, or use the one-class detector (`--detector mahalanobis`)."
            )
        standardisation = Standardisation.fit(own)
        data = standardisation(torch.cat([own, other])).flatten(1)
        centre = data.mean(0)
        axes, coordinates = principal_axes(data - centre, self.axes)
        labels = [0] * len(own) + [1] * len(other)
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(
            coordinates.double().cpu().numpy(), labels
        )
        direction = torch.from_numpy(lda.coef_[0]).to(own) @ axes
        offset = float(lda.intercept_[0]) - float(direction @ centre)
        if progress:
            progress(1)
        return Lda(standardisation, direction.reshape(own.shape[1:]), torch.tensor(offset))
