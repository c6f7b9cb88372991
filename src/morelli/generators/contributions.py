"""What a generator's output is the sum of: found by going back through the graph of a forward pass.

Where the last thing a module does, but for its activation, is to add (toRGB skips, residual outputs), every summand is
traced to a linear layer, to an up-sampling of something smaller, or to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from morelli.errors import HeadNotFound
from morelli.generators.graph import Node
from morelli.generators.resampling import resampling_matrices
from morelli.generators.tracing import LINEAR_OPERATIONS, Call
from morelli.numerics.linear import Conv, Dense, Geometry, LinearMap, TransposedConv
from morelli.numerics.stacked import Resampled

SIGNS = dict.fromkeys(("add", "iadd", "radd"), (1.0, 1.0))
SIGNS |= dict.fromkeys(("sub", "isub"), (1.0, -1.0)) | {"rsub": (-1.0, 1.0)}
PRODUCTS = ("mul", "imul", "rmul", "div", "idiv", "truediv", "itruediv", "neg")
SAME = {"contiguous", "to", "float", "double", "clone", "type_as"}
SAME |= {"clamp", "clip"}  # StyleGAN2's, far out; where they do cut, the sum is off and is refused
SHAPING = {"reshape", "view", "pad", "getitem", "permute", "unsqueeze", "squeeze", "transpose", "upsample"}
RANK_ONE = 1e-4  # largest error, relative, of weights taken as one kernel with scaled inputs


@dataclass(frozen=True, eq=False)
class Summand:
    """One contribution to a sum, at a node of the graph in which it was found.

    Attributes:
        kind: "layer", "modulated" (weights of each sample, side by side as groups), "resampling" or "as it is".
        place: of the node to be looked at in other passes: the layer's call, or what is resampled.
        axes: of a resampling, a matrix [out, in] for each axis.
    """

    kind: str
    place: int
    scale: float
    layer: str
    axes: tuple[Tensor, ...] = ()

    def block(self, node: Node, count: int) -> Block:
        """What this summand is in a pass of `count` samples. Raises HeadNotFound for weights that nothing explains."""
        match self.kind:
            case "layer":
                return self._layer(node)
            case "modulated":
                return self._modulated(node, count)
            case "resampling":
                z = node.value()
                mix = self.scale * torch.eye(z.shape[1]).to(z)
                name = f"up-sampling of {'×'.join(map(str, z.shape[2:]))}"
                return Block(Resampled(tuple(matrix.to(z) for matrix in self.axes), mix), z, name)
        z = node.value()
        eye = self.scale * torch.eye(z.shape[1]).to(z)
        if z.ndim == 2:
            return Block(Dense(eye, (len(eye),), (len(eye),)), z, "residual")
        axes = z.ndim - 2
        if axes > 2:
            raise HeadNotFound(f"a summand has {axes} axes beside channels; there are maps for one and two.")
        geometry = Geometry((1,) * axes, (0,) * axes, (1,) * axes)
        return Block(Conv(eye.reshape(*eye.shape, *[1] * axes), tuple(z.shape[1:]), geometry), z, "residual")

    def _layer(self, node: Node) -> Block:
        call = _call(node, node.taken[0], node.value())
        linear, _ = call.linear_map()
        return Block(_scaled(linear, self.scale), node.taken[0], call.describe())

    def _modulated(self, node: Node, count: int) -> Block:
        merged, weights = node.taken
        x = merged.reshape(count, -1, *merged.shape[2:])
        weights = weights.reshape(count, -1, *weights.shape[1:])  # [n, out, in, *kernel]
        base, scales = _one_kernel(weights)
        if base is None:
            raise HeadNotFound(
                f"the weights of layer '{node.layer}' depend on the latent by more than a scaling of its input (as by "
                "demodulation), so they are another map for every sample."
            )
        output = node.value().reshape(count, -1, *node.shape[2:])
        call = _call(node, x, output, base, {"groups": 1})
        linear, _ = call.linear_map()
        z = x * scales.reshape(*scales.shape, *[1] * (x.ndim - 2))
        return Block(_scaled(linear, self.scale), z, f"{call.describe()}, modulated at its input")


@dataclass(frozen=True, eq=False)
class Block:
    """A part of the sum: its map without bias, what entered it [n, *map.in_shape], and its name."""

    map: LinearMap
    input: Tensor
    name: str


def way_back(result: Node) -> list[Node]:
    """From the module's output through operations of one thing of as many values, to a sum, a layer, or what else."""
    way = [result]
    while not _is_layer(way[-1]) and len(parents := way[-1].parents) == 1 and _size(parents[0]) == _size(result):
        way.append(parents[0])
    return way


def summands(node: Node, count: int, scale: float = 1.0) -> Iterator[Summand]:
    """Those of a sum of `count` samples; what does not depend on the inputs is left to the bias.

    Raises HeadNotFound for a summand of another shape.
    """
    if node.name in SIGNS and len(node.arguments) == 2 and node.parents:
        first, second = SIGNS[node.name]
        signs = first, second * float(node.options.get("alpha", 1))
        for operand, sign in zip(node.arguments, signs, strict=True):
            if isinstance(operand, Node):
                if operand.shape != node.shape:
                    raise HeadNotFound(f"{operand.shape} is spread over {node.shape} in the last sum.")
                yield from summands(operand, count, scale * sign)
    elif (factor := _factor(node)) is not None:
        yield from summands(node.parents[0], count, scale * factor)
    elif node.name in SAME and len(node.parents) == 1 and node.parents[0].shape == node.shape:
        yield from summands(node.parents[0], count, scale)
    elif (found := _resampled(node)) is not None:
        source, axes = found
        yield Summand("resampling", source.place, scale, source.layer, axes)
    elif _is_layer(node) and node.shape[0] == count:
        yield Summand("layer", node.place, scale, node.layer)
    elif (layer := _grouped(node, count)) is not None:
        yield Summand("modulated", layer.place, scale, layer.layer)
    else:
        yield Summand("as it is", node.place, scale, node.layer)


def _is_layer(node: Node) -> bool:
    """A linear operation of fixed weights."""
    return node.function in LINEAR_OPERATIONS and len(node.parents) == 1 and isinstance(node.arguments[0], Node)


def _size(node: Node) -> int:
    return torch.Size(node.shape).numel()


def _factor(node: Node) -> float | None:
    """What a product or quotient multiplies its one operand by; None where that is no single number, or no product."""
    if node.name not in PRODUCTS or len(node.parents) != 1 or node.options:
        return None
    if node.name == "neg":
        return -1.0
    value = next(each for each in node.arguments if not isinstance(each, Node))
    if isinstance(value, Tensor) and value.numel() != 1:
        return None
    number = float(value)
    return number if "mul" in node.name else 1 / number


def _resampled(node: Node) -> tuple[Node, tuple[Tensor, ...]] | None:
    """The smaller picture of which a node is a separable up-sampling, and the matrices."""
    source = node
    while len(source.parents) == 1 and (source.name in SHAPING | {"interpolate"} or _is_filter(source)):
        source = source.parents[0]
        alike = source.shape[:2] == node.shape[:2] and len(source.shape) == len(node.shape)
        if alike and _size(source) < _size(node) and (axes := resampling_matrices(node, source)) is not None:
            return source, axes
    return None


def _is_filter(node: Node) -> bool:
    """A convolution of each channel by itself, by the same fixed weights."""
    return _is_layer(node) and isinstance(weight := node.arguments[1], Tensor) and weight.shape[1] == 1


def _grouped(node: Node, count: int) -> Node | None:
    """The convolution behind a reshape whose groups are the samples of the batch, as StyleGAN's modulated ones."""
    while node.name in ("reshape", "view") and len(node.parents) == 1:
        node = node.parents[0]
    grouped = node.function in LINEAR_OPERATIONS and len(node.parents) == 2 and node.shape[0] == 1
    if not grouped or _options(node).get("groups") != count:
        return None
    return node


def _options(node: Node) -> dict[str, object]:
    _, names = LINEAR_OPERATIONS[node.function]
    return dict(zip(names, node.arguments, strict=False)) | node.options


def _call(
    node: Node, x: Tensor, output: Tensor, weight: Tensor | None = None, changed: dict[str, object] | None = None
) -> Call:
    kind, _ = LINEAR_OPERATIONS[node.function]
    options = _options(node) | (changed or {})
    held = options.pop("weight") if weight is None else weight
    assert isinstance(held, Tensor)
    for name in ("input", "weight", "bias"):
        options.pop(name, None)
    return Call(kind, node.layer, x, held, None, options, output)


def _scaled(linear: LinearMap, scale: float) -> LinearMap:
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
