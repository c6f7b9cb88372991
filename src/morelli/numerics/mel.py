"""Log-mel spectrograms: what a vocoder reads."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-5
WINDOW, HOP = 1024, 256
MARGIN = (WINDOW - HOP) // 2  # samples on both sides that frames see beyond their own


def mel_bands(bands: int, rate: int, window: int = WINDOW) -> Tensor:
    """[bands, window // 2 + 1]: triangles of equal area, evenly over 2595·log₁₀(1 + f/700) up to half the rate."""
    top = 2595 * torch.log10(torch.tensor(1 + rate / 1400, dtype=torch.float64))
    edges = 700 * (10 ** (torch.linspace(0, 1, bands + 2, dtype=torch.float64) * top / 2595) - 1)
    bins = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)
    left, middle, right = (edges[i : i + bands, None] for i in range(3))
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return (torch.minimum(rising, falling).clamp_min(0) * 2 / (right - left)).float()


def magnitudes(waves: Tensor, window: int = WINDOW, hop: int = HOP) -> Tensor:
    """[n, samples] → [n, window // 2 + 1, frames], Hann windows, no padding."""
    shape = torch.hann_window(window, device=waves.device)
    spectrum = torch.stft(waves, window, hop, window=shape, center=False, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()


def log_mel(waves: Tensor, bands: Tensor) -> Tensor:
    """[n, frames · 256 + 768] → [n, mels, frames]: natural logarithms of magnitudes of at least 1e-5.

    A frame stands for 256 samples and sees 384 more on both sides, which the caller gives.
    """
    return (bands @ magnitudes(waves)).clamp_min(FLOOR).log()
