"""The small GANs of the paper for 64×64 and 128×128 images: DCGAN, WGAN-GP, LSGAN, EBGAN and a conditional DCGAN.

And a compact StyleGAN2 (`style_gan.py`), which the paper does not train.

Source: arXiv 2306.06210, appendix G.2. `width` is the paper's 64 "base channels"; everything scales with it. At 128×128
each network has one block more at its widest end, as the paper's DCGAN of mammograms has; it has no LSGAN and EBGAN of
that size. Training is in `gan_training.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from morelli.errors import MismatchError
from morelli.generators.labels import DrawnLabel
from morelli.generators.style_gan import ResidualCritic, ScaledConv, ScaledLinear, StyleGenerator

LATENT = 100
SIZES = (64, 128)


@dataclass(frozen=True)
class Family:
    """One way to build and train a small GAN. Its losses stand under the same name in `gan_training.LOSSES`.

    Attributes:
        generator, critic: built from width, channels and size; a conditional generator from the number of labels too.
        betas: of Adam, for both networks.
        critic_steps: updates of the critic for one of the generator.
        epochs: (CelebA, LSUN) in the paper, for whom wants the paper's length; None where it names none.
        conditional: images have labels. The generator's latent has one value more, which draws the label.
        learning_rate: of Adam, for both networks.
        average: the finished generator is a moving average over the steps, with this share of the old kept at each;
            None takes the last step's.
    """

    generator: Callable[..., nn.Module]
    critic: Callable[[int, int, int], nn.Module]
    betas: tuple[float, float]
    critic_steps: int
    epochs: tuple[int, int] | None
    conditional: bool = False
    learning_rate: float = 2e-4
    average: float | None = None


def _doubled(width: int, size: int) -> list[int]:
    """w, 2w, 4w, … for every halving of the image down to 4×4."""
    return [width * 2**i for i in range(size.bit_length() - 3)]


def deconvolution_generator(width: int = 64, channels: int = 3, size: int = 64, classes: int = 0) -> nn.Sequential:
    """ConvT 100→8w→4w→2w→w→3, kernel 4, batch norm and ReLU between, tanh after; no biases. At 128×128 from 16w on.

    With classes, a label's one-hot code is appended to the latent, so the first layer's weights are its embedding.
    """
    sizes = [LATENT + classes, *reversed(_doubled(width, size))]
    layers: list[nn.Module] = [DrawnLabel(classes)] if classes else []
    for i, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())


def upsampling_generator(width: int = 64, channels: int = 3, size: int = 64) -> nn.Sequential:
    """LSGAN's: linear 100→2w·8·8, three times nearest ×2, conv 3×3, batch norm (eps 0.8), ReLU; conv 3×3, tanh."""
    sizes = [2 * width] * (len(_doubled(width, size)) - 1) + [width]
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


def batch_norm_critic(width: int = 64, channels: int = 3, size: int = 64) -> nn.Sequential:
    """DCGAN's discriminator. Returns logits [n]; the paper's sigmoid is inside the loss."""
    return _convolution_critic(width, channels, size, nn.BatchNorm2d)


def layer_norm_critic(width: int = 64, channels: int = 3, size: int = 64) -> nn.Sequential:
    """WGAN-GP's critic: DCGAN's with layer norm, since the penalty is per sample. Returns [n]."""
    return _convolution_critic(width, channels, size, nn.GroupNorm)


def _convolution_critic(width: int, channels: int, size: int, norm: type[nn.Module]) -> nn.Sequential:
    widths = _doubled(width, size)
    last = nn.Conv2d(widths[-1], 1, 4, bias=False)
    return nn.Sequential(*_downward([channels, *widths], norm), last, nn.Flatten(0))


def dropout_critic(width: int = 64, channels: int = 3, size: int = 64) -> nn.Sequential:
    """LSGAN's: conv 3×3 stride 2 of w/4, w/2, w, 2w, 2w channels, leaky ReLU, dropout 0.25. Returns [n]."""
    sizes = [channels, width // 4, width // 2, width, *[2 * width] * (len(_doubled(width, size)) - 2)]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25)]
        if i > 0:
            layers.append(nn.BatchNorm2d(after, eps=0.8))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * width * 4, 1), nn.Flatten(0))


def style_generator(width: int = 16, channels: int = 3, size: int = 64) -> StyleGenerator:
    """See `style_gan`."""
    return StyleGenerator(width, channels, size, LATENT)


class AutoencoderCritic(nn.Module):
    """EBGAN's: 3→w→2w→4w by stride-2 convolutions and back; the energy is the reconstruction error."""

    def __init__(self, width: int = 64, channels: int = 3, size: int = 64) -> None:
        super().__init__()
        widths = _doubled(width, size)[:-1]
        self.encode = nn.Sequential(*_downward([channels, *widths], nn.BatchNorm2d))
        layers: list[nn.Module] = []
        for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.decode = nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1))

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """[n, c, h, w] → energy [n], code [n, …]: 4w·8·8 of 64×64 images."""
        code = self.encode(samples)
        error = (self.decode(code).float() - samples.float()).square().flatten(1).mean(1)
        return error, code.flatten(1)


FAMILIES = {
    "dcgan": Family(deconvolution_generator, batch_norm_critic, (0.5, 0.999), 1, (50, 10)),
    "wgan-gp": Family(deconvolution_generator, layer_norm_critic, (0.0, 0.9), 5, (200, 10)),
    "lsgan": Family(upsampling_generator, dropout_critic, (0.5, 0.999), 1, (100, 10)),
    "ebgan": Family(deconvolution_generator, AutoencoderCritic, (0.5, 0.999), 1, (100, 5)),
    "c-dcgan": Family(deconvolution_generator, batch_norm_critic, (0.5, 0.999), 1, None, conditional=True),
    "style": Family(style_generator, ResidualCritic, (0.0, 0.99), 1, None, learning_rate=2e-3, average=0.99),
}


def latent_shape(family: str) -> tuple[int, int, int]:
    """Of one latent, drawn from N(0, I)."""
    return (LATENT + FAMILIES[family].conditional, 1, 1)


def build_generator(family: str, width: int = 64, channels: int = 3, size: int = 64, *, classes: int = 0) -> nn.Module:
    """A fresh generator, latent [n, *latent_shape(family)] → samples [n, channels, size, size] in [−1, 1].

    Raises:
        MismatchError: another size than 64 or 128, a conditional family without labels, or labels in another family.
    """
    check_size(size, size)
    found = FAMILIES[family]
    if not (classes > 1 if found.conditional else classes == 0):
        needs = "at least two labels" if found.conditional else "no labels"
        raise MismatchError(f"family '{family}' takes {needs}; it was given {classes}.")
    return found.generator(width, channels, size, *([classes] if classes else []))


def check_size(height: int, width: int) -> None:
    """Raises MismatchError unless images of this size are built here."""
    if height != width or height not in SIZES:
        built = " or ".join(f"{size}×{size}" for size in SIZES)
        raise MismatchError(f"images are {height}×{width}; these GANs make {built}.")


def initialise(module: nn.Module, rng: torch.Generator) -> None:
    """Convolutions N(0, 0.02), batch-norm scales N(1, 0.02), offsets 0; layers that scale themselves N(0, 1).

    Source: as above.
    """
    for layer in module.modules():
        if isinstance(layer, ScaledConv | ScaledLinear):
            nn.init.normal_(layer.weight, generator=rng)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02, generator=rng)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02, generator=rng)
        if isinstance(getattr(layer, "bias", None), Tensor):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
