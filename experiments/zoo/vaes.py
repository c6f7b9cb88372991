"""Variational autoencoders: one encoder of convolutions or patches, three decoders."""

import torch
from blocks import as_signal, conv, norm
from torch import Tensor, nn

LATENT = 32
SIDE, PATCH = 64, 8
TOKENS = (SIDE // PATCH) ** 2


class Vae(nn.Module):
    """z ~ N(0, 1) → image. The noise of the likelihood is the one that fits best (σ-VAE, arXiv 2006.13202).

    Attributes:
        latent, temperature: what `decode` wants: normal numbers of that shape, times that.
    """

    latent, temperature = (LATENT,), 1.0

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def loss(self, images: Tensor) -> Tensor:
        mean, spread = self.encoder(as_signal(images)).float().chunk(2, 1)
        spread = spread.clamp(-10, 10)
        seen = self.decoder(mean + (spread / 2).exp() * torch.randn_like(mean)).float()
        pixels = images[0].numel()
        likelihood = pixels / 2 * (seen - images).square().mean().log()
        divergence = (mean.square() + spread.exp() - spread - 1).sum(1).mean() / 2
        return (likelihood + divergence) / pixels

    def decode(self, latent: Tensor) -> Tensor:
        return self.decoder(latent)


def convolutions() -> nn.Module:
    """Encoder: stride 2 down to 4×4."""
    layers: list[nn.Module] = []
    for before, after in zip((3, 32, 48, 64), (32, 48, 64, 96), strict=True):
        layers += [nn.Conv2d(before, after, 4, 2, 1), norm(after), nn.SiLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 4 * 4, 2 * LATENT))


def bilinear() -> Vae:
    """Bilinear upsampling, convolution, GroupNorm, SiLU, four times; the last convolution is linear."""
    layers: list[nn.Module] = [nn.Linear(LATENT, 128 * 4 * 4), nn.Unflatten(1, (128, 4, 4))]
    for before, after in zip((128, 96, 64, 48), (96, 64, 48, 24), strict=True):
        layers += [nn.Upsample(scale_factor=2, mode="bilinear"), conv(before, after), norm(after), nn.SiLU()]
    return Vae(convolutions(), nn.Sequential(*layers, conv(24, 3)))


def shuffle() -> Vae:
    """Convolution, pixel-shuffle, LeakyReLU, three times; the last pixel-shuffle ends in a sigmoid."""
    layers: list[nn.Module] = [nn.Linear(LATENT, 128 * 4 * 4), nn.Unflatten(1, (128, 4, 4)), nn.LeakyReLU(0.2)]
    for before, after in zip((128, 80, 56), (80, 56, 40), strict=True):
        layers += [conv(before, 4 * after), nn.PixelShuffle(2), nn.LeakyReLU(0.2)]
    layers += [conv(40, 40), nn.LeakyReLU(0.2), conv(40, 4 * 3), nn.PixelShuffle(2), nn.Sigmoid()]
    return Vae(convolutions(), nn.Sequential(*layers))


class Patches(nn.Module):
    """[n, 3, 64, 64] ↔ [n, 64, 192], row by row."""

    def __init__(self, *, back: bool = False) -> None:
        super().__init__()
        self.back = back

    def forward(self, x: Tensor) -> Tensor:
        count = SIDE // PATCH
        if self.back:
            return x.reshape(-1, count, count, 3, PATCH, PATCH).permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, SIDE, SIDE)
        return x.reshape(-1, 3, count, PATCH, count, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(-1, TOKENS, 3 * PATCH**2)


def transformer(width: int = 128, depth: int = 4, heads: int = 4) -> Vae:
    """Patches in, patches out: the decoder ends in a linear layer from each token to its 8×8×3 values."""

    def blocks() -> list[nn.Module]:
        kind = {"dim_feedforward": 2 * width, "dropout": 0.0, "activation": "gelu"}
        return [
            nn.TransformerEncoderLayer(width, heads, batch_first=True, norm_first=True, **kind) for _ in range(depth)
        ]

    flat = TOKENS * width
    places = Places(width)
    encoder = [Patches(), nn.Linear(3 * PATCH**2, width), places, *blocks(), nn.LayerNorm(width)]
    encoder += [nn.Linear(width, 16), nn.Flatten(), nn.Linear(TOKENS * 16, 2 * LATENT)]
    decoder = [nn.Linear(LATENT, flat), nn.Unflatten(1, (TOKENS, width)), *blocks(), nn.LayerNorm(width)]
    decoder += [nn.Linear(width, 3 * PATCH**2), Patches(back=True)]
    return Vae(nn.Sequential(*encoder), nn.Sequential(*decoder))


class Places(nn.Module):
    """Tells tokens where they are. (A decoder's first linear layer has a bias for each place.)"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Parameter(0.02 * torch.randn(TOKENS, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.value
