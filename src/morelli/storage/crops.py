"""Photographs for training: made smaller until their own codec is gone, then cropped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from morelli.errors import UnreadableSample
from morelli.storage.samples import read_picture

REDUCTIONS = (1.5, 5.0)  # at most as far as the crop still fits


def crops(
    paths: Sequence[Path], side: int, *, each: int = 1, seed: int = 0, progress: Callable[[int], None] | None = None
) -> Tensor:
    """`each` random crops of every photograph, uint8 [n, 3, side, side]; smaller photographs are left out.

    Every crop comes from a reduction of its own, log-uniform in REDUCTIONS as far as the photograph allows. Crops of
    one photograph stand side by side. Raises UnreadableSample for a file that is none, or where no crop is left.
    """
    rng, found = torch.Generator().manual_seed(seed), []
    for path in paths:
        pixels, _ = read_picture(path)
        most = min(pixels.shape[1:]) / side
        for _ in range(each if most >= 1 else 0):
            u, v, w = torch.rand(3, generator=rng).tolist()
            low, high = (min(limit, most) for limit in REDUCTIONS)
            factor = low * math.exp(u * math.log(high / low))
            sides = [max(side, round(length / factor)) for length in pixels.shape[1:]]
            smaller = interpolate(pixels[None].float(), sides, mode="bilinear", antialias=True)[0]
            top, left = int(v * (sides[0] - side + 1)), int(w * (sides[1] - side + 1))
            found.append(smaller[:, top : top + side, left : left + side].round().clamp(0, 255).to(torch.uint8))
        if progress:
            progress(1)
    if not found:
        raise UnreadableSample(f"no photograph of {len(paths)} has sides of {side} pixels; give larger ones.")
    return torch.stack(found)
