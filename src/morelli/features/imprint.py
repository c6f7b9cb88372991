"""Imprint: what a generator's last layers leave on the grid that they make images on, whatever the image shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from morelli.errors import MismatchError
from morelli.features.protocol import Facts, Features, Progress, SampleSpec
from morelli.numerics.log_covariance import log_covariance
from morelli.numerics.state import State

LARGEST, TILE = 96, 64  # pixels a side: larger images are averaged over tiles
QUIET = 0.25  # grey steps that are added to an image's contrast, so that a flat one is not blown up
STRONG = 16.0  # grey steps, the unit of the coarse residual and of the whole image
CLIPS = 3.0, 4.0, 2.0  # of the fine and the coarse residual and the whole image
PATCH = 4  # pixels a side
AT_ONCE = 2**19  # numbers of samples worked on together
FRAME = ("as it is", "mirrored", "upside down", "turned by half")  # what makes a sample upright again
SQUARE = (
    *("as it is", "turned left", "turned by half", "turned right"),
    *("transposed", "upside down", "transposed the other way", "mirrored"),
)


@dataclass(frozen=True, eq=False)
class Imprint:
    """Features of an image in blocks, one after the other.

    * fine: the image less its 3×3 mean, in units of its own mean residual, at every place.
    * coarse: the image less its 5×5 mean, in grey steps, at every place. It outlives noise and JPEG better.
    * whole: the image less its mean, in grey steps up to 32, at every place. Its low frequencies outlive noise best.
    * neighbours: logarithm of the covariance of fine 4×4 patches that lie on the grid of the last layer, all channels.

    The first three see the pattern that kernels, biases and padding leave at each place, the last how the last layer
    couples neighbouring pixels and colours. Images of more than 96 pixels a side are averaged over tiles of 64.

    Attributes:
        spec: of images with 1 or 3 channels.
        stride: of the grid of patches, in pixels.
        whole: whether the block of that name is there; it is not in bundles of earlier versions.
    Raises:
        MismatchError: samples that are no images, smaller than 8 pixels a side, or of other channels.

    Source: our own, from the leads in experiments/imprint.
    """

    spec: SampleSpec
    stride: int = 2
    whole: bool = True

    def __post_init__(self) -> None:
        spec = self.spec
        fits = spec.is_image and spec.shape[0] in (1, 3) and min(spec.shape[1:]) >= 2 * PATCH
        if not fits or not math.isfinite(spec.high - spec.low):
            raise MismatchError(
                f"samples are {spec.shape}; an imprint needs images of 1 or 3 channels and 8 pixels a side or more, "
                "within a range. For anything else, as rows of a table, use method 'flipad'."
            )
        if self.stride < 1:
            raise MismatchError(f"the stride of an imprint's patches is {self.stride}; expected 1 or more pixels.")

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Of every block but the last."""
        channels, height, width = self.spec.shape
        return channels, *(side if side <= LARGEST else TILE for side in (height, width))  # type: ignore[return-value]

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many numbers each block has."""
        entries = self.spec.shape[0] * PATCH**2
        return (math.prod(self.map_shape),) * (2 + self.whole) + (entries * (entries + 1) // 2,)

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, *spec.shape] → [n, sum of blocks]. Raises MismatchError for another shape."""
        self.spec.check(samples)
        values = samples.new_zeros(len(samples), sum(self.blocks))
        step = max(1, AT_ONCE // math.prod(self.spec.shape))
        for start in range(0, len(samples), step):
            values[start : start + step] = self._features(samples[start : start + step].float())
            if progress:
                progress(len(samples[start : start + step]))
        return Features(values, {"saturated": torch.zeros(len(samples))}, self._reasons(samples))

    def _reasons(self, samples: Tensor) -> tuple[str, ...]:
        outside = self.spec.outside(samples).tolist()
        reasons = ["values lie outside the range that the model can make." if out else "" for out in outside]
        for i in (~samples.isfinite().flatten(1).all(1)).nonzero()[:, 0].tolist():
            reasons[i] = "some values are NaN or infinite; check the range of the samples."
        return tuple(reasons)

    def _features(self, samples: Tensor) -> Tensor:
        maps = self.maps(self.spec.grey_steps(samples).nan_to_num(0, 0, 0))
        return torch.cat([self._tiled(maps), self._neighbours(maps[:, : self.spec.shape[0]])], 1)

    def maps(self, steps: Tensor) -> Tensor:
        """Images of any size, in grey steps [n, c, h, w] → [n, k c, h, w]: all blocks but the last, before tiling."""
        fine, coarse = (steps - _mean(steps, side) for side in (3, 5))
        fine = (fine / (fine.abs().mean((1, 2, 3), keepdim=True) + QUIET)).clamp(-CLIPS[0], CLIPS[0])
        maps = [fine, (coarse / STRONG).clamp(-CLIPS[1], CLIPS[1])]
        if self.whole:
            maps.append(((steps - steps.mean((1, 2, 3), keepdim=True)) / STRONG).clamp(-CLIPS[2], CLIPS[2]))
        return torch.cat(maps, 1)

    def _tiled(self, maps: Tensor) -> Tensor:
        for axis, side in zip((2, 3), self.map_shape[1:], strict=True):
            whole = maps.shape[axis] // side * side
            start = (maps.shape[axis] - whole) // 2  # the middle, so that turned images have turned tiles
            maps = maps.narrow(axis, start, whole).unflatten(axis, (-1, side)).mean(axis)
        return maps.flatten(1)

    def _neighbours(self, fine: Tensor) -> Tensor:
        return log_covariance(functional.unfold(fine, PATCH, stride=self.stride).mT)

    @cached_property
    def turns(self) -> Tensor:
        """[4 or 8, sum of blocks]: features[:, turns[k]] are those of the image in its k-th orientation; 0 is upright.

        Eight for square images, four for others. Exact where the grids of patches and tiles meet all
        borders alike.
        """
        maps = torch.arange(math.prod(self.map_shape)).reshape(self.map_shape)
        side = self.spec.shape[0] * PATCH**2
        patch = torch.arange(side).reshape(-1, PATCH, PATCH)
        rows, columns = torch.triu_indices(side, side)
        entries = torch.zeros(side, side, dtype=torch.long)
        entries[rows, columns] = entries[columns, rows] = torch.arange(len(rows))
        square = self.spec.shape[1] == self.spec.shape[2]
        found = []
        for one, other in zip(orientations(maps, square), orientations(patch, square), strict=True):
            turned = entries[other.flatten()][:, other.flatten()][rows, columns]
            count = len(self.blocks) - 1
            places = [one.flatten() + k * one.numel() for k in range(count)]
            found.append(torch.cat([*places, turned + count * one.numel()]))
        return torch.stack(found)

    @property
    def orientations(self) -> tuple[str, ...]:
        """Names of the turns."""
        return SQUARE if self.spec.shape[1] == self.spec.shape[2] else FRAME

    def state(self) -> State:
        return State({"type": "imprint", "spec": self.spec.settings(), "stride": self.stride, "whole": self.whole})

    @staticmethod
    def from_state(state: State) -> Imprint:
        settings = state.settings
        return Imprint(SampleSpec.from_settings(settings["spec"]), settings["stride"], settings.get("whole", False))


def orientations(images: Tensor, square: bool) -> list[Tensor]:
    """[..., h, w] upright, and in the three other orientations of its frame, or the seven of a square."""
    if not square:
        return [images, images.flip(-1), images.flip(-2), images.flip(-2, -1)]
    return [torch.rot90(each, k, (-2, -1)) for each in (images, images.transpose(-2, -1)) for k in range(4)]


def _mean(images: Tensor, side: int) -> Tensor:
    """Of the side × side pixels around each; by shifts, 8 times as fast on a CPU as average pooling."""
    framed = functional.pad(images, (side // 2,) * 4, mode="reflect")
    for axis in (2, 3):
        length = images.shape[axis]
        total = framed.narrow(axis, 0, length).clone()
        for i in range(1, side):
            total += framed.narrow(axis, i, length)
        framed = total
    return framed / side**2
