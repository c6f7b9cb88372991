"""Whether a picture without JPEG tables was a JPEG before: its 8×8 grid, and the quality whose steps it keeps to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from morelli.numerics.eight_bits import check_images, luma
from morelli.numerics.jpeg import BLOCK
from morelli.numerics.spectrum import dct_matrix

QUALITIES = tuple(range(50, 100))
LUMA = (  # ITU-T T.81, table K.1: the steps of quality 50, row by row
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
ROUNDING = 0.25  # deviation of a coefficient of luma from its step, in grey steps: what rounding to RGB does
OUTLIERS = 0.02  # share of coefficients that clipping at 0 and 255 moved elsewhere
SMALL = 0.5  # grey steps below which a coefficient counts as zero
CHUNK = 2**16  # pixels that are worked on at a time, so that their 64 coefficients stay in the cache


@dataclass(frozen=True, eq=False)
class JpegHistory:
    """What the pixels say of a former JPEG.

    Attributes:
        top, left: [n], 0..7: the first row and column at which a block begins.
        quality: [n], of libjpeg's tables, 50 to 99; meaningless where there was no JPEG.
        confidence: [n], in nats per coefficient: how much likelier the steps of that quality make the coefficients
            on the grid than those off it. About 0 without a JPEG.
    """

    top: Tensor
    left: Tensor
    quality: Tensor
    confidence: Tensor


def jpeg_history(images: Tensor) -> JpegHistory:
    """uint8 [n, c, h, w] → the likeliest history. Only luma is looked at.

    The grid is where most coefficients are zero; the quality is the likeliest by `comb`, whose residual is what
    recompression at that quality would change: the ghost of the first compression.

    Raises MismatchError for other images.
    Sources: Nikoukhah et al., "JPEG grid detection based on the number of DCT zeros" (ICASSP 2019); Fan & de Queiroz,
    "Identification of bitmap compression history" (IEEE TIP 2003); Farid, "Exposing digital forgeries from JPEG
    ghosts" (IEEE TIFS 2009).
    """
    check_images(images)
    grey = luma(images)
    place = zeros(grey).flatten(1).argmax(1)
    top, left = place // BLOCK, place % BLOCK
    gain = comb(_shifted(grey, top, left), QUALITIES)
    best = gain.max(1)
    return JpegHistory(top, left, torch.tensor(QUALITIES, device=images.device)[best.indices], best.values)


def zeros(grey: Tensor) -> Tensor:
    """[n, h, w] in grey steps → [n, 8, 8]: the share of coefficients next to zero, for every offset of the grid."""
    n, height, width = grey.shape
    cosines = dct_matrix(BLOCK, grey)
    found = grey.new_empty(n, height - BLOCK + 1, width - BLOCK + 1)
    for start in range(0, n, step := max(1, CHUNK // (height * width))):
        rows = grey[start : start + step].unfold(1, BLOCK, 1) @ cosines.T
        small = (rows.unfold(2, BLOCK, 1) @ cosines.T).abs() < SMALL
        found[start : start + step] = small.flatten(3)[..., 1:].float().mean(3)
    spare = (-found.shape[1] % BLOCK, -found.shape[2] % BLOCK)
    folded = functional.pad(found, (0, spare[1], 0, spare[0]), value=torch.nan)
    return folded.unflatten(1, (-1, BLOCK)).unflatten(3, (-1, BLOCK)).nanmean((1, 3))


def comb(grey: Tensor, qualities: Sequence[int]) -> Tensor:
    """[n, h, w] in grey steps → [n, q]: how well coefficients keep to each quality's steps, in nats per coefficient.

    The mean logarithm of how much likelier a coefficient is under the steps (a multiple and rounding) than under a
    Laplace distribution, of the scale it has four pixels off the grid; less the same off the grid, so that content
    gains nothing by being smooth.
    """
    on, off = (_coefficients(part) for part in (grey, grey[:, BLOCK // 2 :, BLOCK // 2 :]))
    scale = off.abs().mean((1, 3), keepdim=True).clamp_min(ROUNDING)
    gains = [_gain(on, scale, quality) - _gain(off, scale, quality) for quality in qualities]
    return torch.stack(gains, 1) if gains else grey.new_zeros(len(grey), 0)


def steps_of(quality: int) -> Tensor:
    """[8, 8], luma steps of libjpeg at a quality from 1 to 100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(LUMA) * scale + 50) // 100).clamp(1, 255)


def _coefficients(grey: Tensor) -> Tensor:
    """[n, h, w] → [n, rows, 8, columns, 8]: the DCT of each whole block."""
    height, width = (side // BLOCK * BLOCK for side in grey.shape[1:])
    cosines = dct_matrix(BLOCK, grey)
    blocks = grey[:, :height, :width].unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK))
    return torch.einsum("ij,nrjck,lk->nricl", cosines, blocks - 128, cosines)


def _gain(coefficients: Tensor, scale: Tensor, quality: int) -> Tensor:
    steps = steps_of(quality).to(coefficients)[:, None]
    multiple = (coefficients / steps).round()
    rounding = (-0.5 * ((coefficients - multiple * steps) / ROUNDING).square()).exp()
    zero = -2 * scale * torch.expm1(-steps / (2 * scale))  # the share of coefficients that become zero, per density
    width = torch.where(multiple == 0, zero, steps)
    peak = (1 - OUTLIERS) / (ROUNDING * math.sqrt(2 * math.pi))
    return (OUTLIERS + peak * width * rounding).log().mean((1, 2, 3, 4))


def _shifted(grey: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """[n, h, w] → [n, h − 7, w − 7], each from its own offset."""
    height, width = (side - BLOCK + 1 for side in grey.shape[1:])
    rows = top[:, None] + torch.arange(height, device=grey.device)
    columns = left[:, None] + torch.arange(width, device=grey.device)
    return grey[torch.arange(len(grey), device=grey.device)[:, None, None], rows[:, :, None], columns[:, None]]
