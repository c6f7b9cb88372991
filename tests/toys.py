"""Tiny generators from a seed, one per kind of head. No downloads, no training."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from morelli import Head, SampleSpec, TorchGenerator
from morelli.generators.capture import capture
from morelli.generators.small_gans import initialise
from morelli.generators.style_gan import StyledConv, StyleGenerator
from morelli.generators.tiny_autoencoder import tiny_decoder, tiny_encoder
from morelli.numerics.perturbations import parse
from morelli.numerics.program import Program
from morelli.storage.images import from_eight_bits, to_eight_bits

LATENT = 12


def _seeded(module: nn.Module, seed: int) -> nn.Module:
    """The module with weights from `seed`, scaled so that activations stay of order one."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan = parameter[0].numel() if parameter.ndim > 1 else 25
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / fan**0.5)
    return module


def deconvolution_images(seed: int = 0) -> nn.Module:
    """8×8 RGB in [−1, 1]: like DCGAN's end, transposed convolution 4×4 stride 2, tanh."""
    return _seeded(
        nn.Sequential(
            nn.Linear(LATENT, 16 * 16),
            nn.ReLU(),
            nn.Unflatten(1, (16, 4, 4)),
            nn.ConvTranspose2d(16, 3, 4, 2, 1),
            nn.Tanh(),
        ),
        seed,
    )


def convolution_images(seed: int = 0) -> nn.Module:
    """8×8 RGB in [0, 1]: like LSGAN's end, upsampling, convolution 3×3, but with a sigmoid."""
    return _seeded(
        nn.Sequential(
            nn.Linear(LATENT, 6 * 16),
            nn.ReLU(),
            nn.Unflatten(1, (6, 4, 4)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 3, 3, padding=1),
            nn.Sigmoid(),
        ),
        seed,
    )


def imprinting_images(seed: int = 0, side: int = 32) -> nn.Module:
    """RGB in [−1, 1], smooth but for what the last layer does to it, and large enough for imprints."""
    return _seeded(
        nn.Sequential(
            nn.Linear(LATENT, 8 * 16),
            nn.LeakyReLU(0.2),
            nn.Unflatten(1, (8, 4, 4)),
            nn.Upsample(scale_factor=side // 8, mode="bilinear"),
            nn.ConvTranspose2d(8, 3, 4, 2, 1),
            nn.Tanh(),
        ),
        seed,
    )


def grey_images(seed: int = 0, side: int = 32) -> nn.Module:
    """Like `imprinting_images`, of one channel: for files of more than eight bits."""
    return _seeded(
        nn.Sequential(
            nn.Linear(LATENT, 8 * 16),
            nn.LeakyReLU(0.2),
            nn.Unflatten(1, (8, 4, 4)),
            nn.Upsample(scale_factor=side // 8, mode="bilinear"),
            nn.ConvTranspose2d(8, 1, 4, 2, 1),
            nn.Tanh(),
        ),
        seed,
    )


@cache
def imprinting_generator(seed: int = 0, side: int = 32) -> TorchGenerator:
    return TorchGenerator(imprinting_images(seed, side), (LATENT,), announce=lambda line: None)


def imprinting_samples(n: int, seed: int = 5, generator_seed: int = 0, side: int = 32) -> Tensor:
    """[n, 3, side, side], through 8 bits, as files are."""
    samples = imprinting_generator(generator_seed, side).samples(n, seed)
    return ((samples + 1) * 127.5).round() / 127.5 - 1


def table(seed: int = 0) -> nn.Module:
    """Rows of 6 columns without an activation: like KL-WGAN's end."""
    return _seeded(nn.Sequential(nn.Linear(LATENT, 24), nn.LeakyReLU(0.01), nn.Linear(24, 6)), seed)


def audio(seed: int = 0) -> nn.Module:
    """64 samples of one channel in [−1, 1]: convolution of width 7, tanh."""
    return _seeded(
        nn.Sequential(
            nn.Linear(LATENT, 8 * 32),
            nn.ReLU(),
            nn.Unflatten(1, (8, 32)),
            nn.ConvTranspose1d(8, 8, 4, 2, 1),
            nn.ReLU(),
            nn.Conv1d(8, 1, 7, padding=3),
            nn.Tanh(),
        ),
        seed,
    )


FRAME = 32  # samples of `vocoder`


def vocoder(seed: int = 0) -> nn.Module:
    """[n, 6, frames] → [n, 1, 32 · frames] in [−1, 1]: upsampled by 8 and 4, then a convolution of width 7, tanh."""
    return _seeded(
        nn.Sequential(
            nn.ConvTranspose1d(6, 8, 16, 8, 4),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose1d(8, 8, 8, 4, 2),
            nn.LeakyReLU(0.2),
            nn.Conv1d(8, 1, 7, padding=3),
            nn.Tanh(),
        ),
        seed,
    )


def vocoder_generator(seed: int = 0, frames: int = 40) -> TorchGenerator:
    return TorchGenerator(vocoder(seed), (6, frames), announce=lambda line: None)


class _ToRgbSkip(nn.Module):
    """The end of a StyleGAN2 without styles: a small picture, enlarged, plus colours of the last features."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Sequential(nn.Linear(LATENT, 6 * 16), nn.LeakyReLU(0.2), nn.Unflatten(1, (6, 4, 4)))
        self.small, self.conv, self.to_rgb = nn.Conv2d(6, 3, 1), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.start(z)
        larger = nn.functional.leaky_relu(self.conv(nn.functional.interpolate(x, scale_factor=2)), 0.2)
        skip = nn.functional.interpolate(self.small(x), scale_factor=2, mode="bilinear", align_corners=False)
        return (skip + self.to_rgb(larger)).tanh()


def skip_images(seed: int = 0) -> nn.Module:
    """8×8 RGB in [−1, 1]: the sum of an enlarged 4×4 picture and a 1×1 convolution, tanh."""
    return _seeded(_ToRgbSkip(), seed)


def initialised_style(seed: int = 0, size: int = 32) -> StyleGenerator:
    """An untrained StyleGAN2 whose noise inputs count."""
    module = StyleGenerator(8, 3, size, LATENT)
    initialise(module, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, StyledConv):
                layer.strength.fill_(0.3)
    return module


TOYS: dict[str, Callable[[int], nn.Module]] = {
    "deconvolution": deconvolution_images,
    "convolution": convolution_images,
    "table": table,
    "audio": audio,
    "skips": skip_images,
}


@cache
def toy_generator(name: str, seed: int = 0) -> TorchGenerator:
    return TorchGenerator(TOYS[name](seed), (LATENT,), announce=lambda line: None)


@cache
def _toy_head(name: str, seed: int) -> Head:
    return toy_generator(name, seed).head(256)


def toy_heads(seed: int = 0) -> dict[str, Head]:
    """One head per toy, anchor from 256 draws."""
    return {name: _toy_head(name, seed) for name in TOYS}


@cache
def _toy_program(name: str) -> Program:
    return toy_generator(name).program()


def toy_program(head: Head) -> Program:
    """The whole generator that one of `toy_heads()` is the end of."""
    return _toy_program(next(name for name, known in toy_heads().items() if known is head))


@cache
def toy_features() -> Program:
    """Something else than pixels to compare 8×8 images by."""
    return capture(_seeded(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()), 0), (3, 8, 8))


@cache
def toy_autoencoder() -> Program:
    """8×8 images, encoded and decoded."""
    halves = nn.Conv2d(3, 6, 3, 2, 1), nn.Tanh(), nn.Upsample(scale_factor=2), nn.Conv2d(6, 3, 3, padding=1)
    return capture(_seeded(nn.Sequential(*halves), 0), (3, 8, 8))


def write_tiny_autoencoder(folder: Path, seed: int = 0, width: int = 8) -> Path:
    """Plain TAESD files, smaller, which make RGB in [0, 1]; the decoder's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = torch.Generator().manual_seed(seed)
    for half, module in (("encoder", tiny_encoder(4, width)), ("decoder", tiny_decoder(4, width))):
        weights = {}
        for name, tensor in module.state_dict().items():
            fan = tensor[0].numel() if tensor.ndim > 1 else 25
            weights[name] = torch.randn(tensor.shape, generator=rng) / fan**0.5 / (1 if tensor.shape[0] == 3 else 2)
        save_file(weights, folder / f"toy_{half}.safetensors")
    return folder / "toy_decoder.safetensors"


def toy_samples(name: str, n: int, seed: int = 5, generator_seed: int = 0) -> Tensor:
    """[n, *shape] of the toy generator with weights from `generator_seed`."""
    return toy_generator(name, generator_seed).samples(n, seed)


def changed(samples: Tensor, spec: SampleSpec, condition: str) -> Tensor:
    """What a condition leaves of samples [n, *spec.shape] that went through eight bits."""
    pixels = parse(condition).apply(to_eight_bits(samples, spec), torch.Generator().manual_seed(3))
    return from_eight_bits(pixels, spec)
