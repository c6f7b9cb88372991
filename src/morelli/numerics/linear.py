"""Linear maps: the last linear layer of a generator, with its adjoint. The bias is not part of the map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.nn import functional

from morelli.errors import MismatchError
from morelli.numerics.state import State

SMALL = 64  # outputs up to which a dense eigenvalue problem is as fast
FEW = 16  # up to this many channels on the output side, matrix products beat the library's convolutions on a CPU


@dataclass(frozen=True)
class Coupling:
    """Which outputs share inputs, per output axis: those at most `reach` apart, alike after every `period`."""

    reach: tuple[int, ...]
    period: tuple[int, ...]


class LinearMap(Protocol):
    """⟨apply(z), y⟩ = ⟨z, adjoint(y)⟩ for every z and y. Shapes never include the batch.

    Attributes:
        coupling: how far map·adjoint reaches and with what period it repeats; None where it couples everything.
    """

    @property
    def in_shape(self) -> tuple[int, ...]: ...
    @property
    def out_shape(self) -> tuple[int, ...]: ...
    @property
    def coupling(self) -> Coupling | None: ...
    def apply(self, z: Tensor) -> Tensor: ...
    def adjoint(self, y: Tensor) -> Tensor: ...
    def to(self, device: torch.device | str, dtype: torch.dtype) -> LinearMap: ...
    def state(self) -> State: ...


@dataclass(frozen=True, eq=False)
class Dense:
    """A fully connected layer. `weight` is [outputs, inputs]; the shapes say how both sides are arranged.

    Products have the samples last: there each is summed in the same order wherever it stands (see `numerics.slots`).
    """

    weight: Tensor
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        expected = (math.prod(self.out_shape), math.prod(self.in_shape))
        if tuple(self.weight.shape) != expected:
            raise MismatchError(f"a dense weight is {tuple(self.weight.shape)}; its shapes ask for {expected}.")

    @property
    def coupling(self) -> None:
        return None

    def apply(self, z: Tensor) -> Tensor:
        return (self.weight @ z.flatten(1).T).T.contiguous().reshape(len(z), *self.out_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        return (self.weight.T @ y.flatten(1).T).T.contiguous().reshape(len(y), *self.in_shape)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Dense:
        return Dense(self.weight.to(device, dtype), self.in_shape, self.out_shape)

    def state(self) -> State:
        settings = {"type": "dense", "in_shape": list(self.in_shape), "out_shape": list(self.out_shape)}
        return State(settings, {"weight": self.weight})

    @staticmethod
    def from_state(state: State) -> Dense:
        settings = state.settings
        return Dense(state.tensors["weight"], tuple(settings["in_shape"]), tuple(settings["out_shape"]))


@dataclass(frozen=True)
class Geometry:
    """How a kernel is laid over its input, one number per axis (one axis for sound, two for images)."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def settings(self) -> dict[str, Any]:
        return {
            "stride": list(self.stride),
            "padding": list(self.padding),
            "dilation": list(self.dilation),
            "groups": self.groups,
        }

    @staticmethod
    def from_settings(settings: Mapping[str, Any]) -> Geometry:
        stride, padding, dilation = (tuple(settings[name]) for name in ("stride", "padding", "dilation"))
        return Geometry(stride, padding, dilation, settings["groups"])

    def reach(self, kernel: tuple[int, ...]) -> tuple[int, ...]:
        """How far apart two values under one kernel can be."""
        return tuple(d * (k - 1) for k, d in zip(kernel, self.dilation, strict=True))

    def shrink(self, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Sizes after a convolution."""
        rows = zip(sizes, kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in rows)

    def excess(self, small: tuple[int, ...], large: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """How far `large` exceeds the smallest size a transposed convolution makes of `small`."""
        rows = zip(small, large, kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple(big - ((n - 1) * s - 2 * p + d * (k - 1) + 1) for n, big, k, s, p, d in rows)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if self._by_products(x, weight.shape[0]) and set(self.stride) == {1}:
            kernel = tuple(weight.shape[2:])
            offsets = [[p - d * a for a in range(k)] for k, p, d in self._per_axis(kernel)]
            return _scatter(x, weight.transpose(0, 1), offsets, self.stride, self.shrink(tuple(x.shape[2:]), kernel))
        run = functional.conv1d if x.ndim == 3 else functional.conv2d
        return run(x, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def transpose(self, x: Tensor, weight: Tensor, sizes: tuple[int, ...]) -> Tensor:
        """A transposed convolution whose output has exactly these sizes."""
        kernel = tuple(weight.shape[2:])
        if self._by_products(x, weight.shape[1]):
            offsets = [[d * a - p for a in range(k)] for k, p, d in self._per_axis(kernel)]
            return _scatter(x, weight, offsets, self.stride, sizes)
        if self._by_products(x, weight.shape[0]) and set(self.stride) == {1}:
            return _gather(x, weight, self._per_axis(kernel), sizes)
        run = functional.conv_transpose1d if x.ndim == 3 else functional.conv_transpose2d
        extra = self.excess(tuple(x.shape[2:]), sizes, kernel)
        return run(x, weight, None, self.stride, self.padding, extra, self.groups, self.dilation)

    def _by_products(self, x: Tensor, channels: int) -> bool:
        return x.device.type == "cpu" and self.groups == 1 and channels <= FEW

    def _per_axis(self, kernel: tuple[int, ...]) -> list[tuple[int, int, int]]:
        return list(zip(kernel, self.padding, self.dilation, strict=True))


def _scatter(
    x: Tensor, weight: Tensor, offsets: list[list[int]], stride: tuple[int, ...], sizes: tuple[int, ...]
) -> Tensor:
    """out[i·stride + offset of tap a] += weight[:, :, a]ᵀ x[i]: one matrix product, then a shifted sum for every tap.

    With few output channels and on a CPU several times faster than the library's convolutions, which are made for
    many. Outputs are summed by phase, their place within the stride, and interleaved at the end.
    """
    n, _, *lengths = x.shape
    axes, few = len(sizes), weight.shape[1]
    taps = weight.movedim((0, 1), (-1, -2))  # [*kernel, few, many]
    products = (taps.reshape(-1, weight.shape[0]) @ x.flatten(2)).reshape(n, *taps.shape[:-1], *lengths)
    cells = [-(-size // s) for size, s in zip(sizes, stride, strict=True)]
    out = x.new_zeros(n, *stride, few, *cells)
    for tap in product(*(range(len(of_axis)) for of_axis in offsets)):
        phase, into, come = [], [], []
        for a, of_axis, s, length, count in zip(tap, offsets, stride, lengths, cells, strict=True):
            moved, within = divmod(of_axis[a], s)
            first, last = max(0, moved), min(count, length + moved)
            phase.append(within)
            into.append(slice(first, max(first, last)))
            come.append(slice(first - moved, max(first, last) - moved))
        out[(slice(None), *phase, slice(None), *into)] += products[(slice(None), *tap, slice(None), *come)]  # type: ignore[index]
    if set(stride) != {1}:
        order = (0, 1 + axes, *[axis for k in range(axes) for axis in (2 + axes + k, 1 + k)])
        out = out.permute(order)
    out = out.reshape(n, few, *(count * s for count, s in zip(cells, stride, strict=True)))
    return out[(..., *[slice(size) for size in sizes])]  # type: ignore[index]


def _gather(x: Tensor, weight: Tensor, per_axis: list[tuple[int, int, int]], sizes: tuple[int, ...]) -> Tensor:
    """The same sum for stride 1 and few input channels: all shifted copies of x, then one matrix product."""
    margins = []
    for (k, p, d), size, length in zip(per_axis, sizes, x.shape[2:], strict=True):
        before = d * (k - 1) - p
        margins.append((before, size + d * (k - 1) - length - before))
    windows = functional.pad(x, [m for margin in reversed(margins) for m in margin])
    for axis, ((_, _, d), size) in enumerate(zip(per_axis, sizes, strict=True)):
        windows = windows.unfold(2 + axis, size, d)
    flipped = weight.flip(tuple(range(2, weight.ndim))).transpose(0, 1)
    return (flipped.flatten(1) @ windows.flatten(1, 1 + len(sizes)).flatten(2)).reshape(len(x), -1, *sizes)


@dataclass(frozen=True, eq=False)
class Conv:
    """A convolution with zero padding, 1-D or 2-D. `weight` is [out, in/groups, *kernel], as in torch."""

    weight: Tensor
    in_shape: tuple[int, ...]
    geometry: Geometry

    def __post_init__(self) -> None:
        expected = self.weight.shape[1] * self.geometry.groups
        if len(self.in_shape) != self.weight.ndim - 1 or self.in_shape[0] != expected:
            raise MismatchError(
                f"a convolution with weight {tuple(self.weight.shape)} in {self.geometry.groups} group(s) reads "
                f"{expected} channels of {self.weight.ndim - 2} axes; it was given {self.in_shape}."
            )
        if min(self.out_shape) < 1:
            raise MismatchError(f"an input of {self.in_shape} is too small for a kernel of {tuple(self.weight.shape)}.")

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (self.weight.shape[0], *self.geometry.shrink(self.in_shape[1:], tuple(self.weight.shape[2:])))

    @property
    def coupling(self) -> Coupling:
        reach = self.geometry.reach(tuple(self.weight.shape[2:]))
        return Coupling(tuple(r // s for r, s in zip(reach, self.geometry.stride, strict=True)), (1,) * len(reach))

    def apply(self, z: Tensor) -> Tensor:
        return self.geometry.convolve(z, self.weight)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.geometry.transpose(y, self.weight, self.in_shape[1:])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Conv:
        return Conv(self.weight.to(device, dtype), self.in_shape, self.geometry)

    def state(self) -> State:
        settings = {"type": "conv", "in_shape": list(self.in_shape), "geometry": self.geometry.settings()}
        return State(settings, {"weight": self.weight})

    @staticmethod
    def from_state(state: State) -> Conv:
        geometry = Geometry.from_settings(state.settings["geometry"])
        return Conv(state.tensors["weight"], tuple(state.settings["in_shape"]), geometry)


@dataclass(frozen=True, eq=False)
class TransposedConv:
    """A transposed convolution, 1-D or 2-D. `weight` is [in, out/groups, *kernel], as in torch."""

    weight: Tensor
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    geometry: Geometry

    def __post_init__(self) -> None:
        channels = (self.weight.shape[0], self.weight.shape[1] * self.geometry.groups)
        if (self.in_shape[0], self.out_shape[0]) != channels or not self._reaches():
            raise MismatchError(
                f"a transposed convolution with weight {tuple(self.weight.shape)} does not map {self.in_shape} "
                f"to {self.out_shape}."
            )

    def _reaches(self) -> bool:
        """Whether some output padding, as torch allows it, leads from in_shape to out_shape."""
        geometry = self.geometry
        if not len(self.in_shape) == len(self.out_shape) == self.weight.ndim - 1:
            return False
        extra = geometry.excess(self.in_shape[1:], self.out_shape[1:], tuple(self.weight.shape[2:]))
        return all(0 <= e < max(s, d) for e, s, d in zip(extra, geometry.stride, geometry.dilation, strict=True))

    @property
    def coupling(self) -> Coupling:
        return Coupling(self.geometry.reach(tuple(self.weight.shape[2:])), self.geometry.stride)

    def apply(self, z: Tensor) -> Tensor:
        return self.geometry.transpose(z, self.weight, self.out_shape[1:])

    def adjoint(self, y: Tensor) -> Tensor:
        longer = self.geometry.convolve(y, self.weight)  # longer than z where the output padding reaches a stride
        return longer[(..., *[slice(n) for n in self.in_shape[1:]])]  # type: ignore[index]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> TransposedConv:
        return TransposedConv(self.weight.to(device, dtype), self.in_shape, self.out_shape, self.geometry)

    def state(self) -> State:
        settings = {
            "type": "transposed_conv",
            "in_shape": list(self.in_shape),
            "out_shape": list(self.out_shape),
            "geometry": self.geometry.settings(),
        }
        return State(settings, {"weight": self.weight})

    @staticmethod
    def from_state(state: State) -> TransposedConv:
        settings = state.settings
        geometry = Geometry.from_settings(settings["geometry"])
        shapes = tuple(settings["in_shape"]), tuple(settings["out_shape"])
        return TransposedConv(state.tensors["weight"], *shapes, geometry)


def squared_norm(linear: LinearMap) -> float:
    """The largest eigenvalue of map·adjoint, from above, so that one over it is a safe step.

    Lanczos (ARPACK) approaches from below to a thousandth; the result is enlarged by one percent. Small maps are
    solved exactly.
    """
    linear = linear.to("cpu", torch.float64)
    size = math.prod(linear.out_shape)

    def square(y: Tensor) -> Tensor:
        return linear.apply(linear.adjoint(y.reshape(-1, *linear.out_shape))).flatten(1)

    if size <= SMALL:
        return 1.01 * float(torch.linalg.eigvalsh(square(torch.eye(size, dtype=torch.float64)))[-1].clamp_min(0))
    operator = LinearOperator((size, size), lambda y: square(torch.from_numpy(y)).numpy().ravel(), dtype=float)
    start = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    if not operator.matvec(start).any():
        return 0.0
    return 1.01 * float(eigsh(operator, 1, which="LA", v0=start, tol=1e-3, return_eigenvectors=False)[0])
