"""Exact solves with map·adjoint in the Fourier domain, for maps that are the same everywhere but at the border."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from morelli.numerics.linear import Coupling, LinearMap

EDGE = 6_600  # outputs near the border, up to which the torus is corrected by an explicit matrix
EXACT = 1e-4  # largest relative residual of a solve


@dataclass(frozen=True, eq=False)
class TorusInverse:
    """Fourier transforms on the torus, corrected exactly where the border makes the map differ from it.

    Away from the border map·adjoint is the same everywhere, up to the stride's period, so on a torus it is diagonal
    in frequency: one small matrix per frequency (`spectrum`, inverted). The rows near the border, `edge`, differ by
    a matrix Δ, and (T + Δ)⁻¹ = T⁻¹ − T⁻¹(Δ⁻¹ + T⁻¹)⁻¹T⁻¹ restricted to them (Woodbury); `bridge` is the middle factor.

    Attributes:
        spectrum: [frequencies, 2·c·phases, 2·c·phases]; acts on real parts above imaginary ones.
        edge: indices into the flattened output.
        bridge: [edge, edge]. In float64 where float32 would lose the answer to cancellation.
    """

    out_shape: tuple[int, ...]
    period: tuple[int, ...]
    spectrum: Tensor
    edge: Tensor
    bridge: Tensor

    @staticmethod
    def of(linear: LinearMap, shift: float, like: Tensor) -> TorusInverse | None:
        """None where the output is small for its coupling, no multiple of its period, or nearly all border."""
        coupling = linear.coupling
        if coupling is None:
            return None
        sizes, period, reach = linear.out_shape[1:], coupling.period, coupling.reach
        fits = all(n % p == 0 and n >= 4 * (r + p) for n, p, r in zip(sizes, period, reach, strict=True))
        border = sum(math.prod(linear.out_shape) // n * 4 * r for n, r in zip(sizes, reach, strict=True))
        if not fits or border > 2 * EDGE:
            return None
        rows = gram_stencils(linear, coupling)
        middle = _tile(rows, period)
        spectrum = _spectrum(middle, sizes, period, reach)
        spectrum.diagonal(dim1=1, dim2=2).add_(shift)
        inverse = torch.linalg.inv(spectrum)
        edge, delta = _border(rows, middle, period, reach)
        if len(edge) > EDGE:
            return None
        kernel = _kernel(inverse, linear.out_shape, period)
        across = _between(kernel, edge, linear.out_shape, period)
        bridge = torch.linalg.solve(torch.eye(len(edge), dtype=torch.float64) + delta @ across, delta)
        exact = TorusInverse(linear.out_shape, period, _as_real(inverse), edge, bridge)
        forms = exact.to(like), exact.to(like.double())
        return next((form for form in forms if form._misses(linear, shift) <= EXACT), None)

    def to(self, like: Tensor) -> TorusInverse:
        parts = self.spectrum.to(like), self.edge.to(like.device), self.bridge.to(like)
        return TorusInverse(self.out_shape, self.period, *parts)

    def _misses(self, linear: LinearMap, shift: float) -> float:
        """Relative residual of a solve in the precision of `spectrum`; large where outputs are hardly reached."""
        linear = linear.to(self.spectrum.device, torch.float64)
        y = torch.randn(1, *self.out_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        y = y.to(self.spectrum.device)
        x = self.solve(y.to(self.spectrum)).double()
        return float((linear.apply(linear.adjoint(x)) + shift * x - y).norm() / y.norm())

    def solve(self, y: Tensor) -> Tensor:
        return self._solve(y.to(self.spectrum)).to(y)

    def _solve(self, y: Tensor) -> Tensor:
        first = self._torus(y)
        if not len(self.edge):
            return first
        moved = torch.zeros_like(y).flatten(1)
        moved[:, self.edge] = (self.bridge @ first.flatten(1)[:, self.edge].T).T
        return first - self._torus(moved.reshape(y.shape))

    def _torus(self, y: Tensor) -> Tensor:
        n, channels, axes = len(y), self.out_shape[0], len(self.period)
        cells = _cells(self.out_shape, self.period)
        pairs = [size for pair in zip(cells, self.period, strict=True) for size in pair]
        split = (0, 1, *range(3, 3 + 2 * axes, 2), *range(2, 2 + 2 * axes, 2))  # phases beside channels, then cells
        phased = y.reshape(n, channels, *pairs).permute(split).reshape(n, -1, *cells)
        waves = torch.view_as_real(torch.fft.rfftn(phased, dim=tuple(range(2, 2 + axes))))
        half = waves.shape[2:-1]
        pencil = waves.reshape(n, phased.shape[1], -1, 2).permute(2, 3, 1, 0).reshape(-1, 2 * phased.shape[1], n)
        solved = torch.bmm(self.spectrum, pencil).reshape(-1, 2, phased.shape[1], n).permute(3, 2, 0, 1)
        back = torch.view_as_complex(solved.reshape(n, phased.shape[1], *half, 2).contiguous())
        result = torch.fft.irfftn(back, s=cells, dim=tuple(range(2, 2 + axes)))
        merge = [split.index(k) for k in range(len(split))]
        return result.reshape(n, channels, *self.period, *cells).permute(merge).reshape(y.shape)


def _as_real(blocks: Tensor) -> Tensor:
    """[f, k, k] complex → [f, 2k, 2k] real, acting on real parts above imaginary ones."""
    top = torch.cat([blocks.real, -blocks.imag], 2)
    return torch.cat([top, torch.cat([blocks.imag, blocks.real], 2)], 1)


def _cells(out_shape: tuple[int, ...], period: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n // p for n, p in zip(out_shape[1:], period, strict=True))


def _tile(rows: Tensor, period: tuple[int, ...]) -> Tensor:
    """The stencils of one period in the middle: [c, *period, c, *window]."""
    sizes = rows.shape[1 : 1 + len(period)]
    starts = [n // p // 2 * p for n, p in zip(sizes, period, strict=True)]
    return rows[(slice(None), *(slice(s, s + p) for s, p in zip(starts, period, strict=True)))]


def _spectrum(middle: Tensor, sizes: tuple[int, ...], period: tuple[int, ...], reach: tuple[int, ...]) -> Tensor:
    """[frequencies, c·phases, c·phases] of the torus whose every stencil is the middle one."""
    axes, channels = len(period), len(middle)
    cells = tuple(n // p for n, p in zip(sizes, period, strict=True))
    rows = channels * math.prod(period)
    grid = torch.zeros(channels, *period, channels, *sizes, dtype=torch.float64)
    for phase in product(*map(range, period)):
        for offset in product(*(range(-r, r + 1) for r in reach)):
            place = tuple((a + d) % n for a, d, n in zip(phase, offset, sizes, strict=True))
            window = tuple(d + r for d, r in zip(offset, reach, strict=True))
            grid[(slice(None), *phase, slice(None), *place)] += middle[(slice(None), *phase, slice(None), *window)]  # type: ignore[index]
    split = grid.reshape(rows, channels, *[size for pair in zip(cells, period, strict=True) for size in pair])
    order = (*range(2, 2 + 2 * axes, 2), 0, 1, *range(3, 3 + 2 * axes, 2))
    blocks = split.permute(order).reshape(*cells, rows, rows)
    # row i couples to j = i + d with e^{+iωd}: the transform of the stencil, conjugated
    return torch.fft.rfftn(blocks, dim=tuple(range(axes))).conj().resolve_conj().reshape(-1, rows, rows)


def _border(rows: Tensor, middle: Tensor, period: tuple[int, ...], reach: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Flat indices of outputs whose row differs from the torus's, and the difference [edge, edge]."""
    axes = len(period)
    shape = tuple(rows.shape[: 1 + axes])
    sizes, channels = shape[1:], shape[0]
    difference = rows - middle.repeat(1, *_cells(shape, period), 1, *[1] * axes)
    scale = float(middle.abs().max())
    differs = difference.abs() > 1e-12 * scale
    flat = torch.arange(math.prod(shape)).reshape(shape)
    found_row, found_column, found_value = [], [], []
    grids = torch.meshgrid(*[torch.arange(n) for n in sizes], indexing="ij")
    window = rows.shape[2 + axes :]
    for channel, *offset in product(range(channels), *map(range, window)):
        at: Any = (..., channel, *offset)
        where = differs[at]
        if not where.any():
            continue
        place = [(g + o - r) % n for g, o, r, n in zip(grids, offset, reach, sizes, strict=True)]
        column = flat[channel][tuple(place)].expand(shape)
        found_row.append(flat[where])
        found_column.append(column[where])
        found_value.append(difference[at][where])
    if not found_row:
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, 0, dtype=torch.float64)
    row, column, value = torch.cat(found_row), torch.cat(found_column), torch.cat(found_value)
    edge = torch.cat([row, column]).unique()
    if len(edge) > EDGE:
        return edge, torch.zeros(0, 0, dtype=torch.float64)
    delta = torch.zeros(len(edge), len(edge), dtype=torch.float64)
    delta.index_put_((torch.searchsorted(edge, row), torch.searchsorted(edge, column)), value, accumulate=True)
    return edge, delta


def _kernel(inverse: Tensor, out_shape: tuple[int, ...], period: tuple[int, ...]) -> Tensor:
    """[*cells, c·phases, c·phases]: how one output of the torus solve answers another, by their distance in cells."""
    cells = _cells(out_shape, period)
    half = (*cells[:-1], cells[-1] // 2 + 1)
    waves = inverse.reshape(*half, *inverse.shape[1:])
    return torch.fft.irfftn(waves, s=cells, dim=tuple(range(len(cells))))


def _between(kernel: Tensor, edge: Tensor, out_shape: tuple[int, ...], period: tuple[int, ...]) -> Tensor:
    """The torus solve, restricted to the edge: [edge, edge]."""
    channel, *place = torch.unravel_index(edge, out_shape)
    inner = channel
    for at, p in zip(place, period, strict=True):
        inner = inner * p + at % p
    cells = _cells(out_shape, period)
    distance = [(at[:, None] // p - at[None, :] // p) % n for at, p, n in zip(place, period, cells, strict=True)]
    return kernel[(*distance, inner[:, None], inner[None, :])]


def gram_stencils(linear: LinearMap, coupling: Coupling) -> Tensor:
    """Every row of map·adjoint by its neighbourhood: [c, *out, c, *window], float64, window = 2·reach + 1 per axis.

    Outputs farther apart than `reach` do not couple, so probes that far apart share one application of the map.
    """
    linear = linear.to("cpu", torch.float64)
    channels, sizes = linear.out_shape[0], linear.out_shape[1:]
    window = tuple(2 * r + 1 for r in coupling.reach)
    rows = torch.zeros(*linear.out_shape, channels, *window, dtype=torch.float64)
    grids = torch.meshgrid(*[torch.arange(n) for n in sizes], indexing="ij")
    for channel, *colour in product(range(channels), *map(range, window)):
        probe = torch.zeros(1, *linear.out_shape, dtype=torch.float64)
        probe[(0, channel, *(slice(c, None, w) for c, w in zip(colour, window, strict=True)))] = 1.0  # type: ignore[index]
        answer = linear.apply(linear.adjoint(probe))[0]
        # of all probes of this colour, output i feels the one at i + offset, −reach ≤ offset ≤ reach
        offsets = [(c - grid + r) % w for c, grid, r, w in zip(colour, grids, coupling.reach, window, strict=True)]
        rows[(slice(None), *grids, channel, *offsets)] = answer  # type: ignore[index]
    return rows
