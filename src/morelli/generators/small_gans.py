"""The four small GANs of the paper for 64×64 images: DCGAN, WGAN-GP, LSGAN and EBGAN.

Source: arXiv 2306.06210, appendix G.2. `width` is the paper's 64 "base channels"; everything scales with it.
Training is in `gan_training.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LATENT = 100
SIZE = 64


@dataclass(frozen=True)
class Family:
    """One way to build and train a small GAN. Its losses stand under the same name in `gan_training.LOSSES`.

    Attributes:
        betas: of Adam, for both networks.
        critic_steps: updates of the critic for one of the generator.
        epochs: (CelebA, LSUN) in the paper, for whom wants the paper's length.
    """

    generator: Callable[[int, int], nn.Module]
    critic: Callable[[int, int], nn.Module]
    betas: tuple[float, float]
    critic_steps: int
    epochs: tuple[int, int]


def deconvolution_generator(width: int = 64, channels: int = 3) -> nn.Sequential:
    """ConvT 100→8w→4w→2w→w→3, kernel 4, batch norm and ReLU between, tanh after; no biases."""
    sizes = [LATENT, 8 * width, 4 * width, 2 * width, width]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())


def upsampling_generator(width: int = 64, channels: int = 3) -> nn.Sequential:
    """LSGAN's: linear 100→2w·8·8, three times nearest ×2, conv 3×3, batch norm (eps 0.8), ReLU; conv 3×3, tanh."""
    sizes = [2 * width, 2 * width, 2 * width, width]
    layers: list[nn.Module] = [
        nn.Flatten(),
        nn.Linear(LATENT, sizes[0] * 64),
        nn.Unflatten(1, (sizes[0], 8, 8)),
    ]
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(before, after, 3, 1, 1),
            nn.BatchNorm2d(after, eps=0.8),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Conv2d(width, channels, 3, 1, 1), nn.Tanh())


def _downward(widths: list[int], norm: type[nn.Module] | None) -> list[nn.Module]:
    """Conv 4×4 stride 2 blocks with leaky ReLU 0.2; the first has no normalisation."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
        layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=False))
        if i > 0 and norm is nn.BatchNorm2d:
            layers.append(nn.BatchNorm2d(after))
        elif i > 0 and norm is nn.GroupNorm:
            layers.append(nn.GroupNorm(1, after))  # one group is layer norm over channel, row and column
        layers.append(nn.LeakyReLU(0.2))
    return layers


def batch_norm_critic(width: int = 64, channels: int = 3) -> nn.Sequential:
    """DCGAN's discriminator. Returns logits [n]; the paper's sigmoid is inside the loss."""
    blocks = _downward([channels, width, 2 * width, 4 * width, 8 * width], nn.BatchNorm2d)
    return nn.Sequential(*blocks, nn.Conv2d(8 * width, 1, 4, bias=False), nn.Flatten(0))


def layer_norm_critic(width: int = 64, channels: int = 3) -> nn.Sequential:
    """WGAN-GP's critic: DCGAN's with layer norm, since the penalty is per sample. Returns [n]."""
    blocks = _downward([channels, width, 2 * width, 4 * width, 8 * width], nn.GroupNorm)
    return nn.Sequential(*blocks, nn.Conv2d(8 * width, 1, 4, bias=False), nn.Flatten(0))


def dropout_critic(width: int = 64, channels: int = 3) -> nn.Sequential:
    """LSGAN's: conv 3×3 stride 2 of w/4, w/2, w, 2w, 2w channels, leaky ReLU, dropout 0.25. Returns [n]."""
    sizes = [channels, width // 4, width // 2, width, 2 * width, 2 * width]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25)]
        if i > 0:
            layers.append(nn.BatchNorm2d(after, eps=0.8))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * width * 4, 1), nn.Flatten(0))


class AutoencoderCritic(nn.Module):
    """EBGAN's: 3→w→2w→4w by stride-2 convolutions and back; the energy is the reconstruction error."""

    def __init__(self, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        self.encode = nn.Sequential(*_downward([channels, width, 2 * width, 4 * width], nn.BatchNorm2d))
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """[n, c, 64, 64] → energy [n], code [n, 4w·8·8]."""
        code = self.encode(samples)
        error = (self.decode(code).float() - samples.float()).square().flatten(1).mean(1)
        return error, code.flatten(1)


FAMILIES = {
    "dcgan": Family(deconvolution_generator, batch_norm_critic, (0.5, 0.999), 1, (50, 10)),
    "wgan-gp": Family(deconvolution_generator, layer_norm_critic, (0.0, 0.9), 5, (200, 10)),
    "lsgan": Family(upsampling_generator, dropout_critic, (0.5, 0.999), 1, (100, 10)),
    "ebgan": Family(deconvolution_generator, AutoencoderCritic, (0.5, 0.999), 1, (100, 5)),
}


def build_generator(family: str, width: int = 64, channels: int = 3) -> nn.Module:
    """A fresh generator, latent [n, 100, 1, 1] → samples [n, channels, 64, 64] in [−1, 1]."""
    return FAMILIES[family].generator(width, channels)


def initialise(module: nn.Module, rng: torch.Generator) -> None:
    """Convolutions N(0, 0.02), batch-norm scales N(1, 0.02), offsets 0. Source: as above."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02, generator=rng)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02, generator=rng)
        if isinstance(getattr(layer, "bias", None), Tensor):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
