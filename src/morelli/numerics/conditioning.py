"""How evenly a linear map acts: the extreme eigenvalues of map·adjoint, measured once and kept with the head."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from morelli.numerics.gram import ConjugateGradients, factorise
from morelli.numerics.linear import LinearMap, squared_norm

RESOLUTIONS = (1e-7, 1e-4)  # eigenvalues below this share of the largest are not told from zero; the first that works


@dataclass(frozen=True)
class Conditioning:
    """Eigenvalues of map·adjoint.

    Attributes:
        largest: from above (by up to a percent), so that one over it is a safe step; 0 for a map of zeros.
        smallest: to a thousandth; 0 where it is below a ten-millionth of the largest (a ten-thousandth, where
            less cannot be resolved); None where no exact solve with
            the map is at hand to measure it.
    """

    largest: float
    smallest: float | None

    @property
    def number(self) -> float | None:
        """Their ratio; infinite where outputs exist that no activation makes."""
        if self.smallest is None:
            return None
        return self.largest / self.smallest if self.smallest > 0 else math.inf

    @staticmethod
    def of(linear: LinearMap) -> Conditioning:
        """Measured by Lanczos: on the map for the largest, on its exact inverse for the smallest."""
        largest = squared_norm(linear)
        if largest == 0:
            return Conditioning(0.0, 0.0)
        like = torch.zeros((), dtype=torch.float64)
        for share in RESOLUTIONS:
            shift = share * largest
            factor = factorise(linear.to("cpu", torch.float64), shift, like)
            if not isinstance(factor, ConjugateGradients):
                break
        else:
            return Conditioning(largest, None)
        size = math.prod(linear.out_shape)

        def invert(y: object) -> object:
            return factor.solve(torch.as_tensor(y).reshape(1, *linear.out_shape)).flatten().numpy()

        if size < 3:
            eye = torch.eye(size, dtype=torch.float64).reshape(size, *linear.out_shape)
            most = float(torch.linalg.eigvalsh(factor.solve(eye).flatten(1))[-1])
        else:
            start: Tensor = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            operator = LinearOperator((size, size), invert, dtype=float)
            most = float(eigsh(operator, 1, which="LA", v0=start.numpy(), tol=1e-3, return_eigenvectors=False)[0])
        smallest = 1 / most - shift
        return Conditioning(largest, smallest if smallest > shift else 0.0)
