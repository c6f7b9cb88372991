"""The kinds of summand that a generator's output can have, and what map each of them is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from morelli.errors import HeadNotFound
from morelli.generators.graph import Node
from morelli.generators.tracing import LINEAR_OPERATIONS, Call
from morelli.numerics.linear import Conv, Dense, Geometry, LinearMap, TransposedConv
from morelli.numerics.sums import Resampled

RANK_ONE = 1e-4  # largest error, relative, of weights taken as one kernel with scaled inputs


@dataclass(frozen=True, eq=False)
class Block:
    """A part of the sum: its map without bias, what entered it [n, *map.in_shape], and its name."""

    map: LinearMap
    input: Tensor
    name: str


class Summand(Protocol):
    """One contribution to a sum, found in one pass and looked at in others.

    Attributes:
        place: of the node that `block` reads.
        learnt: whether weights of the generator are in its map.
    """

    @property
    def place(self) -> int: ...
    @property
    def learnt(self) -> bool: ...
    def block(self, node: Node, count: int) -> Block:
        """What it is in a pass of `count` samples. Raises HeadNotFound where no map does that."""
        ...


@dataclass(frozen=True)
class Layer:
    """A linear operation of fixed weights, times `scale`."""

    place: int
    scale: float
    learnt = True

    def block(self, node: Node, count: int) -> Block:
        call = _call(node, node.taken[0], node.value())
        return Block(_scaled(call, self.scale), node.taken[0], call.describe())


@dataclass(frozen=True)
class Modulated:
    """A convolution with weights w·s of each sample, side by side as groups: it is the one of w, applied to s⊙x."""

    place: int
    scale: float
    learnt = True

    def block(self, node: Node, count: int) -> Block:
        merged, weights = node.taken
        x = merged.reshape(count, -1, *merged.shape[2:])
        kernel, scales = _one_kernel(weights.reshape(count, -1, *weights.shape[1:]))
        if kernel is None:
            raise HeadNotFound(
                f"the weights of layer '{node.layer}' depend on the latent by more than a scaling of its input (as by "
                "demodulation), so they are another map for every sample."
            )
        output = node.value().reshape(count, -1, *node.shape[2:])
        call = _call(node, x, output, weight=kernel, groups=1)
        z = x * scales.reshape(*scales.shape, *[1] * (x.ndim - 2))
        return Block(_scaled(call, self.scale), z, f"{call.describe()}, modulated at its input")


@dataclass(frozen=True, eq=False)
class Enlarged:
    """Something smaller, resampled by a matrix [out, in] for each axis."""

    place: int
    scale: float
    axes: tuple[Tensor, ...]
    learnt = False

    def block(self, node: Node, count: int) -> Block:
        z = node.value()
        mix = self.scale * torch.eye(z.shape[1]).to(z)
        name = f"up-sampling of {'×'.join(map(str, z.shape[2:]))}"
        return Block(Resampled(tuple(matrix.to(z) for matrix in self.axes), mix), z, name)


@dataclass(frozen=True)
class Itself:
    """Whatever it is, through the identity."""

    place: int
    scale: float
    learnt = False

    def block(self, node: Node, count: int) -> Block:
        z = node.value()
        eye, axes = self.scale * torch.eye(z.shape[1]).to(z), z.ndim - 2
        if axes > 2:
            raise HeadNotFound(f"a summand has {axes} axes beside channels; there are maps for one and two.")
        if axes == 0:
            return Block(Dense(eye, (len(eye),), (len(eye),)), z, "residual")
        geometry = Geometry((1,) * axes, (0,) * axes, (1,) * axes)
        return Block(Conv(eye.reshape(*eye.shape, *[1] * axes), tuple(z.shape[1:]), geometry), z, "residual")


def options_of(node: Node) -> dict[str, object]:
    """All arguments of a linear operation by name."""
    _, names = LINEAR_OPERATIONS[node.function]
    return dict(zip(names, node.arguments, strict=False)) | node.options


def _call(node: Node, x: Tensor, output: Tensor, **changed: object) -> Call:
    kind, _ = LINEAR_OPERATIONS[node.function]
    options = options_of(node) | changed
    weight = options["weight"]
    assert isinstance(weight, Tensor)
    settings = {name: value for name, value in options.items() if name not in ("input", "weight", "bias")}
    return Call(kind, node.layer, x, weight, None, settings, output)


def _scaled(call: Call, scale: float) -> LinearMap:
    linear, _ = call.linear_map()
    assert isinstance(linear, Dense | Conv | TransposedConv)
    return replace(linear, weight=linear.weight * scale)


def _one_kernel(weights: Tensor) -> tuple[Tensor | None, Tensor]:
    """[n, out, in, *kernel] = base [out, in, *kernel] · scales [n, in], if it is so; columns of unit length."""
    columns = weights.double().movedim(2, 1).flatten(2)  # [n, in, out·kernel]
    powers = torch.einsum("ncp,ncq->cpq", columns, columns)
    _, vectors = torch.linalg.eigh(powers)
    base = vectors[..., -1]  # [in, out·kernel]
    strongest = base.gather(1, base.abs().argmax(1, keepdim=True))
    base = base * strongest.sign()
    scales = torch.einsum("ncp,cp->nc", columns, base)
    error = (columns - scales[..., None] * base).norm() / columns.norm()
    kernel = base.reshape(weights.shape[2], weights.shape[1], *weights.shape[3:]).movedim(0, 1)
    return (kernel.to(weights) if float(error) <= RANK_ONE else None), scales.to(weights)
