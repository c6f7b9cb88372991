"""8-bit images: what they must be, and their luma."""

from __future__ import annotations

import torch
from torch import Tensor

from morelli.errors import MismatchError
from morelli.numerics.jpeg import YCBCR

LEAST = 32  # pixels of a side


def check_images(images: Tensor) -> None:
    """Raises MismatchError unless uint8 [n, 1 or 3, h, w] of at least 32 pixels a side."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise MismatchError(
            f"images are {images.dtype} {list(images.shape)}; expected uint8 [n, 1 or 3, h, w]. Convert them first."
        )
    if min(images.shape[2:]) < LEAST:
        raise MismatchError(
            f"images are {images.shape[2]}x{images.shape[3]}; expected at least {LEAST} pixels a side. "
            "Smaller ones say too little about what happened to them."
        )


def luma(images: Tensor) -> Tensor:
    """uint8 [n, c, h, w] → [n, h, w] float, 0 to 255."""
    values = images.float()
    return values[:, 0] if images.shape[1] == 1 else torch.einsum("c,nchw->nhw", values.new_tensor(YCBCR[0]), values)


def rounding(images: Tensor) -> float:
    """Variance that rounding to 8 bits gives luma, in squared grey steps."""
    weights = (1.0,) if images.shape[1] == 1 else YCBCR[0]
    return sum(weight**2 for weight in weights) / 12
