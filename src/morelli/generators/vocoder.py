"""Compact vocoders, log-mel spectrogram [n, mels, frames] → waveform [n, 1, frames · 256] in [−1, 1], and critics.

Sources: MelGAN (arXiv 1910.06711), HiFi-GAN (arXiv 2010.05646, its V2 with residual blocks of kind 2). Both upsample by
8·8·2·2 and end in a convolution of seven taps and tanh, as published. Differences: fewer channels, two critics
instead of three, and fewer periods. Training is in `vocoder_training.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from morelli.errors import MorelliError

RATES = (8, 8, 2, 2)
HOP = math.prod(RATES)
SLOPE = 0.2  # of MelGAN's leaky ReLU; HiFi-GAN's is 0.1
PERIODS = (2, 3, 5)
Score = tuple[Tensor, list[Tensor]]  # logits, and what the layers before saw


def _conv(before: int, after: int, kernel: int, dilation: int = 1, padding: int | None = None) -> nn.Module:
    same = dilation * (kernel - 1) // 2 if padding is None else padding
    return weight_norm(nn.Conv1d(before, after, kernel, padding=same, dilation=dilation))


def _up(before: int, after: int, rate: int) -> nn.Module:
    return weight_norm(nn.ConvTranspose1d(before, after, 2 * rate, rate, rate // 2))


class ResidualStack(nn.Module):
    """MelGAN's: reflected border, three taps apart by `dilation`, one tap, and a shortcut of one tap."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.ReflectionPad1d(dilation),
            _conv(width, width, 3, dilation, padding=0),
            nn.LeakyReLU(SLOPE),
            _conv(width, width, 1),
        )
        self.shortcut = _conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)


class FieldFusion(nn.Module):
    """HiFi-GAN's multi-receptive field fusion: the mean of residual blocks of several kernels."""

    def __init__(self, width: int, kernels: tuple[int, ...] = (3, 7, 11), dilations: tuple[int, ...] = (1, 3)) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleList(_conv(width, width, k, d) for d in dilations) for k in kernels)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for block in self.blocks:
            inner = x
            for layer in block:  # type: ignore[attr-defined]
                inner = inner + layer(nn.functional.leaky_relu(inner, 0.1))
            total = total + inner
        return total / len(self.blocks)


def melgan_generator(width: int = 16, mels: int = 80) -> nn.Sequential:
    """The paper's width is 32: 512 channels, halved at each of the four upsamplings."""
    layers: list[nn.Module] = [nn.ReflectionPad1d(3), _conv(mels, 16 * width, 7, padding=0)]
    for i, rate in enumerate(RATES):
        before, after = 16 * width // 2**i, 8 * width // 2**i
        layers += [nn.LeakyReLU(SLOPE), _up(before, after, rate)]
        layers += [ResidualStack(after, 3**j) for j in range(3)]
    return nn.Sequential(*layers, nn.LeakyReLU(SLOPE), nn.ReflectionPad1d(3), _conv(width, 1, 7, padding=0), nn.Tanh())


def hifigan_generator(width: int = 8, mels: int = 80) -> nn.Sequential:
    """V2's width is 8: 128 channels, halved at each of the four upsamplings."""
    layers: list[nn.Module] = [_conv(mels, 16 * width, 7)]
    for i, rate in enumerate(RATES):
        before, after = 16 * width // 2**i, 8 * width // 2**i
        layers += [nn.LeakyReLU(0.1), _up(before, after, rate), FieldFusion(after)]
    return nn.Sequential(*layers, nn.LeakyReLU(0.01), _conv(width, 1, 7), nn.Tanh())


class ScaleCritic(nn.Module):
    """MelGAN's, of the waveform as it is and halved: strided grouped convolutions."""

    def __init__(self, width: int = 8, scales: int = 2) -> None:
        super().__init__()
        self.scales = nn.ModuleList(self._one(width) for _ in range(scales))
        self.halve = nn.AvgPool1d(4, 2, 1, count_include_pad=False)

    @staticmethod
    def _one(width: int) -> nn.ModuleList:
        layers: list[nn.Module] = [weight_norm(nn.Conv1d(1, width, 15, padding=7))]
        for i in range(3):
            before, after = width * 4**i, width * 4 ** (i + 1)
            layers.append(weight_norm(nn.Conv1d(before, after, 41, 4, 20, groups=before // 4)))
        layers += [_conv(width * 64, width * 16, 5), _conv(width * 16, 1, 3)]
        return nn.ModuleList(layers)

    def forward(self, waves: Tensor) -> list[Score]:
        found = []
        for scale in self.scales:
            found.append(_through(scale, waves))
            waves = self.halve(waves)
        return found


class PeriodCritic(nn.Module):
    """HiFi-GAN's: the waveform folded at each period, columns judged by strided convolutions."""

    def __init__(self, width: int = 8, periods: tuple[int, ...] = PERIODS) -> None:
        super().__init__()
        self.periods = periods
        self.columns = nn.ModuleList(self._one(width) for _ in periods)

    @staticmethod
    def _one(width: int) -> nn.ModuleList:
        sizes = [1, width, width * 4, width * 16]
        layers: list[nn.Module] = [
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in zip(sizes, sizes[1:], strict=False)
        ]
        return nn.ModuleList([*layers, weight_norm(nn.Conv2d(sizes[-1], 1, (3, 1), 1, (1, 0)))])

    def forward(self, waves: Tensor) -> list[Score]:
        found = []
        for period, layers in zip(self.periods, self.columns, strict=True):
            rows = waves.shape[-1] // period
            folded = waves[..., : rows * period].reshape(len(waves), 1, rows, period)
            found.append(_through(layers, folded))
        return found


def _through(layers: nn.Module, x: Tensor) -> Score:
    *inner, last = layers.children()
    seen = []
    for layer in inner:
        x = nn.functional.leaky_relu(layer(x), SLOPE)
        seen.append(x)
    return last(x), seen


@dataclass(frozen=True)
class Vocoder:
    """One way to build a vocoder and what judges it in training."""

    generator: Callable[..., nn.Module]
    critic: Callable[[], nn.Module]
    width: int


VOCODERS = {
    "melgan": Vocoder(melgan_generator, ScaleCritic, 16),
    "hifigan": Vocoder(hifigan_generator, PeriodCritic, 8),
}


def build_vocoder(family: str, *, width: int | None = None, mels: int = 80) -> nn.Module:
    """A fresh vocoder. Raises MorelliError for an unknown family."""
    if family not in VOCODERS:
        raise MorelliError(f"there is no vocoder '{family}'; there are {', '.join(VOCODERS)}.")
    found = VOCODERS[family]
    return found.generator(width or found.width, mels)
