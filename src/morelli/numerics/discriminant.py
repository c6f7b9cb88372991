"""Which of several classes a few numbers belong to: a distribution for each, shrunk towards what they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from morelli.errors import TooFewSamples
from morelli.numerics.state import State

SHARED = 0.2  # share of the covariance that is that of all classes; 0.05 does as well, 1 (LDA) worse
FREEDOM = 5.0  # degrees of freedom of the distributions: what a class never showed does not exclude it
FEWEST = 10  # samples of a class


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A multivariate t distribution for each class; all are equally likely before anything is seen.

    Attributes:
        mean: [k, d]. factor: [k, d, d], lower triangular, of the covariances.
    Source: Friedman, "Regularized discriminant analysis" (JASA 1989), and Ledoit & Wolf 2004 for what is shared.
        Differs: heavy tails, so that samples unlike any class get no absurd certainty.
    """

    mean: Tensor
    factor: Tensor

    @staticmethod
    def fit(classes: Sequence[Tensor], floor: float) -> Discriminant:
        """Of each class [n, d]; `floor`, a deviation, is added to every coordinate.

        Raises TooFewSamples with fewer than ten samples of a class.
        """
        if not classes or (fewest := min(len(values) for values in classes)) < FEWEST:
            least = f"classes of {fewest}" if classes else "no class"
            raise TooFewSamples(
                f"a discriminant was asked of {least} samples; give at least {FEWEST}, better hundreds."
            )
        mean = torch.stack([values.double().mean(0) for values in classes])
        rest = [values.double() - centre for values, centre in zip(classes, mean, strict=True)]
        together = torch.cat(rest)
        scale = (together.square().mean(0) + floor**2).sqrt()
        shared = torch.from_numpy(ledoit_wolf((together / scale).cpu().numpy(), assume_centered=True)[0]).to(mean)
        own = torch.stack([part.T @ part / len(part) for part in rest])
        covariance = SHARED * scale * shared * scale[:, None] + (1 - SHARED) * own
        covariance += torch.eye(len(scale)).to(mean) * floor**2
        return Discriminant(mean, torch.linalg.cholesky(covariance))

    def posterior(self, values: Tensor) -> Tensor:
        """[n, d] → [n, k], float64; rows sum to 1."""
        mean, factor = (given.to(values.device, torch.float64) for given in (self.mean, self.factor))
        rest = (values.double() - mean[:, None]).mT  # [k, d, n]
        distance = torch.linalg.solve_triangular(factor, rest, upper=False).square().sum(1)
        size = factor.diagonal(dim1=1, dim2=2).log().sum(1, keepdim=True)
        tail = 0.5 * (FREEDOM + values.shape[1]) * torch.log1p(distance / FREEDOM)
        return (-size - tail).T.softmax(1)

    def state(self) -> State:
        return State({"type": "discriminant"}, {"mean": self.mean, "factor": self.factor})

    @staticmethod
    def from_state(state: State) -> Discriminant:
        return Discriminant(state.tensors["mean"], state.tensors["factor"])
