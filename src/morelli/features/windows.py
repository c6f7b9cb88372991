"""Large images piece by piece: the same last layer on a smaller picture, and a halo that takes the error of the cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from morelli.errors import OutOfRange, UnsuitableSolver
from morelli.numerics.fidelity import Cells, Fidelity
from morelli.numerics.lasso import LassoProblem, Solution, Solver, Status
from morelli.numerics.linear import Conv, LinearMap, TransposedConv

Span = tuple[int, int]  # first, and one beyond the last


@dataclass(frozen=True)
class Window:
    """How much of an activation is solved for at a time, in its own rows and columns.

    Inside a window everything outside it is held at the anchor. That is wrong near the cut and harmless away from it,
    so a halo around each tile is solved with it and thrown away; `halo_error` measures how wide it must be.

    Attributes:
        tile: rows and columns kept of a window. halo: solved around them.
        crop: only the centre of this many rows and columns is solved; None for all.
    """

    tile: int = 64
    halo: int = 16
    crop: int | None = None

    def __post_init__(self) -> None:
        if self.tile < 1 or self.halo < 0 or (self.crop is not None and self.crop < 1):
            raise OutOfRange(f"a window keeps at least one row and has a halo of 0 or more; given {self}.")

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def fit(self, linear: LinearMap) -> LinearMap:
        """The map of one window. Raises UnsuitableSolver where outputs do not lie on a multiple of the input's grid."""
        ratios = _ratios(linear)
        sizes = tuple(min(self.tile + 2 * self.halo, n) for n in linear.in_shape[1:])
        if isinstance(linear, Conv):
            return replace(linear, in_shape=(linear.in_shape[0], *sizes))
        assert isinstance(linear, TransposedConv)
        out = tuple(size * up for size, up in zip(sizes, ratios, strict=True))
        shapes = (linear.in_shape[0], *sizes), (linear.out_shape[0], *out)
        return replace(linear, in_shape=shapes[0], out_shape=shapes[1])

    def cut(self, problem: LassoProblem) -> LassoProblem:
        """A problem of no samples, on the map of one window. Raises UnsuitableSolver for what differs by place."""
        if problem.floor is not None or not isinstance(problem.fidelity, Cells):
            raise UnsuitableSolver("windows take Cells without a floor, as those of other places would differ.")
        linear = self.fit(problem.map)
        empty = Cells.at(problem.fidelity.low.new_zeros(0, *linear.out_shape))
        return replace(problem, map=linear, fidelity=empty, factor=None)

    def crop_of(self, activation: Tensor) -> Tensor:
        """The part of an activation [c, *] that comes back."""
        return activation[(slice(None), *(slice(*_centre(n, self.crop)) for n in activation.shape[1:]))]

    def kept(self, linear: LinearMap) -> list[Span]:
        """Per axis, which part of the activation comes back."""
        return [_centre(n, self.crop) for n in linear.in_shape[1:]]

    def solve(
        self,
        solver: Solver,
        prepared: LassoProblem,
        whole: LinearMap,
        cells: Fidelity,
        progress: Callable[[int], None] | None = None,
    ) -> Solution:
        """All windows of each sample, one sample at a time; the gap of a sample is that of its worst window.

        Args:
            prepared: with the map of one window. whole: the map. cells: [n, *whole.out_shape].
        """
        assert isinstance(cells, Cells)  # `cut` has seen to it
        tiles = self._tiles(whole)
        ratios, kept = _ratios(whole), self.kept(whole)
        shape = (len(cells), whole.in_shape[0], *(stop - start for start, stop in kept))
        value, gap = cells.low.new_zeros(shape), cells.low.new_zeros(len(cells))
        steps, status = torch.zeros(len(cells), dtype=torch.int64), []
        for i in range(len(cells)):
            found = solver.solve(replace(prepared, fidelity=_pieces(cells, i, [_output(s, ratios) for s, _ in tiles])))
            for (spans, inner), u in zip(tiles, found.value, strict=True):
                here = [slice(a - start, b - start) for (a, b), (start, _) in zip(inner, kept, strict=True)]
                there = [slice(a - start, b - start) for (a, b), (start, _) in zip(inner, spans, strict=True)]
                value[(i, slice(None), *here)] = u[(slice(None), *there)]  # type: ignore[index]
            gap[i], steps[i] = found.gap.max(), found.steps.max()
            status.append(max(found.status, key=list(Status).index))
            if progress:
                progress(1)
        return Solution(value, tuple(status), gap, steps)

    def _tiles(self, linear: LinearMap) -> list[tuple[list[Span], list[Span]]]:
        """(the windows' spans, the spans kept of them), per axis; all windows are of the same size."""
        lines = []
        for size, (start, stop) in zip(linear.in_shape[1:], self.kept(linear), strict=True):
            width = min(self.tile + 2 * self.halo, size)
            line = []
            for first in range(start, stop, self.tile):
                last = min(stop, first + self.tile)
                at = min(max(0, first - self.halo), size - width)
                line.append(((at, at + width), (first, last)))
            lines.append(line)
        combined: list[tuple[list[Span], list[Span]]] = [([], [])]
        for line in lines:
            combined = [([*spans, span], [*inner, keep]) for spans, inner in combined for span, keep in line]
        return combined

    @staticmethod
    def from_settings(settings: Mapping[str, Any] | None) -> Window | None:
        return None if settings is None else Window(**settings)


def _centre(size: int, crop: int | None) -> Span:
    if crop is None or crop >= size:
        return 0, size
    return (size - crop) // 2, (size - crop) // 2 + crop


def can_be_cut(linear: LinearMap) -> bool:
    """Whether the same layer on a smaller picture gives the same picture, smaller: outputs are a multiple of inputs."""
    sizes = zip(linear.in_shape[1:], linear.out_shape[1:], strict=False)
    return isinstance(linear, Conv | TransposedConv) and not any(m % n for n, m in sizes)


def _ratios(linear: LinearMap) -> list[int]:
    """Per axis, outputs to one input. Raises UnsuitableSolver where that is no whole number, or the map is dense."""
    if not can_be_cut(linear):
        raise UnsuitableSolver(f"a map from {linear.in_shape} to {linear.out_shape} cannot be cut into windows.")
    return [m // n for n, m in zip(linear.in_shape[1:], linear.out_shape[1:], strict=True)]


def _output(spans: list[Span], ratios: list[int]) -> list[slice]:
    return [slice(a * up, b * up) for (a, b), up in zip(spans, ratios, strict=True)]


def _pieces(cells: Cells, i: int, places: list[list[slice]]) -> Cells:
    """The cells of sample i at several places, as so many samples."""

    def cut(bound: Tensor) -> Tensor:
        return torch.stack([bound[(i, slice(None), *place)] for place in places])  # type: ignore[index]

    low = cut(cells.low)
    high = low if cells.points else cut(cells.high)
    return Cells(low, high, None if cells.precision is None else cut(cells.precision))


def halo_error(window: Window, solver: Solver, problem: LassoProblem, halos: list[int], reference: int) -> list[Tensor]:
    """For each halo, [n]: ‖u − u_reference‖/‖u_reference‖ over what `window` keeps.

    Args:
        problem: of whole samples. reference: a halo taken as wide enough, or the image's size for no cut at all.
    """

    def kept(halo: int) -> Tensor:
        wide = replace(window, halo=halo)
        return wide.solve(solver, solver.prepare(wide.cut(problem)), problem.map, problem.fidelity).value.flatten(1)

    right = kept(reference)
    return [(kept(halo) - right).norm(dim=1) / right.norm(dim=1) for halo in halos]
