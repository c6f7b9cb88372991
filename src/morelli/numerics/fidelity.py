"""What a sample says about the output of the linear map: a point, or an interval for every value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from morelli.errors import MismatchError, OutOfRange


def total(x: Tensor) -> Tensor:
    """Sum over everything but the batch."""
    return x.flatten(1).sum(1)


def spread(per_sample: Tensor, like: Tensor) -> Tensor:
    """[n] → [n, 1, …], to multiply `like`."""
    return per_sample.reshape(-1, *[1] * (like.ndim - 1))


class Fidelity(Protocol):
    """φ(v) per sample: half the squared distance of an output v [n, *out] from what the sample allows.

    Convex, and its gradient changes no faster than v does (curvature at most 1). The `rest` is what v lacks, in the
    coordinates in which the sample speaks: −∇φ(v) = pull(rest(v)).

    Attributes:
        centre: [n, *out], an output that the sample allows; finite wherever the sample is.
    """

    @property
    def centre(self) -> Tensor: ...
    def __len__(self) -> int: ...
    def rows(self, index: Tensor) -> Self: ...
    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self: ...
    def rest(self, v: Tensor) -> Tensor: ...
    def pull(self, rest: Tensor) -> Tensor: ...
    def value(self, rest: Tensor) -> Tensor: ...

    def price(self, rest: Tensor) -> tuple[Tensor, Tensor]:
        """[n], [n]: a and b with inf φ(v) + s⟨v, pull(rest)⟩ over v equal to s·a − s²·b/2 for every s ≥ 0."""
        ...


@dataclass(frozen=True, eq=False)
class Cells:
    """φ(v) = ½ Σ precision · (distance of v from [low, high])².

    Attributes:
        low, high: [n, *out]; infinite where a side is open. A point where they are equal.
        precision: [n, *out] in (0, 1], or None for 1: how much each value counts.
    Raises:
        MismatchError: shapes differ. OutOfRange: a precision outside (0, 1].
    """

    low: Tensor
    high: Tensor
    precision: Tensor | None = None

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or (self.precision is not None and self.precision.shape != self.low.shape):
            raise MismatchError(f"the bounds of cells are {tuple(self.low.shape)} and {tuple(self.high.shape)}.")
        if self.precision is not None and not ((self.precision > 0) & (self.precision <= 1)).all():
            raise OutOfRange("a precision must lie in (0, 1].")

    @staticmethod
    def at(target: Tensor, precision: Tensor | None = None) -> Cells:
        """The squared distance to a point; that of the paper where there is no precision."""
        return Cells(target, target, precision)

    @property
    def centre(self) -> Tensor:
        """The middle of each cell; the bound of one that is open on one side; 0 of one that is open on both."""
        middle = (self.low + self.high) / 2
        bound = torch.where(self.low.isinf(), self.high, self.low)
        bound = torch.where(bound.isinf() & self.low.isinf() & self.high.isinf(), 0.0, bound)
        return torch.where(self.low.isinf() | self.high.isinf(), bound, middle)

    @property
    def points(self) -> bool:
        """Whether every cell is a single value."""
        return self.low is self.high or torch.equal(self.low, self.high)

    def __len__(self) -> int:
        return len(self.low)

    def rows(self, index: Tensor) -> Cells:
        low = self.low[index]
        high = low if self.low is self.high else self.high[index]
        return Cells(low, high, None if self.precision is None else self.precision[index])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Cells:
        low = self.low.to(device, dtype)
        high = low if self.low is self.high else self.high.to(device, dtype)
        return Cells(low, high, None if self.precision is None else self.precision.to(device, dtype))

    def _lack(self, v: Tensor) -> Tensor:
        return self.low - v if self.low is self.high else v.clamp(self.low, self.high) - v

    def rest(self, v: Tensor) -> Tensor:
        lack = self._lack(v)
        return lack if self.precision is None else self.precision * lack

    def pull(self, rest: Tensor) -> Tensor:
        return rest

    def value(self, rest: Tensor) -> Tensor:
        square = rest.square()
        return 0.5 * total(square if self.precision is None else square / self.precision)

    def price(self, rest: Tensor) -> tuple[Tensor, Tensor]:
        square = rest.square()
        quadratic = total(square if self.precision is None else square / self.precision)
        if self.low is self.high:
            return total(self.low * rest), quadratic
        return total(torch.where(rest == 0, 0.0, rest * torch.where(rest > 0, self.low, self.high))), quadratic

    def admit(self, rest: Tensor) -> Tensor:
        """The nearest vector that has a finite price: an open side pulls nothing."""
        if self.low is self.high:
            return rest
        return torch.where((rest > 0) & self.low.isinf() | (rest < 0) & self.high.isinf(), 0.0, rest)

    def settle(self, v: Tensor, step: Tensor) -> Tensor:
        """The proximal map: argmin over w of φ(w) + ‖w − v‖²/(2·step)."""
        strength = step if self.precision is None else step * self.precision
        return torch.addcmul(v, strength / (1 + strength), self._lack(v))
