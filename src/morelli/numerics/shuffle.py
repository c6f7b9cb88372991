"""A pixel shuffle after a convolution is a transposed convolution with a larger stride. So is nothing new to invert."""

from __future__ import annotations

from itertools import product

from torch import Tensor

from morelli.errors import MismatchError
from morelli.numerics.linear import Conv, Geometry, LinearMap, TransposedConv


def shuffled(linear: LinearMap, factor: int, *, blocks_first: bool = False) -> TransposedConv:
    """The map followed by a pixel shuffle: [c·r², h, w] → [c, r·h, r·w].

    With r·y + i the row of an output and p the padding, a convolution of stride 1 puts tap k of input row y + k − p
    there, a transposed one of stride s tap t of input row y' where y = s·y' + t − p. Both are transposed convolutions
    of stride r (r·s) whose kernel is r times as large.

    Args:
        linear: a 2-D convolution of stride 1, or a 2-D transposed convolution.
        blocks_first: channels are ordered as (i, j, c), as in TensorFlow's and ONNX's depth to space; torch's pixel
            shuffle has (c, i, j).
    Raises:
        MismatchError: channels that r² does not divide, another stride, or padding beyond the kernel.
    """
    r = factor
    if not isinstance(linear, Conv | TransposedConv) or len(linear.in_shape) != 3 or linear.out_shape[0] % r**2:
        raise MismatchError(
            f"a map {linear.in_shape} → {linear.out_shape} cannot be followed by a pixel shuffle by {r}."
        )
    geometry, channels = linear.geometry, linear.out_shape[0] // r**2
    weight = _inputs_first(linear)
    if isinstance(linear, Conv):
        if set(geometry.stride) != {1}:
            raise MismatchError("a pixel shuffle after a convolution with a stride has no transposed convolution.")
        weight = weight.flip(2, 3)
        taps = tuple(d * (k - 1) for k, d in zip(weight.shape[2:], geometry.dilation, strict=True))
        padding = tuple(r * (reach - p) for reach, p in zip(taps, geometry.padding, strict=True))
        if min(padding) < 0:
            raise MismatchError("a pixel shuffle after a convolution that pads beyond its kernel is not supported.")
    else:
        padding = tuple(r * p for p in geometry.padding)
    kernel = [r * (d * (k - 1) + 1) for k, d in zip(weight.shape[2:], geometry.dilation, strict=True)]
    wide = weight.new_zeros(len(weight), channels, *kernel)
    steps = [r * d for d in geometry.dilation]
    for i, j in product(range(r), range(r)):
        start = (i * r + j) * channels if blocks_first else i * r + j
        some = weight[:, start : start + channels] if blocks_first else weight[:, start :: r * r]
        wide[:, :, i :: steps[0], j :: steps[1]] = some
    strides = tuple(r * s for s in geometry.stride)
    out = (channels, *(r * n for n in linear.out_shape[1:]))
    return TransposedConv(wide, linear.in_shape, out, Geometry(strides, padding, (1, 1)))


def shuffled_bias(bias: Tensor, factor: int, sizes: tuple[int, ...], *, blocks_first: bool = False) -> Tensor:
    """The bias [c·r², 1, 1] of the map before, for the one after: [c, *sizes]."""
    r = factor
    if not bias.ndim:
        return bias
    cells = bias.reshape(r, r, -1).movedim(-1, 0) if blocks_first else bias.reshape(-1, r, r)
    return cells.repeat(1, sizes[0] // r, sizes[1] // r)


def _inputs_first(linear: Conv | TransposedConv) -> Tensor:
    """[in, out, *kernel], groups written out."""
    groups, weight = linear.geometry.groups, linear.weight
    ways = weight.transpose(0, 1) if isinstance(linear, Conv) else weight
    if groups == 1:
        return ways
    whole = weight.new_zeros(linear.in_shape[0], linear.out_shape[0], *weight.shape[2:])
    ins, outs = linear.in_shape[0] // groups, linear.out_shape[0] // groups
    for g in range(groups):
        part = ways[:, g * outs : (g + 1) * outs] if isinstance(linear, Conv) else ways[g * ins : (g + 1) * ins]
        whole[g * ins : (g + 1) * ins, g * outs : (g + 1) * outs] = part
    return whole
