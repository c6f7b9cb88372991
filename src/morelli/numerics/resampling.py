"""What resampling and blur leave empty: directions of rows and columns that a linear operation cannot reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from morelli.numerics.eight_bits import check_images, luma, rounding
from morelli.numerics.perturbations import SIDE, Blur, Crop, Perturbation, Resize
from morelli.numerics.spectrum import dct2

WINDOW = 128  # pixels from the top and the left that are looked at; enough, and quick however large the image
NONE, DULL = 1e-6, 0.05  # gain below which enlarging, and blur, count as leaving a direction empty
DEEP = 0.3  # decades by which a void must lie below its neighbours'
EMPTY, LOUD = 1.6, 4.0  # times the power of rounding: below, there is nothing but rounding; above, hardly any
EDGES = (0.04, 0.08, 0.12, 0.17, 0.22, 0.28, 0.34, 0.42, 0.71)  # of the bands, in cycles per pixel
LAST = 0.5  # cycles per pixel: the highest frequency that all directions have


@dataclass(frozen=True, eq=False)
class Resampling:
    """How band-limited an image is.

    Attributes:
        factor: [n, 2], source pixels per pixel of height and width, from 1/2 to 1; 1 where nothing was enlarged.
        confidence: [n, 2], decades by which the power that bilinear enlarging by this factor cannot make lies below
            what the next factors leave. Meaningless where the factor is 1.
        blur: [n], pixels: standard deviation of the Gaussian whose spectrum falls as the image's does, beyond 1/f².
    """

    factor: Tensor
    confidence: Tensor
    blur: Tensor


def blur_and_resampling(images: Tensor) -> Resampling:
    """uint8 [n, c, h, w] → estimates from luma. Raises MismatchError for other images.

    An image that was enlarged bilinearly from m rows to h is a sum of m patterns and rounding; the h − m directions
    outside hold rounding alone, and do so for no other m. Likewise for columns. Noise or a lossy codec afterwards
    fill them, and the factor is 1.
    """
    check_images(images)
    grey, least = luma(images), rounding(images)
    found = [_enlarged(grey, least), _enlarged(grey.mT, least)]
    factor, confidence = (torch.stack(pair, 1) for pair in zip(*found, strict=True))
    return Resampling(factor, confidence, _blur(bands(grey), least))


def bands(grey: Tensor) -> Tensor:
    """[n, h, w] → [n, 8], mean power of the cosine transform between `EDGES`; white noise has its variance in each."""
    rows, columns = (torch.arange(side, device=grey.device) / (2 * side) for side in grey.shape[1:])
    band = torch.bucketize((rows[:, None].square() + columns.square()).sqrt(), grey.new_tensor(EDGES), right=True)
    sums = grey.new_zeros(len(grey), len(EDGES) + 1)
    sums.index_add_(1, band.flatten(), dct2(grey).square().flatten(1))
    return sums[:, 1:-1] / band.flatten().bincount(minlength=len(EDGES) + 1)[1:-1]


def emptiness(grey: Tensor, perturbations: Sequence[Perturbation]) -> Tensor:
    """[n, h, w] → [n, k]: the mean power in what each of the k linear perturbations would have left empty."""
    found = []
    for perturbation in perturbations:
        rows, columns = (_void(perturbation, side).to(grey) for side in grey.shape[1:])
        found.append((_power(grey, rows) + _power(grey.mT, columns)) / 2)
    return torch.stack(found, 1) if found else grey.new_zeros(len(grey), 0)


def leaves_empty(perturbation: Perturbation) -> bool:
    """Whether `emptiness` says something of it: it is linear and loses something."""
    match perturbation:
        case Crop(kept):
            return kept < SIDE
        case Resize(factor):
            return factor < 1
        case Blur(kernel):
            return kernel > 1
    return False


def _enlarged(grey: Tensor, least: float) -> tuple[Tensor, Tensor]:
    side = grey.shape[1]
    voids = {m: void for m in range((side + 1) // 2, side) if (void := _unreached(side, m)).shape[1]}
    power = torch.stack([_power(grey, void.to(grey)) for void in voids.values()], 1)
    decades = power.clamp_min(least / 4).log10()
    around = functional.pad(decades[:, None], (2, 2), mode="replicate")[:, 0]
    beside = sum(around[:, i : i + len(voids)] for i in (0, 1, 3, 4)) / 4
    depth, place = (beside - decades).max(1)
    enlarged = (depth > DEEP) & (power.gather(1, place[:, None])[:, 0] < EMPTY * least)
    return torch.where(enlarged, torch.tensor(list(voids)).to(grey)[place] / side, 1.0), depth


def _blur(levels: Tensor, least: float) -> Tensor:
    """A line through log(power·f²) over f² of bands well above rounding: its slope is −4π²σ². 0 if there are none."""
    edges = levels.new_tensor(EDGES)
    square = (edges[1:].square() + edges[:-1].square()) / 2
    weight = ((levels > LOUD * least) & (edges[1:] <= LAST)).to(levels)
    weight = weight / weight.sum(1, keepdim=True).clamp_min(1)
    height = torch.where(weight > 0, levels, 1).log() + square.log()
    x = square - (weight * square).sum(1, keepdim=True)
    slope = (weight * x * height).sum(1) / (weight * x.square()).sum(1).clamp_min(1e-6)
    return (-slope).clamp_min(0).sqrt() / (2 * math.pi)


def _power(grey: Tensor, void: Tensor) -> Tensor:
    """[n, h, w] and [window, k] → [n], mean power of columns along the directions; 0 without one."""
    part = grey[:, : len(void)]
    return (void.T @ part).square().sum((1, 2)) / max(1, void.shape[1] * part.shape[2])


def _void(perturbation: Perturbation, side: int) -> Tensor:
    match perturbation:
        case Crop(kept):
            return _unreached(side, max(1, round(kept / SIDE * side)))
        case Resize(factor):
            return _unreached(side, max(1, round(factor * side)))
        case Blur(kernel, sigma):
            return _dulled(side, kernel, sigma)
    raise NotImplementedError(f"{perturbation} leaves nothing empty")


@cache
def _unreached(side: int, kept: int) -> Tensor:
    """[window, k], orthonormal: what bilinear enlarging from `kept` to `side` cannot reach."""
    identity = torch.eye(kept, dtype=torch.float64)[None]
    return _empty(functional.interpolate(identity, (side,), mode="linear")[0].T, NONE)


@cache
def _dulled(side: int, kernel: int, sigma: float) -> Tensor:
    """[window, k], orthonormal: what hardly passes a blur."""
    reach = kernel // 2
    taps = (-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma).square()).softmax(0)
    identity = torch.eye(side, dtype=torch.float64)[None]
    return _empty((functional.pad(identity, (reach, reach), mode="reflect")[0].unfold(1, kernel, 1) @ taps).T, DULL)


def _empty(operator: Tensor, gain: float) -> Tensor:
    part = operator[:WINDOW]
    directions, gains, _ = torch.linalg.svd(part[:, part.abs().sum(0) > 0])
    kept = int((gains >= gain).sum())
    return directions[:, kept:].float()
