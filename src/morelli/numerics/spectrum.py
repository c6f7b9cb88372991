"""Frequencies: the two-dimensional discrete cosine transform."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def dct_matrix(n: int, like: Tensor) -> Tensor:
    """[n, n], orthonormal DCT-II: row k is the k-th cosine."""
    k = torch.arange(n, device=like.device, dtype=torch.float64)
    matrix = (math.pi / n * (k[None] + 0.5) * k[:, None]).cos() * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix.to(like.dtype)


def dct2(images: Tensor) -> Tensor:
    """[..., h, w] → [..., h, w], orthonormal DCT-II of rows and columns."""
    return dct_matrix(images.shape[-2], images) @ images @ dct_matrix(images.shape[-1], images).T
