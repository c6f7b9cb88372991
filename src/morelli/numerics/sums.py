"""Sums of linear maps: generators whose output is several contributions added up, by toRGB skips or residuals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from morelli.errors import MismatchError
from morelli.numerics.linear import Coupling, LinearMap
from morelli.numerics.state import State


@dataclass(frozen=True, eq=False)
class Resampled:
    """A fixed filter along every axis, the same for all channels: up-sampling by whatever rule, borders included.

    out[d, i, j] = Σ mix[d, c] · axes[0][i, k] · axes[1][j, l] · in[c, k, l].

    Attributes:
        axes: for each axis beside channels a matrix [out, in].
        mix: [channels out, channels in].
    """

    axes: tuple[Tensor, ...]
    mix: Tensor

    def __post_init__(self) -> None:
        if self.mix.ndim != 2 or not self.axes or any(matrix.ndim != 2 for matrix in self.axes):
            raise MismatchError("a resampling takes a matrix for the channels and one for every axis.")

    @property
    def in_shape(self) -> tuple[int, ...]:
        return (self.mix.shape[1], *(matrix.shape[1] for matrix in self.axes))

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (self.mix.shape[0], *(matrix.shape[0] for matrix in self.axes))

    @property
    def coupling(self) -> Coupling | None:
        """None where it does not enlarge by a whole number."""
        if any(matrix.shape[0] % matrix.shape[1] for matrix in self.axes):
            return None
        reach = []
        for matrix in self.axes:
            rows, columns = (matrix @ matrix.T).nonzero(as_tuple=True)
            reach.append(int((rows - columns).abs().max()) if len(rows) else 0)
        return Coupling(tuple(reach), tuple(matrix.shape[0] // matrix.shape[1] for matrix in self.axes))

    def apply(self, z: Tensor) -> Tensor:
        return _along(z, (self.mix, *self.axes))

    def adjoint(self, y: Tensor) -> Tensor:
        return _along(y, [matrix.T for matrix in (self.mix, *self.axes)])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Resampled:
        return Resampled(tuple(matrix.to(device, dtype) for matrix in self.axes), self.mix.to(device, dtype))

    def state(self) -> State:
        axes = {f"axis{k}": matrix.contiguous() for k, matrix in enumerate(self.axes)}
        return State({"type": "resampled", "axes": len(self.axes)}, {"mix": self.mix.contiguous(), **axes})

    @staticmethod
    def from_state(state: State) -> Resampled:
        axes = tuple(state.tensors[f"axis{k}"] for k in range(state.settings["axes"]))
        return Resampled(axes, state.tensors["mix"])


def _along(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    for axis, matrix in enumerate(matrices):
        x = (x.movedim(1 + axis, -1) @ matrix.T).movedim(-1, 1 + axis)
    return x.contiguous()


@dataclass(frozen=True, eq=False)
class LinearSum:
    """The weighted sum of maps to the same shape: Σ weight·part(z_part). It reads the parts' inputs end to end, flat.

    Attributes:
        parts: two or more.
        weights: one for each part. A solver that treats all inputs alike takes a part's inputs to be of the size of its
            weight; `TorchGenerator` makes it their root mean square around the mean.
    """

    parts: tuple[LinearMap, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        shapes = {part.out_shape for part in self.parts}
        if len(shapes) != 1 or len(self.weights) != len(self.parts):
            raise MismatchError(
                f"a sum takes parts of one output shape and a weight for each; it was given {len(self.weights)} "
                f"weights and parts to {', '.join(map(str, sorted(shapes)))}."
            )
        if not all(0 < weight < math.inf for weight in self.weights):
            raise MismatchError(f"the weights of a sum are {self.weights}; expected finite ones above 0.")

    @property
    def in_shape(self) -> tuple[int, ...]:
        return (sum(self._sizes),)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.parts[0].out_shape

    @property
    def channels(self) -> list[int]:
        """Of each part's input."""
        return [part.in_shape[0] for part in self.parts]

    @property
    def coupling(self) -> Coupling | None:
        found = [part.coupling for part in self.parts]
        known = [each for each in found if each is not None]
        if len(known) < len(found):
            return None
        reach = tuple(map(max, zip(*(each.reach for each in known), strict=True)))
        return Coupling(reach, tuple(math.lcm(*ps) for ps in zip(*(each.period for each in known), strict=True)))

    @property
    def _sizes(self) -> list[int]:
        return [math.prod(part.in_shape) for part in self.parts]

    def split(self, z: Tensor) -> list[Tensor]:
        """[n, *in_shape] → each part's input, in its own shape; not multiplied by its weight."""
        pieces = z.split(self._sizes, 1)
        return [piece.reshape(len(z), *part.in_shape) for piece, part in zip(pieces, self.parts, strict=True)]

    def join(self, pieces: Sequence[Tensor]) -> Tensor:
        """The inverse of `split`."""
        return torch.cat([piece.flatten(1) for piece in pieces], 1)

    def apply(self, z: Tensor) -> Tensor:
        rows = zip(self.parts, self.weights, self.split(z), strict=True)
        first, *others = [part.apply(piece) * weight for part, weight, piece in rows]
        return sum(others, first)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.join([part.adjoint(y * weight) for part, weight in zip(self.parts, self.weights, strict=True)])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> LinearSum:
        return replace(self, parts=tuple(part.to(device, dtype) for part in self.parts))

    def state(self) -> State:
        parts = {str(k): part.state() for k, part in enumerate(self.parts)}
        return State({"type": "stacked", "weights": list(self.weights)}, parts=parts)
