"""A few numbers about an image, from which one sees what happened to it since it was made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from morelli.numerics.eight_bits import check_images, luma, rounding
from morelli.numerics.jpeg import YCBCR
from morelli.numerics.jpeg_history import comb
from morelli.numerics.noise_level import noise_level
from morelli.numerics.perturbations import Jpeg, Perturbation, points_of
from morelli.numerics.resampling import bands, emptiness, leaves_empty

RANGES = (1.0, 219 / 255)  # of luma in a file, against 0..255: JPEG's (JFIF 1.02), WebP's (ITU-R BT.601)
FINE = 4  # bands from this one on: coarser ones tell what is in the picture


def traces(images: Tensor, perturbations: Sequence[Perturbation]) -> Tensor:
    """uint8 [n, c, h, w] → [n, d], finite; d depends on c and the perturbations only. About 20 numbers.

    Logarithms of luma's power in fine bands, of the power that each linear perturbation would leave empty, and of the
    noise; how well luma keeps to the steps of each JPEG. Colour adds chroma's power in them, and whether luma
    takes whole numbers as a codec stores it.

    Raises MismatchError for other images.
    """
    check_images(images)
    grey, least = luma(images), rounding(images)
    every = [points_of(p) for p in perturbations]
    qualities = [p.quality for points in every for p in points if isinstance(p, Jpeg)]
    empty = [emptiness(grey, points).amin(1, keepdim=True) for points in every if all(map(leaves_empty, points))]
    powers = [bands(grey)[:, FINE:], *empty, noise_level(images)[:, None]]
    others = [comb(grey, qualities)]
    if images.shape[1] == 3:
        chroma = torch.einsum("kc,nchw->knhw", grey.new_tensor(YCBCR[1:]), images.float())
        powers.append((bands(chroma[0]) + bands(chroma[1]))[:, FINE:])
        others.append(_whole(images, grey))
    return torch.cat([(torch.cat(powers, 1) + least / 10).log10(), *others], 1)


def _whole(images: Tensor, grey: Tensor) -> Tensor:
    """[n, 2]: 1 where luma is a whole number in a file, about 0 where it is anything. Of coloured, unclipped pixels."""
    told = (images.amin(1) > 0) & (images.amax(1) < 255) & (images.amin(1) < images.amax(1))
    count = told.sum((1, 2)).clamp_min(1)
    return torch.stack([(told * (2 * math.pi * share * grey).cos()).sum((1, 2)) / count for share in RANGES], 1)
