"""Normal equations of an interior point: (diag + map·D·adjoint) x = y with a diagonal D that changes every time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import torch
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded
from torch import Tensor

from morelli.errors import UnsuitableSolver
from morelli.numerics.linear import Coupling, LinearMap
from morelli.numerics.sums import LinearSum

DENSE = 512  # outputs up to which whole matrices are factorised, many samples at a time
TOGETHER, NUMBERS = 48, 2**25  # samples and numbers in one such batch
WIDEST = 3_000  # half-bandwidth beyond which a banded factor takes minutes

Solve = Callable[[Tensor], Tensor]


class Normal(Protocol):
    """Float64 throughout. `together`: how many samples `factorise` takes at a time."""

    @property
    def together(self) -> int: ...

    def factorise(self, diagonal: Tensor, scale: Tensor) -> Solve:
        """From diag [n, outputs] and D [n, inputs]: a function from y [n, outputs] to x."""
        ...


def normal_equations(linear: LinearMap) -> Normal:
    """The cheapest exact form for this map. Raises UnsuitableSolver where there is none."""
    outputs, inputs = math.prod(linear.out_shape), math.prod(linear.in_shape)
    if outputs <= DENSE:
        eye = torch.eye(outputs, dtype=torch.float64).reshape(-1, *linear.out_shape)
        matrix = linear.to("cpu", torch.float64).adjoint(eye).flatten(1)
        return DenseNormal(matrix, TOGETHER if TOGETHER * outputs * inputs <= NUMBERS else 1)
    coupling = None if isinstance(linear, LinearSum) else linear.coupling  # a sum's inputs lie on no one grid
    width = _half_band(linear.out_shape, coupling) if coupling else outputs
    if coupling is None or width > WIDEST:
        raise UnsuitableSolver(
            f"an interior point for a map to {linear.out_shape} needs a band of {width} on either side; the limit is "
            f"{WIDEST}. Use Pdhg, or solve a window of the image."
        )
    return _banded(linear.to("cpu", torch.float64), coupling, width)


@dataclass(frozen=True, eq=False)
class DenseNormal:
    matrix: Tensor  # [outputs, inputs]
    together: int

    def factorise(self, diagonal: Tensor, scale: Tensor) -> Solve:
        whole = (self.matrix * scale[:, None, :]) @ self.matrix.T
        whole.diagonal(dim1=1, dim2=2).add_(diagonal)
        factor, failed = torch.linalg.cholesky_ex(whole)
        factor[failed > 0] = torch.eye(whole.shape[1], dtype=torch.float64)  # such a sample makes no progress any more
        return lambda y: torch.cholesky_solve(y[..., None], factor)[..., 0]


@dataclass(frozen=True, eq=False)
class BandedNormal:
    """Outputs in the order row, column, channel; every input site adds one small block to the band.

    Attributes:
        order: [outputs], from that order to the flattened output; `place` is its inverse.
        blocks: [sites, c, p]: what a site's c activations give to the at most p outputs that it reaches.
        pairs: [k], where in the flattened blocks' products the lower triangle's entries are, and
        slots: [k], where in the band [width + 1, outputs] they go.
    """

    order: Tensor
    place: Tensor
    blocks: Tensor
    pairs: Tensor
    slots: Tensor
    width: int
    together: int = 1

    def factorise(self, diagonal: Tensor, scale: Tensor) -> Solve:
        size, (sites, channels, _) = len(self.order), self.blocks.shape
        weighted = self.blocks * scale.reshape(channels, sites).T[:, :, None]
        products = torch.bmm(weighted.transpose(1, 2), self.blocks).flatten()
        band = torch.zeros((self.width + 1) * size, dtype=torch.float64)
        band.index_add_(0, self.slots, products[self.pairs])
        band = band.reshape(self.width + 1, size)
        band[0] += diagonal[0, self.order]
        try:
            factor = cholesky_banded(band.numpy(), overwrite_ab=True, lower=True, check_finite=False)
        except LinAlgError:  # too near the boundary for float64: no progress any more, and the gap says where it stands
            return torch.zeros_like

        def solve(y: Tensor) -> Tensor:
            found = cho_solve_banded((factor, True), y[0, self.order].numpy(), check_finite=False)
            return torch.from_numpy(found)[self.place][None]

        return solve


def _half_band(out_shape: tuple[int, ...], coupling: Coupling) -> int:
    strides = [math.prod(out_shape[2 + k :]) * out_shape[0] for k in range(len(coupling.reach))]
    return sum(r * s for r, s in zip(coupling.reach, strides, strict=True)) + out_shape[0] - 1


def _banded(linear: LinearMap, coupling: Coupling, width: int) -> BandedNormal:
    outputs, channels = math.prod(linear.out_shape), linear.in_shape[0]
    order = torch.arange(outputs).reshape(linear.out_shape).movedim(0, -1).flatten()
    place = torch.empty_like(order)
    place[order] = torch.arange(outputs)
    output, value, activation = _entries(linear, coupling)
    sites = math.prod(linear.in_shape[1:])
    site, channel = activation % sites, activation // sites
    reached, which = (site * outputs + place[output]).unique(return_inverse=True)
    owner = reached // outputs
    first = torch.searchsorted(owner, torch.arange(sites))
    rank = torch.arange(len(reached)) - first[owner]
    most = int(rank.max()) + 1
    blocks = torch.zeros(sites, channels, most, dtype=torch.float64)
    blocks[site, channel, rank[which]] = value
    index = torch.full((sites, most), -1)
    index[owner, rank] = reached % outputs
    row, column = index[:, :, None].expand(-1, -1, most), index[:, None, :].expand(-1, most, -1)
    kept = (column >= 0) & (row >= column)
    slots = (row - column) * outputs + column
    return BandedNormal(order, place, blocks, kept.flatten().nonzero().flatten(), slots[kept], width)


def _entries(linear: LinearMap, coupling: Coupling) -> tuple[Tensor, Tensor, Tensor]:
    """All non-zero entries of the map: flat output, value, flat input.

    Outputs more than `reach` apart share no input, so they are probed together, once with ones and once with their
    own numbers; the ratio of the two answers says which of them it was.
    """
    window = [r + 1 for r in coupling.reach]
    number = torch.arange(1, math.prod(linear.out_shape) + 1, dtype=torch.float64).reshape(linear.out_shape)
    output, value, activation = [], [], []
    for channel, *colour in product(range(linear.out_shape[0]), *map(range, window)):
        probe = torch.zeros(2, *linear.out_shape, dtype=torch.float64)
        at = (channel, *(slice(c, None, w) for c, w in zip(colour, window, strict=True)))
        probe[(0, *at)] = 1.0  # type: ignore[index]
        probe[(1, *at)] = number[at]  # type: ignore[index]
        once, numbered = linear.adjoint(probe).flatten(1)
        found = once.nonzero().flatten()
        output.append((numbered[found] / once[found]).round().long() - 1)
        value.append(once[found])
        activation.append(found)
    return torch.cat(output), torch.cat(value), torch.cat(activation)
