"""What is known of the activation before a sample is seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from morelli.errors import UnsuitableSolver
from morelli.numerics.fidelity import Fidelity
from morelli.numerics.head import Head
from morelli.numerics.lasso import LassoProblem
from morelli.numerics.linear import Conv, Dense, LinearMap, TransposedConv
from morelli.numerics.sums import LinearSum, Resampled


class Prior(Protocol):
    """A problem in some coordinates of activation − anchor, and the way back from them."""

    def problem(self, head: Head, fidelity: Fidelity, weight: float, norm: float | None) -> LassoProblem: ...
    def activation(self, head: Head, u: Tensor) -> Tensor:
        """[n, *in] in the problem's coordinates → activation − anchor."""
        ...


@dataclass(frozen=True)
class Sparse:
    """Few activations differ from the anchor: the lasso.

    Attributes:
        nonnegative: activations are not negative, where the head says that they never were; a bound only then.
        per_channel: the weight of a channel is divided by its standard deviation, its mean staying as it was.
    """

    nonnegative: bool = False
    per_channel: bool = False

    def problem(self, head: Head, fidelity: Fidelity, weight: float, norm: float | None) -> LassoProblem:
        floor = -head.anchor if self.nonnegative and head.nonnegative else None
        return LassoProblem(head.map, fidelity, self._weights(head, weight), floor, norm)

    def _weights(self, head: Head, weight: float) -> float | Tensor:
        if not self.per_channel:
            return weight
        spread = _covariance(head).diagonal().clamp_min(0).sqrt()
        inverse = 1 / spread.clamp_min(1e-2 * float(spread.mean()) + 1e-30)
        return weight * _spread_out(head.map, inverse / inverse.mean())

    def activation(self, head: Head, u: Tensor) -> Tensor:
        return u


@dataclass(frozen=True)
class Gaussian:
    """Channels vary together as they did over the draws: u = C^{1/2}·w with w of unit covariance, for `LeastSquares`.

    The ridge estimate of w then is the posterior mean of u for noise of variance ridge·‖map·C^{1/2}‖². Activations at
    different places are taken as independent.
    """

    def problem(self, head: Head, fidelity: Fidelity, weight: float, norm: float | None) -> LassoProblem:
        return LassoProblem(mixed(head.map, _root(head)), fidelity, weight)  # its norm is another

    def activation(self, head: Head, u: Tensor) -> Tensor:
        return _mix(head.map, _root(head), u)


def _covariance(head: Head) -> Tensor:
    if head.covariance is None:
        raise UnsuitableSolver("this head was made without the covariance of its activations. Make it again.")
    return head.covariance


def _root(head: Head) -> Tensor:
    covariance = _covariance(head)
    values, vectors = torch.linalg.eigh(covariance.double())
    values = values.clamp_min(1e-6 * float(values[-1]))
    return (vectors * values.sqrt() @ vectors.T).to(covariance)


def _mix(linear: LinearMap, matrix: Tensor, u: Tensor) -> Tensor:
    """The matrix times the channels of u at every place."""
    if isinstance(linear, LinearSum):
        rows = zip(linear.parts, _of_parts(linear, matrix), linear.split(u), strict=True)
        return linear.join([_mix(*row) for row in rows])
    return (matrix @ u.reshape(len(u), len(matrix), -1)).reshape(u.shape)


def _spread_out(linear: LinearMap, values: Tensor) -> Tensor:
    """One value for each channel, in a shape that broadcasts over inputs."""
    if isinstance(linear, LinearSum):
        rows = zip(linear.parts, values.split(linear.channels), strict=True)
        return linear.join([_spread_out(part, some).expand(part.in_shape)[None] for part, some in rows])[0]
    return values.reshape(-1, *[1] * (len(linear.in_shape) - 1))


def _of_parts(linear: LinearSum, matrix: Tensor) -> list[Tensor]:
    """The blocks on the diagonal: the parts of a sum are taken as independent."""
    rows = zip(matrix.split(linear.channels), linear.channels, strict=True)
    starts = [sum(linear.channels[:k]) for k in range(len(linear.parts))]
    return [row[:, start : start + count] for (row, count), start in zip(rows, starts, strict=True)]


def mixed(linear: LinearMap, matrix: Tensor) -> LinearMap:
    """The map after a symmetric mixing of its input channels. Raises UnsuitableSolver for grouped convolutions."""
    match linear:
        case Dense():
            places = torch.eye(math.prod(linear.in_shape[1:])).to(matrix)
            return replace(linear, weight=linear.weight @ torch.kron(matrix, places))
        case Conv() if linear.geometry.groups == 1:
            return replace(linear, weight=torch.einsum("oc...,cd->od...", linear.weight, matrix))
        case TransposedConv() if linear.geometry.groups == 1:
            return replace(linear, weight=torch.einsum("co...,cd->do...", linear.weight, matrix))
        case Resampled():
            return replace(linear, mix=linear.mix @ matrix)
        case LinearSum():
            rows = zip(linear.parts, _of_parts(linear, matrix), strict=True)
            return replace(linear, parts=tuple(mixed(*row) for row in rows))
    raise UnsuitableSolver(f"a Gaussian prior does not go with a {type(linear).__name__} in groups. Use Sparse.")


PRIORS: dict[str, Callable[..., Prior]] = {"sparse": Sparse, "gaussian": Gaussian}
