"""How the last linear layer's result is laid out as samples: as it is, reshaped, shuffled, cropped, channels last."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from torch import Tensor
from torch.nn import functional

from morelli.errors import HeadNotFound, MismatchError
from morelli.generators.tracing import Call
from morelli.numerics.cropped import Cropped
from morelli.numerics.linear import LinearMap
from morelli.numerics.shuffle import shuffled, shuffled_bias

FARTHEST = 16  # values along an axis up to which a crop that is not in the middle is looked for
COLOURS = (1, 3, 4)


@dataclass(frozen=True)
class Arrangement:
    """From a layer's result to samples [n, channels, *sizes]; nothing is computed, values only change places.

    Attributes:
        channels_last: the module returns [n, *sizes, channels].
        shape: what a dense result is reshaped to first; else empty. shape_last: that has channels last.
        shuffle: factor of a pixel shuffle. blocks_first: its channels are ordered (i, j, c) rather than (c, i, j).
        start: where a crop begins, per axis. size: of the samples after it.
    """

    channels_last: bool = False
    shape: tuple[int, ...] = ()
    shuffle: int = 1
    blocks_first: bool = False
    start: tuple[int, ...] = ()
    size: tuple[int, ...] = ()
    shape_last: bool = False

    @property
    def said(self) -> str:
        parts = [f"pixel shuffle by {self.shuffle}"] if self.shuffle > 1 else []
        parts += [f"cropped to {'×'.join(map(str, self.size))} from {self.start}"] if self.start else []
        parts += ["channels last"] if self.channels_last else []
        return "".join(f", {part}" for part in parts)

    def samples(self, output: Tensor) -> Tensor:
        """What the module returned, [n, channels, *sizes]."""
        return output.movedim(-1, 1) if self.channels_last else output

    def placed(self, made: Tensor) -> Tensor:
        """The layer's result, laid out like `samples`."""
        if self.shape:
            made = made.reshape(len(made), *self.shape)
            return made.movedim(-1, 1) if self.shape_last else made
        if self.shuffle > 1:
            made = _shuffle(made, self.shuffle, self.blocks_first)
        if self.start:
            made = _cut(made, self.start, self.size)
        return made

    def linear_map(self, call: Call) -> tuple[LinearMap, Tensor]:
        """The layer's map and bias, laid out like `samples`. Raises HeadNotFound where that is not supported."""
        if self.shape:
            call = call.arranged(self.placed)
        linear, bias = call.linear_map()
        try:
            if self.shuffle > 1:
                linear = shuffled(linear, self.shuffle, blocks_first=self.blocks_first)
                bias = shuffled_bias(bias, self.shuffle, linear.out_shape[1:], blocks_first=self.blocks_first)
            if self.start:
                linear = Cropped(linear, self.start, (linear.out_shape[0], *self.size))
        except MismatchError as error:
            raise HeadNotFound(f"{call.describe()} is found{self.said}, but {error}") from None
        if self.start and bias.ndim and math.prod(bias.shape[1:]) > 1:
            bias = _cut(bias, self.start, self.size)
        return linear, bias


def arrangements(call: Call, output: Tensor) -> Iterator[Arrangement]:
    """Those by which the shapes fit, the plainest first. Which is right is for the values to say."""
    made, many = call.output, output.ndim > 2
    if len(made) != len(output):
        return
    for last in (False, True) if many else (False,):
        samples = output.movedim(-1, 1) if last else output
        if call.kind == "linear" and made.numel() == output.numel():
            yield from _dense(output, last)
        elif made.shape == samples.shape:
            yield Arrangement(last)
        elif made.ndim == samples.ndim > 2:
            yield from _moved(made, samples, last)
        elif made.numel() == output.numel() and not last:
            yield Arrangement()


def _dense(output: Tensor, last: bool) -> Iterator[Arrangement]:
    """Images are taken to have channels last where only that gives them a number of colours."""
    shape = tuple(output.shape[1:])
    looks = len(shape) == 3 and shape[2] in COLOURS and shape[0] not in COLOURS
    if last and looks:
        yield Arrangement(True, shape, shape_last=True)
        yield Arrangement(True, (shape[2], *shape[:2]))
    elif not last and not looks:
        yield Arrangement(shape=shape)


def _moved(made: Tensor, samples: Tensor, last: bool) -> Iterator[Arrangement]:
    """Shuffled, cropped, or first one and then the other."""
    factor = math.isqrt(made.shape[1] // samples.shape[1]) if made.ndim == 4 else 1
    if factor * factor * samples.shape[1] != made.shape[1]:
        return
    for blocks_first in (False, True) if factor > 1 and samples.shape[1] > 1 else (False,):
        wide = _shuffle(made, factor, blocks_first) if factor > 1 else made
        size = tuple(samples.shape[2:])
        if tuple(wide.shape[2:]) == size:
            yield Arrangement(last, (), factor, blocks_first)
        elif all(n >= m for n, m in zip(wide.shape[2:], size, strict=True)):
            for start in _starts(wide, samples):
                yield Arrangement(last, (), factor, blocks_first, start, size)


def _starts(wide: Tensor, samples: Tensor) -> Iterator[tuple[int, ...]]:
    """Where a crop may begin: activations are increasing, so the right places put values in the samples' order."""
    size = tuple(samples.shape[2:])
    spare = [n - m for n, m in zip(wide.shape[2:], size, strict=True)]
    middle = tuple(n // 2 for n in spare)
    near = [range(min(n, FARTHEST) + 1) for n in spare]
    order = samples[0].double().flatten().argsort()
    reached = samples[0].double().flatten()[order]
    for start in dict.fromkeys([middle, *product(*near)]):
        part = _cut(wide[0], start, size).double().flatten()[order]
        rises = (part.diff() >= -1e-3 * part.std()) | (reached.diff() <= 0)
        if float(rises.double().mean()) > 0.9:
            yield start


def _cut(values: Tensor, start: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    return values[(..., *(slice(a, a + n) for a, n in zip(start, size, strict=True)))]  # type: ignore[index]


def _shuffle(made: Tensor, factor: int, blocks_first: bool) -> Tensor:
    if blocks_first:
        made = made.unflatten(1, (factor * factor, -1)).transpose(1, 2).flatten(1, 2)
    return functional.pixel_shuffle(made, factor)
