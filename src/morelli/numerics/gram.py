"""The Gram matrix map·adjoint of a linear map, and exact solves with it: (shift·I + map·adjoint) x = y."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from morelli.errors import UnsuitableSolver
from morelli.numerics.linear import LinearMap
from morelli.numerics.torus import TorusInverse

DENSE = 1_536  # outputs up to which the explicit inverse is used
CHUNK = 64  # probes at a time


class GramFactor(Protocol):
    """Solves (shift·I + map·adjoint) x = y for many y [n, *out_shape], each independent of the others."""

    def solve(self, y: Tensor) -> Tensor: ...


def gram_columns(linear: LinearMap, start: int, stop: int) -> Tensor:
    """Columns [stop − start, outputs] of map·adjoint, in float64."""
    size = math.prod(linear.out_shape)
    probes = torch.zeros(stop - start, size, dtype=torch.float64)
    probes[torch.arange(stop - start), torch.arange(start, stop)] = 1.0
    return linear.apply(linear.adjoint(probes.reshape(-1, *linear.out_shape))).flatten(1)


def gram_matrix(linear: LinearMap) -> Tensor:
    """[outputs, outputs], float64, on the CPU; for small maps."""
    linear, size = linear.to("cpu", torch.float64), math.prod(linear.out_shape)
    return torch.cat([gram_columns(linear, k, min(k + CHUNK, size)) for k in range(0, size, CHUNK)])


@dataclass(frozen=True, eq=False)
class DenseInverse:
    """The explicit inverse; one matrix product per solve."""

    inverse: Tensor

    @staticmethod
    def of(linear: LinearMap, shift: float, like: Tensor) -> DenseInverse:
        gram = gram_matrix(linear)
        gram.diagonal().add_(shift)
        return DenseInverse(torch.cholesky_inverse(torch.linalg.cholesky(gram)).to(like))

    def solve(self, y: Tensor) -> Tensor:
        return (self.inverse @ y.flatten(1).T).T.contiguous().reshape(y.shape)


@dataclass(frozen=True, eq=False)
class ConjugateGradients:
    """Matrix-free, for any map: conjugate gradients to the precision of the numbers, or until `max_steps`."""

    linear: LinearMap
    shift: float
    tolerance: float
    max_steps: int = 200

    def solve(self, y: Tensor) -> Tensor:
        x, rest = torch.zeros_like(y), y.clone()
        way = rest.clone()
        power = _dot(rest, rest)
        enough = power * self.tolerance**2
        for _ in range(self.max_steps):
            if not (power > enough).any():
                break
            image = self.linear.apply(self.linear.adjoint(way)) + self.shift * way
            length = torch.where(power > enough, power / _dot(way, image).clamp_min(1e-30), 0.0)  # done ones rest
            x = x + length * way
            rest = rest - length * image
            before, power = power, torch.where(power > enough, _dot(rest, rest), power)
            way = torch.where(power > enough, rest + power / before.clamp_min(1e-30) * way, way)
        return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))


def factorise(linear: LinearMap, shift: float, like: Tensor, kind: str = "auto") -> GramFactor:
    """A factor of shift·I + map·adjoint in the precision and on the device of `like`.

    Args:
        kind: "dense" (explicit inverse), "torus" (Fourier transforms with an exact border) or "cg" (matrix-free).
            "auto" takes the first that suits: dense up to 1,536 outputs, the torus where it exists, cg otherwise.
    Raises:
        UnsuitableSolver: the kind asked for does not suit the map, or there is no such kind.
    """
    size = math.prod(linear.out_shape)
    if kind == "dense" or (kind == "auto" and (size <= DENSE)):
        return DenseInverse.of(linear, shift, like)
    if kind in ("torus", "auto"):
        torus = TorusInverse.of(linear, shift, like)
        if torus is not None:
            return torus
        if kind == "torus":
            raise UnsuitableSolver(f"a map to {linear.out_shape} has no torus form. Use the factor 'cg' or 'auto'.")
    if kind in ("cg", "auto"):
        return ConjugateGradients(
            linear.to(like.device, like.dtype), shift, 1e-6 if like.dtype != torch.float64 else 1e-12
        )
    raise UnsuitableSolver(f"there is no factor '{kind}'; there are dense, torus, cg and auto.")
