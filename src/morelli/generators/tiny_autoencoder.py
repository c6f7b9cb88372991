"""TAESD: the tiny autoencoders for the latents of diffusion models, built as their weights are named."""

from __future__ import annotations

from torch import Tensor, nn

SIDE = 8  # pixels to one latent, with four levels


class Clamp(nn.Module):
    """Latents, softly within ±3."""

    def forward(self, x: Tensor) -> Tensor:
        return (x / 3).tanh() * 3


class Block(nn.Module):
    """Three convolutions beside the identity, then ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [layer for _ in range(3) for layer in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())]
        self.conv = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.conv(x) + x
        return mixed.relu()


def tiny_encoder(latents: int = 4, width: int = 64, blocks: tuple[int, ...] = (1, 3, 3, 3)) -> nn.Sequential:
    """Images [n, 3, h, w] in [0, 1] → latents [n, latents, h/8, w/8], halved before every level but the first."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
    for level, count in enumerate(blocks):
        if level:
            layers.append(nn.Conv2d(width, width, 3, 2, 1, bias=False))
        layers += [Block(width) for _ in range(count)]
    return nn.Sequential(*layers, nn.Conv2d(width, latents, 3, padding=1))


def tiny_decoder(latents: int = 4, width: int = 64, blocks: tuple[int, ...] = (3, 3, 3, 1)) -> nn.Sequential:
    """Latents → images, to be clamped to [0, 1].

    Source: madebyollin/taesd (MIT), whose keys are the positions in this sequence; those of diffusers'
    `AutoencoderTiny` are one less, as its clamp is none of the layers.
    """
    layers: list[nn.Module] = [Clamp(), nn.Conv2d(latents, width, 3, padding=1), nn.ReLU()]
    for level, count in enumerate(blocks):
        if level:
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]
        layers += [Block(width) for _ in range(count)]
    return nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))
