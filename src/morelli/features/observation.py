"""What a stored sample says about the pre-activations behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from morelli.errors import MismatchError
from morelli.features.protocol import Facts
from morelli.numerics.activation import cell
from morelli.numerics.fidelity import Cells, Fidelity, spread
from morelli.numerics.head import Head
from morelli.numerics.jpeg import JpegCells, jpeg_cells

COARSE = "4:2:0"  # chroma of half the size
STEPS = 255  # of an 8-bit value
SLACK = 1e-3  # of a level, for float32
LEAST = 1e-4  # smallest precision; a saturated value keeps this much


class Observation(Protocol):
    """Samples in the head's output range [n, *out], with their files' facts → what the map must reach."""

    def fidelity(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> Fidelity: ...


@dataclass(frozen=True)
class Point:
    """The value itself, undone. Source: arXiv 2306.06210, eq. (5)."""

    def fidelity(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> Fidelity:
        return Cells.at(head.target(samples))


@dataclass(frozen=True)
class EightBit:
    """Every pre-activation that rounds to the stored value is as good as another; open where it is saturated.

    Attributes:
        noise: standard deviation of noise in the output range, by two of which cells are widened; None estimates it
            from each sample.
    """

    noise: float | None = 0.0

    def fidelity(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> Fidelity:
        radius = (0.5 + SLACK) * _level(head, samples) + 2 * spread(_noise_of(samples, self.noise), samples)
        reached = head.map.apply(head.anchor[None]) + head.bias
        low, high = cell(head.stored, samples, radius)
        return Cells(low - reached, high - reached)


@dataclass(frozen=True)
class Weighted:
    """The value, counted by how well the stored one determines it: the inverse of its pre-activation's variance.

    That variance is (rounding² + noise²)/(dσ/da)², with a level's 1/12 for rounding; precisions are relative to the
    best value that has no noise, and at least 1e-4 of that. Source: the delta method.

    Attributes:
        noise: as in `EightBit`.
    """

    noise: float | None = 0.0

    def fidelity(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> Fidelity:
        steep = head.activation.slope(head.activation.inverse(samples)).nan_to_num()
        best = spread(steep.flatten(1).amax(1).clamp_min(1e-30), samples)
        rounding = _level(head, samples) ** 2 / 12
        noise = _noise_of(samples, self.noise).square()
        share = rounding / (rounding + noise).clamp_min(1e-30) if rounding else torch.ones_like(noise)
        precision = (steep / best).square() * spread(share, samples).nan_to_num(LEAST)
        return Cells.at(head.target(samples), precision.clamp(LEAST, 1.0))


@dataclass(frozen=True)
class Jpeg:
    """Every pre-activation whose image would have been stored as this JPEG file: intervals for its coefficients.

    A file without known quantisation tables is held to steps of one, about 8 bits. For tanh and sigmoid the image is
    linearised around the decoded one. Blocks in which decoding may have clipped say nothing. Needs `Fista`.

    Attributes:
        rounding: share of the worst case of all roundings by which intervals are widened; independent roundings
            rarely reach a fifth of it.
    """

    rounding: float = 0.2

    def fidelity(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> JpegCells:
        step, levels = _level(head, samples), head.form.levels
        if levels > STEPS + 1:
            raise MismatchError(f"JPEG cells are of 8-bit files; this model's hold {levels} levels. Use `cell`.")
        if not step:
            raise MismatchError(f"JPEG cells need images in a bounded range; this head makes {head.map.out_shape}.")
        decoded = ((samples - head.stored.low) / step).round().clamp(0, STEPS).nan_to_num()
        slope = head.stored.slope(head.stored.inverse(samples)).nan_to_num() / step
        known = [facts_of if understood(facts_of, samples) else {} for facts_of in facts]
        tables = torch.stack([_tables(each) for each in known]) if known else torch.ones(0, 2, 8, 8)
        chroma = torch.tensor([each.get("jpeg_sampling") == COARSE for each in known], dtype=torch.bool)
        given = (decoded, tables.to(decoded), chroma.to(decoded.device), head.target(samples), slope)
        cells = jpeg_cells(*given, rounding=self.rounding)
        clipped = _clipped_blocks((decoded == 0) | (decoded == STEPS), cells.subsampled)
        return replace(
            cells, low=cells.low.masked_fill(clipped, -math.inf), high=cells.high.masked_fill(clipped, math.inf)
        )


def _tables(facts: Facts) -> Tensor:
    """[2, 8, 8]; ones where the file is no JPEG, or nothing is known of it."""
    known = facts.get("jpeg_tables")
    return torch.tensor([known[0], known[-1]], dtype=torch.float32).reshape(2, 8, 8) if known else torch.ones(2, 8, 8)


def understood(facts: Facts, samples: Tensor) -> bool:
    """Whether the coefficients of this JPEG file can be found again: not from other samplings or turned pictures."""
    if any("orientation" in note and "applied" in note for note in facts.get("notes", ())):
        return False
    if samples.shape[1] == 1:
        return facts.get("mode") == "L"
    fits = samples.shape[2] % 16 == 0 and samples.shape[3] % 16 == 0
    return facts.get("jpeg_sampling") == "4:4:4" or (facts.get("jpeg_sampling") == COARSE and fits)


def _clipped_blocks(clipped: Tensor, subsampled: Tensor) -> Tensor:
    """[n, c, h, w] in the layout of `JpegCells`: True in every block of 8×8 coefficients that saw a clipped pixel."""
    pixels = clipped.any(1, keepdim=True).float()

    def blocks(side: int) -> Tensor:
        return max_pool2d(pixels, side).repeat_interleave(8, 2).repeat_interleave(8, 3)

    silent = blocks(8).expand(clipped.shape).clone()
    if subsampled.any():
        coarse = blocks(16)[subsampled]
        silent[subsampled, 1:, : coarse.shape[2], : coarse.shape[3]] = coarse
    return silent > 0


def _level(head: Head, samples: Tensor) -> float:
    """One step of a stored image, in the output range; 0 for what is no image."""
    span = head.stored.high - head.stored.low
    return span / (head.form.levels - 1) if math.isfinite(span) and samples.ndim == 4 else 0.0


def _noise_of(samples: Tensor, given: float | None) -> Tensor:
    return estimated_noise(samples) if given is None else samples.new_full((len(samples),), given)


def estimated_noise(samples: Tensor) -> Tensor:
    """[n]: standard deviation of white noise, from the median of the finest diagonal Haar coefficients.

    Source: Donoho & Johnstone 1994. Fine texture counts as noise. Zero for samples that are no images.
    """
    if samples.ndim != 4 or min(samples.shape[2:]) < 2 or not len(samples):
        return samples.new_zeros(len(samples))
    a, b = samples[..., :-1:2, :-1:2], samples[..., :-1:2, 1::2]
    c, d = samples[..., 1::2, :-1:2], samples[..., 1::2, 1::2]
    rows, columns = c.shape[2], b.shape[3]
    diagonal = (a[..., :rows, :columns] - b[..., :rows, :] - c[..., :columns] + d) / 2
    return diagonal.abs().flatten(1).median(1).values / 0.6745


OBSERVATIONS: dict[str, Callable[..., Observation]] = {
    "point": Point,
    "eight_bit": EightBit,
    "jpeg": Jpeg,
    "weighted": Weighted,
}
