"""Noise residual: what a denoiser takes out of an image, where a model leaves a fixed pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor

from morelli.errors import MismatchError
from morelli.features.protocol import Facts, Features, Progress, SampleSpec
from morelli.numerics.state import State

Values = NDArray[np.float64]

GREY = {1: (1.0,), 3: (0.299, 0.587, 0.114)}  # channels → their weights
WAVELET, LEVELS = "db4", 4
SMALLEST = 8  # pixels of a side: the length of the wavelet
NOISE = 25.0  # variance of the noise in squared grey levels: σ = 5
WINDOWS = (3, 5, 7, 9)
ROUNDING = 1e-18  # squared grey levels; a residual of less variance is rounding
BATCH = 64 * 3 * 64 * 64  # values that are worked on at a time


@dataclass(frozen=True)
class NoiseResidual:
    """The grey noise residual of an image whose `low` and `high` stand for 0 and 255.

    Per channel, the detail bands of db4 wavelets are kept as far as a local Wiener filter calls them noise. The grey
    mean of the channels loses the row and column means of its four stride-2 sub-lattices, and then the peaks of its
    spectrum, by the same filter. Four levels, fewer below 112 pixels (three at 64×64), but one at least.

    Source: Marra et al. 2019, "Do GANs leave artificial fingerprints?", SM-F in arXiv 2306.06210. How windows go on
    beyond a border is our choice: mirrored in the wavelet bands, round the torus in the spectrum.
    """

    spec: SampleSpec

    def __post_init__(self) -> None:
        if not self.spec.is_image or self.spec.shape[0] not in GREY:
            raise MismatchError(f"a noise residual needs images of one or three channels; these are {self.spec.shape}.")
        if min(self.spec.shape[1:]) < SMALLEST:
            raise MismatchError(
                f"a noise residual needs images of at least {SMALLEST}×{SMALLEST}; these are {self.spec.shape}."
            )

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, c, h, w] → [n, h, w] in grey levels. Raises MismatchError for another shape."""
        self.spec.check(samples)
        values = samples.new_empty(len(samples), *self.spec.shape[1:])
        size = max(1, BATCH // math.prod(self.spec.shape))
        for start in range(0, len(samples), size):
            some = slice(start, start + size)
            levels = (samples[some].double().cpu() - self.spec.low) * (255 / (self.spec.high - self.spec.low))
            values[some] = torch.from_numpy(residual(levels.numpy())).to(values)
            if progress:
                progress(len(levels))
        return Features(values, {"saturated": torch.zeros(len(values))}, ("",) * len(values))

    def state(self) -> State:
        return State({"type": "residual", "spec": self.spec.settings()})

    @staticmethod
    def from_state(state: State) -> NoiseResidual:
        return NoiseResidual(SampleSpec.from_settings(state.settings["spec"]))


def residual(images: Values) -> Values:
    """[n, c, h, w] in 0..255 → [n, h, w]."""
    depth = pywt.dwt_max_level(min(images.shape[2:]), WAVELET)
    weights = np.array(GREY[images.shape[1]])[:, None, None]
    noise = wavelet_noise(images, max(1, min(LEVELS, depth)))
    return spectrum_noise(zero_mean((noise * weights).sum(1)))


def wavelet_noise(images: Values, levels: int) -> Values:
    """[..., h, w] → the same shape: the noise in every detail band, without the approximation."""
    approximation, details = pywt.dwt2(images, WAVELET, "symmetric")
    kept = tuple(band * _noise_share(band, NOISE, "reflect") for band in details)
    below = wavelet_noise(approximation, levels - 1) if levels > 1 else np.zeros_like(approximation)
    whole: Values = pywt.idwt2((below, kept), WAVELET, "symmetric")
    return whole[..., : images.shape[-2], : images.shape[-1]]


def zero_mean(images: Values) -> Values:
    """[n, h, w] → the same shape; rows and columns of each stride-2 sub-lattice have mean 0, and so has the whole."""
    result = images.copy()
    for top, left in ((0, 0), (0, 1), (1, 0), (1, 1)):
        part = result[:, top::2, left::2]
        part -= part.mean(2, keepdims=True)
        part -= part.mean(1, keepdims=True)
    return result


def spectrum_noise(images: Values) -> Values:
    """[n, h, w] with mean 0 → the same shape, without the peaks of its spectrum; zero where there is only rounding."""
    variance = np.square(images).mean((1, 2), keepdims=True)
    spectrum = np.fft.fft2(images)
    share = _noise_share(np.abs(spectrum) / math.sqrt(images[0].size), np.maximum(variance, ROUNDING), "wrap")
    return np.where(variance <= ROUNDING, 0.0, np.fft.ifft2(spectrum * share).real)


def _noise_share(values: Values, noise: Any, border: str) -> Values:
    """σ²/(v + σ²), where v is what the local energy exceeds `noise` = σ² by, in the window where it is least."""
    energy, axes = np.square(values), values.ndim - 2
    least = np.min([uniform_filter(energy, (1,) * axes + (k, k), mode=border) for k in WINDOWS], axis=0)
    return noise / (np.maximum(least - noise, 0) + noise)
