"""Part of what a linear map gives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from morelli.errors import MismatchError
from morelli.numerics.linear import Coupling, LinearMap
from morelli.numerics.state import State


@dataclass(frozen=True, eq=False)
class Cropped:
    """Part of what another map gives: `out_shape` from `start` on, along every axis but the channels."""

    inner: LinearMap
    start: tuple[int, ...]
    out_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        before, after = self.inner.out_shape, self.out_shape
        rows = zip(before[1:], self.start, after[1:], strict=False)
        fits = len(before) == len(after) == len(self.start) + 1 and before[0] == after[0]
        if not fits or not all(first >= 0 and size > 0 and first + size <= whole for whole, first, size in rows):
            raise MismatchError(f"{after} from {self.start} on is no part of what gives {before}.")

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.inner.in_shape

    @property
    def coupling(self) -> Coupling | None:
        return self.inner.coupling

    def apply(self, z: Tensor) -> Tensor:
        spans = (slice(first, first + size) for first, size in zip(self.start, self.out_shape[1:], strict=True))
        return self.inner.apply(z)[(..., *spans)].contiguous()  # type: ignore[index]

    def adjoint(self, y: Tensor) -> Tensor:
        rows = zip(self.inner.out_shape[1:], self.start, self.out_shape[1:], strict=True)
        margins = [(first, whole - first - size) for whole, first, size in rows]
        return self.inner.adjoint(functional.pad(y, [m for margin in reversed(margins) for m in margin]))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Cropped:
        return Cropped(self.inner.to(device, dtype), self.start, self.out_shape)

    def state(self) -> State:
        settings = {"type": "cropped", "start": list(self.start), "out_shape": list(self.out_shape)}
        return State(settings, {}, {"inner": self.inner.state()})
