"""A normalising flow: invertible 1×1 convolutions and affine couplings on four scales (Glow, arXiv 1807.03039)."""

import math

import torch
from blocks import conv
from torch import Tensor, nn
from torch.nn import functional as F

SCALES = ((4, 48), (6, 64), (6, 96), (6, 128))  # steps and width of the couplings, from 32×32 down to 4×4
LIMIT = 1.5  # of a coupling's log scale
GAIN = 4.0  # pixels have a spread of about a quarter


class Step(nn.Module):
    """Channels mixed and shifted, then one half scaled and shifted as the other half says."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.linalg.qr(torch.randn(channels, channels))[0])
        self.shift = nn.Parameter(torch.zeros(channels))
        half = channels // 2
        self.network = nn.Sequential(
            conv(half, width), nn.SiLU(), nn.Conv2d(width, width, 1), nn.SiLU(), conv(width, 2 * half, zero=True)
        )

    def _told(self, half: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.network(half).float().chunk(2, 1)
        return LIMIT * (scale / LIMIT).tanh(), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what comes out, and the log volume of each sample, [n]."""
        with torch.autocast("cpu", enabled=False):
            x = F.conv2d(x, self.mix[:, :, None, None], self.shift)
            volume = torch.linalg.slogdet(self.mix)[1] * x[0, 0].numel()
        told, other = x.chunk(2, 1)
        scale, shift = self._told(told)
        return torch.cat([told, other * scale.exp() + shift], 1), volume + scale.sum((1, 2, 3))

    def back(self, y: Tensor) -> Tensor:
        told, other = y.chunk(2, 1)
        scale, shift = self._told(told)
        x = torch.cat([told, (other - shift) * (-scale).exp()], 1) - self.shift[:, None, None]
        return F.conv2d(x, torch.linalg.inv(self.mix.double()).float()[:, :, None, None])


class Scale(nn.Module):
    """Squeeze, steps; one half leaves as normal numbers, whose mean and spread the half that stays tells.

    On the last scale everything leaves, with means and spreads of their own for each place.
    """

    def __init__(self, channels: int, steps: int, width: int, last: int | None) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Step(4 * channels, width) for _ in range(steps))
        self.prior = None if last else conv(2 * channels, 4 * channels, zero=True)
        self.own = nn.Parameter(torch.zeros(8 * channels, last, last)) if last else None

    def _moments(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        told = self.prior(stays).float() if self.own is None else self.own.expand(len(stays), -1, -1, -1)
        return told.chunk(2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what stays and the log-likelihood of what leaves, volumes with it."""
        x, volume = F.pixel_unshuffle(x, 2), torch.zeros(len(x))
        for step in self.steps:
            x, more = step(x)
            volume = volume + more
        stays, leaves = x.chunk(2, 1) if self.own is None else (x[:, :0], x)
        mean, log_spread = self._moments(stays)
        normal = (leaves - mean) * (-log_spread).exp()
        chance = -(normal.square() / 2 + log_spread + math.log(2 * math.pi) / 2)
        return stays, volume + chance.sum((1, 2, 3))

    def back(self, stays: Tensor, normal: Tensor) -> Tensor:
        mean, log_spread = self._moments(stays)
        x = torch.cat([stays, mean + normal * log_spread.exp()], 1)
        for step in reversed(self.steps):
            x = step.back(x)
        return F.pixel_shuffle(x, 2)


class Flow(nn.Module):
    """Normal numbers, as many as an image has values → image.

    Attributes:
        latent, temperature: what `decode` wants: normal numbers of that shape, times that.
    """

    latent, temperature = (3 * 64 * 64,), 0.7

    def __init__(self) -> None:
        super().__init__()
        scales, channels, side = [], 3, 64
        for i, (steps, width) in enumerate(SCALES):
            side //= 2
            scales.append(Scale(channels, steps, width, side if i == len(SCALES) - 1 else None))
            channels *= 2
        self.scales = nn.ModuleList(scales)

    def loss(self, images: Tensor) -> Tensor:
        """Nats for each value, of photographs whose steps of 1/256 are filled with noise."""
        x = GAIN * ((images * 255 + torch.rand_like(images)) / 256 - 0.5)
        likelihood = torch.zeros(len(x))
        for scale in self.scales:
            x, more = scale(x)
            likelihood = likelihood + more
        return math.log(256 / GAIN) - likelihood.mean() / images[0].numel()

    def decode(self, latent: Tensor) -> Tensor:
        n, shapes, channels, side = len(latent), [], 6, 32
        for i in range(len(SCALES)):
            shapes.append((channels if i < len(SCALES) - 1 else 2 * channels, side, side))
            channels, side = 2 * channels, side // 2
        parts = latent.split([math.prod(shape) for shape in shapes], 1)
        x = torch.empty(n, 0, *shapes[-1][1:])
        for scale, part, shape in zip(reversed(self.scales), reversed(parts), reversed(shapes), strict=True):
            x = scale.back(x, part.reshape(n, *shape))
        return (x / GAIN + 0.5) * 256 / 255 - 0.5 / 255
