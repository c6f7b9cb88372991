"""What a generator leaves in the residual's spectrum: as pictures for a network, and as numbers by themselves.

Differs from arXiv 2307.15977, whose network reads magnitudes alone: the spectrum is windowed and logarithmic, of one
half-plane, since the other mirrors it, and the phase between colour channels is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morelli.numerics.spectrum import azimuthal, hann

CHANNELS = 5
FLOOR = 1e-3  # squared grey levels: what rounding to 8 bits leaves everywhere is 1/12
CELL = 4  # frequencies a side of what is averaged
STATISTICS = 597  # of windows of 64 pixels


def seen(residuals: Tensor) -> Tensor:
    """Residuals [n, 3, h, w] in grey levels → [n, 5, h, w // 2 + 1]: log power, cosine of phase between channels.

    Red against green and green against blue; rows of frequencies from −h/2 to h/2 − 1.
    """
    centred = residuals - residuals.mean((-2, -1), keepdim=True)
    window = hann(residuals.shape[-2], residuals.shape[-1], residuals)
    spectrum = torch.fft.fftshift(torch.fft.rfft2(centred * window, norm="ortho"), -2)
    logarithm = (spectrum.abs().square() + FLOOR).log()
    cross = spectrum[:, :-1] * spectrum[:, 1:].conj()
    return torch.cat([logarithm, cross.real / (cross.abs() + FLOOR)], 1)


def statistics(pictures: Tensor) -> Tensor:
    """What `seen` gives of 64×64 windows, [n, 5, 64, 33] → [n, 597].

    Of each colour's log power the means of 4×4 frequencies, those of the highest column apart, and the means over all
    directions at every radius; the latter of the phases, too.
    """
    power = pictures[:, :3]
    n, colours, rows, columns = power.shape
    inner = power[..., : columns - 1].reshape(n, colours, rows // CELL, CELL, (columns - 1) // CELL, CELL)
    highest = power[..., columns - 1].reshape(n, colours, rows // CELL, CELL)
    parts = (inner.mean((3, 5)), highest.mean(3), azimuthal(pictures))
    return torch.cat([part.flatten(1) for part in parts], 1)
