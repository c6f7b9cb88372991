"""A compact StyleGAN2: mapping network, modulated convolutions, noise inputs, toRGB skips; and a residual critic.

Source: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020 (arXiv 1912.04958). Differs, so
that two CPU cores can train it: `width` is 16 or so; three mapping layers; bilinear up-sampling and then a 3×3
convolution where the original blurs after a transposed one (both have the filter [1, 3, 3, 1]); modulation and
demodulation scale the activation on both sides of a shared weight, which is the same product; no path-length
regularisation, no style mixing, no truncation. Losses and the moving average are in `gan_training.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, leaky_relu, linear

STYLE = 64  # values of w
WIDEST = 64
SQRT2 = math.sqrt(2)


class ScaledLinear(nn.Linear):
    """Weights are stored at unit scale and divided by √inputs when used ("equalised learning rate")."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight / math.sqrt(self.in_features), self.bias)


class ScaledConv(nn.Conv2d):
    """The same for convolutions; 1×1 and 3×3, stride 1."""

    @property
    def scaled(self) -> Tensor:
        return self.weight / math.sqrt(self.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.scaled, self.bias, padding=self.padding)


class Modulated(nn.Module):
    """conv(s ⊙ x) · d: s from the style; d so that outputs of unit inputs have unit variance, or 1 for toRGB."""

    def __init__(self, before: int, after: int, kernel: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.style = ScaledLinear(STYLE, before)
        self.conv = ScaledConv(before, after, kernel, padding=kernel // 2, bias=not demodulate)
        self.demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = 1 + self.style(style)
        y = self.conv(x * scale[:, :, None, None])
        if not self.demodulate:
            return y
        power = self.conv.scaled.square().sum((2, 3)) @ scale.float().square().T
        return y * (power + 1e-8).rsqrt().T[:, :, None, None].to(y)


class StyledConv(nn.Module):
    """A modulated 3×3 convolution, noise of a learnt strength, a bias, leaky ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = Modulated(before, after, 3)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(after, 1, 1))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y = self.conv(x, style)
        noise = torch.randn(y.shape[0], 1, *y.shape[2:]).to(y)
        return leaky_relu(y + self.strength * noise + self.bias, 0.2) * SQRT2


def upsample(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class StyleGenerator(nn.Module):
    """Latents [n, d, 1, 1] → samples [n, channels, size, size]; in evaluation mode clamped to [−1, 1].

    `width` channels at full size, twice as many at each half of it, up to 64. Noise is drawn from torch's global state.
    """

    def __init__(self, width: int, channels: int, size: int, latent: int) -> None:
        super().__init__()
        widths = [min(WIDEST, width * 2**k) for k in reversed(range(size.bit_length() - 2))]
        inputs = [latent, STYLE, STYLE]
        self.mapping = nn.ModuleList(ScaledLinear(n, STYLE) for n in inputs)
        self.start = nn.Parameter(torch.ones(1, widths[0], 4, 4))
        pairs = list(zip([widths[0], *widths], widths, strict=False))
        self.first = nn.ModuleList(StyledConv(before, after) for before, after in pairs)
        self.second = nn.ModuleList(StyledConv(after, after) for after in widths[1:])
        self.to_rgb = nn.ModuleList(Modulated(after, channels, 1, demodulate=False) for after in widths)

    def forward(self, latents: Tensor) -> Tensor:
        style = latents.flatten(1)
        style = style * (style.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.mapping:
            style = leaky_relu(layer(style), 0.2) * SQRT2
        x = self.first[0](self.start.expand(style.shape[0], -1, -1, -1), style)
        image = self.to_rgb[0](x, style)
        for first, second, to_rgb in zip(self.first[1:], self.second, self.to_rgb[1:], strict=True):
            x = second(first(upsample(x), style), style)
            image = upsample(image) + to_rgb(x, style)
        return image if self.training else image.clamp(-1, 1)


class ResidualBlock(nn.Module):
    """Two convolutions 3×3, a half-size average, and a 1×1 shortcut; their sum divided by √2."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = ScaledConv(before, before, 3, padding=1)
        self.second = ScaledConv(before, after, 3, padding=1)
        self.skip = ScaledConv(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = leaky_relu(self.first(x), 0.2) * SQRT2
        y = leaky_relu(self.second(avg_pool2d(y, 2)), 0.2) * SQRT2
        return (y + self.skip(avg_pool2d(x, 2))) / SQRT2


class ResidualCritic(nn.Module):
    """Images [n, channels, size, size] → logits [n]. The spread within a batch is one more channel at the end."""

    def __init__(self, width: int, channels: int, size: int) -> None:
        super().__init__()
        widths = [min(WIDEST, width * 2**k) for k in range(size.bit_length() - 2)]
        self.from_rgb = ScaledConv(channels, width, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(a, b) for a, b in zip(widths, widths[1:], strict=False)))
        self.last = ScaledConv(widths[-1] + 1, widths[-1], 3, padding=1)
        self.dense = ScaledLinear(widths[-1] * 16, widths[-1])
        self.out = ScaledLinear(widths[-1], 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(leaky_relu(self.from_rgb(images), 0.2) * SQRT2)
        spread = (x.float().var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(x), 1, *x.shape[2:])
        x = leaky_relu(self.last(torch.cat([x, spread.to(x)], 1)), 0.2) * SQRT2
        return self.out(leaky_relu(self.dense(x.flatten(1)), 0.2) * SQRT2)[:, 0]
