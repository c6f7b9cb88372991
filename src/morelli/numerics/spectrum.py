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


def hann(h: int, w: int, like: Tensor) -> Tensor:
    """[h, w], the Hann window of both directions with mean square 1: it keeps borders out of the spectrum."""
    rows, columns = (torch.hann_window(n, dtype=torch.float64, device=like.device) for n in (h, w))
    window = rows[:, None] * columns
    return (window / window.square().mean().sqrt()).to(like.dtype)


def power(images: Tensor) -> Tensor:
    """[..., h, w] → [..., h, w // 2 + 1]: mean-free, windowed power spectrum, rows from −h/2 to h/2 − 1.

    White noise of variance σ² has power σ² everywhere but at and next to frequency zero, where the mean was.
    """
    h, w = images.shape[-2:]
    centred = images - images.mean((-2, -1), keepdim=True)
    spectrum = torch.fft.rfft2(centred * hann(h, w, images), norm="ortho")
    return torch.fft.fftshift(spectrum.abs().square(), -2)


def azimuthal(spectra: Tensor) -> Tensor:
    """[..., n, n // 2 + 1] of square images → [..., n // 2 + 1]: the mean over all directions at every radius."""
    n, half = spectra.shape[-2:]
    rows = torch.arange(n, device=spectra.device) - n // 2
    radius = (rows[:, None].square() + torch.arange(half, device=spectra.device).square()).sqrt().round().long()
    inside = radius < half
    weights = torch.full((half,), 2.0, device=spectra.device, dtype=spectra.dtype)
    weights[0] = 1.0  # columns that stand for themselves; the others also for their mirror image
    if n % 2 == 0:
        weights[-1] = 1.0
    flat = (spectra * weights)[..., inside]
    sums = spectra.new_zeros(*spectra.shape[:-2], half).index_add_(-1, radius[inside], flat)
    counts = spectra.new_zeros(half).index_add_(0, radius[inside], weights.expand(n, half)[inside])
    return sums / counts
