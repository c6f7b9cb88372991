"""What is known of activations after many draws: mean, covariance of the channels, and sign."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morelli.numerics.linear import LinearMap
from morelli.numerics.sums import LinearSum


class Moments:
    """Sums in float64 over batches [n, *map.in_shape].

    The covariance [c, c] is that of channels around the mean of each place, averaged over places; of all inputs where
    there are no places. For a sum of maps it has one block for each part, and zeros between them.
    """

    def __init__(self, linear: LinearMap) -> None:
        self.linear = linear
        self.count, self.least = 0, math.inf
        self._total = torch.zeros((), dtype=torch.float64)
        self._products = [
            torch.zeros((), dtype=torch.float64) for _ in _parts(linear, torch.zeros(0, *linear.in_shape))
        ]

    def add(self, activations: Tensor) -> None:
        exact = activations.double().cpu()
        self.count += len(exact)
        self._total, self.least = self._total + exact.sum(0), min(self.least, float(exact.min()))
        columns = [part.movedim(1, 0).flatten(1) for part in _parts(self.linear, exact)]
        self._products = [old + c @ c.T for old, c in zip(self._products, columns, strict=True)]

    @property
    def mean(self) -> Tensor:
        """[*map.in_shape]."""
        return self._total / self.count

    @property
    def covariance(self) -> Tensor:
        blocks = []
        for mean, products in zip(_parts(self.linear, self.mean[None]), self._products, strict=True):
            places, centre = math.prod(mean.shape[2:]), mean[0].flatten(1) if mean.ndim > 2 else mean[0][:, None]
            blocks.append(products / (self.count * places) - centre @ centre.T / places)
        return torch.block_diag(*blocks)


def _parts(linear: LinearMap, z: Tensor) -> list[Tensor]:
    return linear.split(z) if isinstance(linear, LinearSum) else [z]
