"""What the pages speak of: own/, suspects/, my.head, mypkg … Small, made once a process, and copied for each page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from toys import _seeded, imprinting_images, write_tiny_autoencoder

import morelli

SIDE = 16
SIZES = {"own": 200, "others": 24, "suspects": 4}
PACKAGE = '''"""The user's package: what a module of theirs would be."""

import torch
from toys import LATENT, imprinting_images


class Generator(torch.nn.Module):
    """[n, 100, 1, 1] → [n, 3, 16, 16]."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.inner = imprinting_images(seed, 16)

    def forward(self, z):
        return self.inner(z.flatten(1)[:, :LATENT])


class Conditional(Generator):
    """With a label beside the latent."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.of = torch.nn.Embedding(classes, 100)

    def forward(self, z, label):
        return super().forward(z + 0.1 * self.of(label))


def load():
    return Generator()


def conditional(n, rng):
    return torch.randn(n, 100, generator=rng), torch.randint(10, (n,), generator=rng)
'''


def package(folder: Path) -> None:
    (folder / "mypkg").mkdir()
    (folder / "mypkg/gan.py").write_text(PACKAGE)


def pictures(samples: Tensor, folder: Path) -> None:
    folder.mkdir(parents=True)
    for i, sample in enumerate(samples):
        morelli.write_image(sample, folder / f"{i:04d}.png", morelli.SampleSpec(tuple(sample.shape)))


@cache
def toy(seed: int) -> morelli.TorchGenerator:
    return morelli.TorchGenerator(imprinting_images(seed, SIDE), (12,), announce=lambda line: None)


@cache
def shipped(name: str) -> morelli.TorchGenerator:
    return morelli.TorchGenerator(morelli.load_generator(name), (100, 1, 1), announce=lambda line: None)


def own(folder: Path) -> None:
    pictures(toy(0).samples(SIZES["own"], 1), folder / "own")


def suspects(folder: Path) -> None:
    pictures(torch.cat([toy(0).samples(4, 2), toy(5).samples(4, 2)]), folder / "suspects")
    shutil.copy(folder / "suspects/0000.png", folder / "suspect.png")


def others(folder: Path) -> None:
    for seed in range(1, 5):
        pictures(toy(seed).samples(SIZES["others"], 3), folder / f"others/seed{seed}")


def head(folder: Path) -> None:
    morelli.save(toy(0).head(200, 0), folder / "my.head")


def attributor(folder: Path) -> None:
    morelli.train(folder / "my.head", folder / "own", out=folder / "my.attributor", perturb=("none", "jpeg:80..95"))


def large_pictures(folder: Path) -> None:
    """Of two models, 64 pixels a side, for galleries."""
    one, other = shipped("clothing-dcgan"), shipped("clothing-ebgan")
    pictures(one.samples(12, 1), folder / "samples_of_sdxl")
    pictures(other.samples(12, 1), folder / "samples_of_it")
    for i, name in enumerate(("a", "b", "suspects", "lora_samples")):
        pictures(one.samples(6, 2 + i), folder / name)
    shutil.copy(folder / "suspects/0000.png", folder / "suspect.png")


def decoders(folder: Path) -> None:
    """Files of weights, as `morelli enrol --weights` reads them: the last blocks of a small decoder."""
    from safetensors.torch import save_file

    layers = _seeded(nn.Sequential(nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ConvTranspose2d(32, 3, 4, 2, 1)), 0)
    weights = {f"decoder.convT{i + 2}.{name}": t for i, m in enumerate(layers) for name, t in m.state_dict().items()}
    save_file(weights, folder / "vae.safetensors")
    write_tiny_autoencoder(folder / "tiny")
    shutil.copy(folder / "tiny/toy_decoder.safetensors", folder / "decoder.safetensors")


def photographs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for i in range(40):
        small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(small).resize((40, 40), Image.Resampling.BICUBIC).save(folder / f"photos/{i:02d}.png")


MADE: dict[str, Callable[[Path], None]] = {
    made.__name__: made
    for made in (package, own, suspects, others, head, attributor, large_pictures, decoders, photographs)
}


def prepare(folder: Path, *names: str) -> None:
    """Fill the folder with these, in this order."""
    for name in names:
        MADE[name](folder)
