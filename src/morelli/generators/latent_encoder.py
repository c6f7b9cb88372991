"""A latent encoder: from images to about the latents that a generator made them from, learned from it alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from morelli.generators.capture import capture
from morelli.numerics.program import Program

STEPS, BATCH = 600, 64
DRAWN = 8_192  # images that are made to learn from
SIDE = 64  # pixels to which the shorter side of larger ones is averaged, about
WIDTH, WIDEST = 32, 256  # channels of the first layer, and at most
SMALLEST = 4  # pixels a side, to which images are halved at most
HIDDEN = 512
RATE, FINAL = 1e-3, 0.01  # Adam's, and the share of it that is left at the end
LEVELS = 255
NOISE = 0.1 * LEVELS  # the strongest that half of the images go through: as much as people test with


def fit_encoder(
    generator: Program,
    low: float,
    high: float,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
    mapping: Program | None = None,
) -> Program:
    """Learns from images [c, h, w] in [low, high] that latents drawn from N(0, I) give, rounded to 8 bits.

    Args:
        generator: [n, *latent] → [n, c, h, w].
        mapping: what is drawn → [n, *latent], as of a StyleGAN; otherwise the latents themselves are drawn.
        progress: told 1 after each part of the `work`.
    Returns:
        [n, c, h, w] → [n, k], latents in one row each: strided convolutions, batch norms and two dense layers.

    Source: ours. Regression of the latent on the image is as old as Perarnau et al., "Invertible Conditional GANs"
    (2016); here it only starts a search.
    """
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        latents, images = _drawn(generator.to(device), mapping, low, high, device, progress)
        scale = _Scale(latents, mapping is not None)
        network = _network(tuple(images.shape[1:]), latents.shape[1]).to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.enable_grad():
            _learn(network, scale.unit(latents), images, (low, high), progress)
    shape = tuple(generator.results(1)[-1].shape[1:])
    return capture(nn.Sequential(_averaging(shape), network, scale).eval().cpu(), shape)


class _Scale(nn.Module):
    """From values without mean and of unit spread to latents [n, k], and back; of drawn ones there is nothing to do."""

    mean: Tensor
    spread: Tensor

    def __init__(self, latents: Tensor, mapped: bool) -> None:
        super().__init__()
        self.register_buffer("mean", latents.mean(0) if mapped else torch.zeros(latents.shape[1]))
        self.register_buffer("spread", latents.std(0).clamp_min(1e-6) if mapped else torch.ones(latents.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.spread + self.mean

    def unit(self, latents: Tensor) -> Tensor:
        return (latents - self.mean) / self.spread


def _averaging(shape: tuple[int, ...]) -> nn.Module:
    by = max(1, round(min(shape[1:]) / SIDE))
    return nn.AvgPool2d(by) if by > 1 else nn.Identity()


def work() -> int:
    """Batches that are made, and steps."""
    return -(-DRAWN // BATCH) + STEPS


def _drawn(
    generator: Program,
    mapping: Program | None,
    low: float,
    high: float,
    device: str | torch.device,
    progress: Callable[[int], None] | None,
) -> tuple[Tensor, Tensor]:
    """Latents [n, k], and the images [n, c, h, w] of 8 bits that they give, averaged where they are large."""

    def made(latents: Tensor) -> Tensor:
        images = generator(latents.to(device).reshape(-1, *generator.in_shape))
        if progress:
            progress(1)
        shares = (_averaging(tuple(images.shape[1:]))(images) - low) / (high - low)
        return (shares.clamp(0, 1) * LEVELS).round().to(torch.uint8)

    with torch.no_grad():
        if mapping is None:
            latents = torch.randn(DRAWN, math.prod(generator.in_shape))
        else:
            latents = mapping(torch.randn(DRAWN, *mapping.in_shape)).flatten(1)
        return latents, torch.cat([made(some) for some in latents.split(BATCH)])


def _learn(
    network: nn.Module,
    latents: Tensor,
    images: Tensor,
    within: tuple[float, float],
    progress: Callable[[int], None] | None,
) -> None:
    low, high = within
    search = torch.optim.Adam(network.parameters(), RATE)
    falling = torch.optim.lr_scheduler.LambdaLR(search, lambda i: min(1.0, 2 * (1 - i / STEPS) + FINAL))
    for _ in range(STEPS):
        some = torch.randint(len(latents), (BATCH,))
        strength = NOISE * torch.rand(BATCH, 1, 1, 1) * (torch.rand(BATCH, 1, 1, 1) < 0.5)
        noise = strength * torch.randn(BATCH, *images.shape[1:])
        shown = low + (high - low) / LEVELS * (images[some.to(images.device)] + noise.to(images.device))
        loss = mse_loss(network(shown.contiguous(memory_format=torch.channels_last)), latents[some].to(shown.device))
        search.zero_grad()
        loss.backward()
        search.step()
        falling.step()
        if progress:
            progress(1)


def _network(shape: tuple[int, ...], k: int) -> nn.Sequential:
    """[n, *shape] in whatever range → [n, k]."""
    channels, height, width = shape
    layers: list[nn.Module] = [nn.BatchNorm2d(channels)]
    wide = WIDTH
    while min(height, width) > SMALLEST:
        layers += [nn.Conv2d(channels, wide, 4, 2, 1), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
        channels, wide = wide, min(2 * wide, WIDEST)
        height, width = height // 2, width // 2
    layers += [nn.Flatten(), nn.Linear(channels * height * width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, k)]
    return nn.Sequential(*layers)
