"""A diffusion model in pixel space: a small U-Net that tells v (arXiv 2202.00512), sampled with DDIM."""

import math
from itertools import pairwise

import torch
from blocks import Attention, Residual, as_image, as_signal, conv, nearest, norm, stratified
from torch import Tensor, nn

WIDTHS = (16, 32, 48, 64)  # at 64×64, 32×32, 16×16, 8×8
TOLD = 64
STEPS = 25


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, TOLD), nn.SiLU(), nn.Linear(TOLD, TOLD), nn.SiLU())
        self.into = conv(3, WIDTHS[0])
        pairs = list(pairwise(WIDTHS))
        self.halved = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs)
        self.down = nn.ModuleList(Residual(b, b, TOLD) for _, b in pairs)
        self.attention, self.middle = Attention(WIDTHS[-1]), Residual(WIDTHS[-1], WIDTHS[-1], TOLD)
        self.doubled = nn.ModuleList(nearest(b, a) for a, b in reversed(pairs))
        self.up = nn.ModuleList(Residual(2 * a, a, TOLD) for a, _ in reversed(pairs))
        self.out = nn.Sequential(norm(WIDTHS[0]), nn.SiLU(), conv(WIDTHS[0], 3, zero=True))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angles = t[:, None] * torch.logspace(0, 2, 16) * math.pi
        told = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        x = self.into(x)
        kept = []
        for halve, block in zip(self.halved, self.down, strict=True):
            kept.append(x)
            x = block(halve(x), told)
        x = self.middle(self.attention(x), told)
        for double, block in zip(self.doubled, self.up, strict=True):
            x = block(torch.cat([double(x), kept.pop()], 1), told)
        return self.out(x)


class Diffusion(nn.Module):
    """Noise of the image's size → image.

    Attributes:
        latent, temperature: what `decode` wants: normal numbers of that shape, times that.
    """

    latent, temperature = (3, 64, 64), 1.0

    def __init__(self) -> None:
        super().__init__()
        self.network = UNet()

    def loss(self, images: Tensor) -> Tensor:
        t = stratified(len(images))
        signal, noise = mixture(t)
        clean, normal = as_signal(images), torch.randn_like(images)
        seen = self.network(signal * clean + noise * normal, t).float()
        return (seen - (signal * normal - noise * clean)).square().mean()

    def decode(self, latent: Tensor) -> Tensor:
        """DDIM without new noise, in steps of equal length; what is thought clean is clamped, as usual."""
        times = torch.linspace(0.999, 0, STEPS + 1)
        x = latent
        for now, then in pairwise(times):
            t = now.expand(len(x))
            signal, noise = mixture(t)
            v = self.network(x, t)
            clean = (signal * x - noise * v).clamp(-1, 1)
            normal = (x - signal * clean) / noise
            signal, noise = mixture(then.expand(len(x)))
            x = signal * clean + noise * normal
        return as_image(x)


def mixture(t: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of signal and noise at a time from 0 to 1 (cosine schedule), [n, 1, 1, 1]."""
    angle = (t * math.pi / 2)[:, None, None, None]
    return angle.cos(), angle.sin()
