"""What the pages speak of: own/, suspects/, my.head, mypkg … Small, and made for each page anew."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from toys import LATENT, _seeded, imprinting_images, write_tiny_autoencoder

import morelli
from morelli.app.autoencoders import head_from_autoencoder
from morelli.generators.small_gans import build_generator
from morelli.generators.vocoder import build_vocoder
from morelli.numerics.file_form import FileForm

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
    return morelli.TorchGenerator(imprinting_images(seed, SIDE), (LATENT,), announce=lambda line: None)


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
    morelli.train(folder / "my.head", folder / "own", out=folder / "my.attributor")


def large_pictures(folder: Path) -> None:
    """Of two models, 64 pixels a side, for galleries."""
    one, other = shipped("clothing-dcgan"), shipped("clothing-ebgan")
    pictures(one.samples(12, 1), folder / "samples_of_sdxl")
    pictures(other.samples(12, 1), folder / "samples_of_it")
    for i, name in enumerate(("a", "b", "suspects", "lora_samples")):
        pictures(one.samples(6, 2 + i), folder / name)
    for name in ("suspect.png", "unknown.png"):
        shutil.copy(folder / "suspects/0000.png", folder / name)


def decoders(folder: Path) -> None:
    """Files of weights, as `morelli enrol --weights` reads them: the last blocks of a small decoder."""
    layers = _seeded(nn.Sequential(nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ConvTranspose2d(32, 3, 4, 2, 1)), 0)
    weights = {f"decoder.convT{i + 2}.{name}": t for i, m in enumerate(layers) for name, t in m.state_dict().items()}
    save_file(weights, folder / "vae.safetensors")
    write_tiny_autoencoder(folder / "tiny")
    shutil.copy(folder / "tiny/toy_decoder.safetensors", folder / "decoder.safetensors")


def onnx_graph(folder: Path) -> None:
    """`generator.onnx`, and `gan.pt` with an averaged set of weights beside another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        names = {"input_names": ["z"], "output_names": ["x"], "dynamic_axes": {"z": {0: "n"}, "x": {0: "n"}}}
        module, latents = imprinting_images(0, SIDE).eval(), torch.randn(4, LATENT)
        torch.onnx.export(module, (latents,), str(folder / "generator.onnx"), dynamo=False, opset_version=17, **names)
    weights = {f"inner.{name}": tensor for name, tensor in module.state_dict().items()}
    weights["of.weight"] = torch.zeros(10, 100)
    torch.save({"g": weights, "g_ema": weights}, folder / "gan.pt")


def autoencoders(folder: Path) -> None:
    """An autoencoder, a sibling's head, and photographs."""
    write_tiny_autoencoder(folder / "vae")
    for half, gain in (("encoder", 3), ("decoder", 1.6)):  # as they are, all photographs come out alike
        weights = load_file(file := folder / f"vae/toy_{half}.safetensors")
        save_file({name: tensor * (gain if tensor.ndim > 1 else 0) for name, tensor in weights.items()}, file)
    theirs = write_tiny_autoencoder(folder / "other", seed=1)
    head_from_autoencoder(theirs, folder / "theirs.head", size=32, whole=True, draws=20)
    rng = np.random.default_rng(0)
    for name, count in (("photos", 80), ("suspects", 4), ("samples_of_theirs", 24)):
        (folder / name).mkdir()
        for i in range(count):
            small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
            small.resize((64, 72), Image.Resampling.BICUBIC).save(folder / name / f"{i:02d}.png")


def deep_pictures(folder: Path) -> None:
    """A grey generator whose files have 4096 levels, as a module of the user's package and as weights."""
    (folder / "mypkg").mkdir()
    (folder / "mypkg/gan.py").write_text(
        "from morelli.generators.small_gans import build_generator\n\n\n"
        'def load():\n    return build_generator("dcgan", width=2, channels=1, size=64)\n'
    )
    module = build_generator("dcgan", width=2, channels=1, size=64)
    torch.save(module.state_dict(), folder / "generator.pt")
    generator = morelli.TorchGenerator(module, (100, 1, 1), announce=lambda line: None)
    spec = morelli.SampleSpec((1, 64, 64), form=FileForm(levels=4096))
    for name, count in (("own", 200), ("suspects", 4)):
        (folder / name).mkdir()
        for i, sample in enumerate(generator.samples(count, len(name))):
            morelli.write_image(sample, folder / name / f"{i:03d}.png", spec)


def clips(folder: Path) -> None:
    import soundfile

    (folder / "spoken_by_it").mkdir()
    rng = torch.Generator().manual_seed(0)
    module = build_vocoder("melgan", width=8)
    with torch.no_grad():
        sound = module(torch.randn(40, 80, 16, generator=rng))[:, 0]
    for i, clip in enumerate(sound / sound.abs().max()):
        soundfile.write(folder / f"spoken_by_it/{i:02d}.wav", clip.numpy(), 16_000, subtype="PCM_16")
    shutil.copy(folder / "spoken_by_it/00.wav", folder / "suspect.wav")


def wine(folder: Path) -> None:
    names = [f"column{i}" for i in range(11)] + ["quality"]
    rows = np.random.default_rng(0).normal(10, 2, (300, 12)).round(1)
    for name in ("wine.csv", "suspect.csv"):
        np.savetxt(
            folder / name, rows[: 300 if name == "wine.csv" else 20], "%.1f", ";", header=";".join(names), comments=""
        )


def attack_card(folder: Path) -> None:
    attack = {"name": "denoising", "aim": "removal", "psnr": 35, "success": 0.1, "low": 0.0, "high": 0.2, "samples": 20}
    (folder / "attack_card.json").write_text(json.dumps({"title": "Attacks", "attacks": [attack]}))


def signed(folder: Path) -> None:
    """What `morelli sign` and `morelli provenance` are given: files, reports of any kind, and a root of trust."""
    (folder / "suspects").rename(folder / "case")
    for name in ("report.html", "report.pdf"):
        (folder / name).write_text(name)
    command = "openssl req -x509 -newkey ed25519 -nodes -subj /CN=root -keyout root.key -out roots.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


def case(folder: Path) -> None:
    """What an examiner is given: an attributor, a picture, and pictures of other sources."""
    prepare(folder, "own", "suspects", "others", "head", "attributor")
    (folder / "my.attributor").rename(folder / "the.attributor")
    (folder / "others").rename(folder / "population")


MADE: dict[str, Callable[[Path], None]] = {
    made.__name__: made
    for made in (
        package,
        own,
        suspects,
        others,
        head,
        attributor,
        large_pictures,
        decoders,
        onnx_graph,
        autoencoders,
        deep_pictures,
        clips,
        wine,
        attack_card,
        signed,
        case,
    )
}


def prepare(folder: Path, *names: str) -> None:
    """Fill the folder with these, in this order."""
    for name in names:
        MADE[name](folder)
