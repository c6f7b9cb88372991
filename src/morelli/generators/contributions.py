"""What a generator's output is the sum of: found by going back through the graph of a forward pass.

Where the last thing a module does, but for its activation, is to add (toRGB skips, residual outputs), every summand is
traced to a linear layer, to an up-sampling of something smaller, or to itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from morelli.errors import HeadNotFound
from morelli.generators.graph import Node
from morelli.generators.resampling import resampling_matrices
from morelli.generators.summands import Enlarged, Itself, Layer, Modulated, Summand, options_of
from morelli.generators.tracing import LINEAR_OPERATIONS

SIGNS = dict.fromkeys(("add", "iadd", "radd"), (1.0, 1.0))
SIGNS |= dict.fromkeys(("sub", "isub"), (1.0, -1.0)) | {"rsub": (-1.0, 1.0)}
PRODUCTS = ("mul", "imul", "rmul", "div", "idiv", "truediv", "itruediv", "neg")
SAME = {"contiguous", "to", "float", "double", "clone", "type_as"}
SAME |= {"clamp", "clip"}  # StyleGAN2's, far out; where they do cut, the sum is off and is refused
SHAPING = {"reshape", "view", "pad", "getitem", "permute", "unsqueeze", "squeeze", "transpose", "upsample"}


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
        yield Enlarged(source.place, scale, axes)
    elif _is_layer(node) and node.shape[0] == count:
        yield Layer(node.place, scale)
    elif (layer := _grouped(node, count)) is not None:
        yield Modulated(layer.place, scale)
    else:
        yield Itself(node.place, scale)


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
    if not grouped or options_of(node).get("groups") != count:
        return None
    return node
