"""Real generators that no fingerprint network was trained on, and photographs: 100 images each, as files hold them."""

import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "spectra"))
sys.path.insert(0, str(Path(__file__).parents[1]))
import models as spectra
import protocol as p

from morelli.numerics.perturbations import parse
from morelli.storage.crops import crops
from morelli.storage.generators import shipped_generators
from morelli.storage.images import to_eight_bits
from morelli.storage.samples import find

COUNT = 100
SEEDS = (0, 1, 2, 3, 4)


def seeds() -> dict[str, Callable[[], Tensor]]:
    """Five seeds of each small GAN on clothes: one architecture, one data set."""
    return {name: partial(_gan, gan) for name, gan in p.generators("seeds").items()}


def families() -> dict[str, Callable[[], Tensor]]:
    """Generators that differ in architecture, training or data, and photographs of three kinds."""
    found: dict[str, Callable[[], Tensor]] = {
        f"faces-{path.stem}": partial(_gan, p.loaded(path))
        for path in sorted((p.ROOT / "runs/celeba64").glob("*.generator"))
    }
    found |= {f"clothes-{family}": partial(_gan, p.generators("seeds")[f"{family}-0"]) for family in p.FAMILIES}
    found |= {name: partial(_vae, name) for name in spectra.VAES}
    found |= {name: partial(_tiny, name) for name in ("taesd", "taesdxl")}
    found |= {f"zoo-{name}": partial(_zoo, name) for name in zoo_names()}
    found |= {
        f"photographs-{name}": partial(_photographs, name) for name in ("clothing64", "celeba64", "photos_varied")
    }
    return found


def background() -> dict[str, Callable[[], Tensor]]:
    """A handful of real models, to train the baselines on; none of them is tested with."""
    return {name: partial(_gan, p.loaded(name)) for name in shipped_generators()}


def zoo_names() -> list[str]:
    return sorted(path.stem for path in (p.ROOT / "runs/zoo").glob("*.safetensors"))


def perturbed(pixels: Tensor, condition: str) -> Tensor:
    """ "jpeg:95+resize:0.75" is one after the other."""
    rng = torch.Generator().manual_seed(7)
    for one in condition.split("+"):
        pixels = parse(one).apply(pixels, rng)
    return pixels


def _gan(gan: p.morelli.TorchGenerator, count: int = COUNT) -> Tensor:
    return to_eight_bits(gan.samples(count, 1), p.SPEC)


def _vae(name: str) -> Tensor:
    return to_eight_bits(spectra.vae(name).samples(COUNT, 1), spectra.UNIT)


def _tiny(name: str) -> Tensor:
    return spectra.through(spectra.tiny_autoencoder(name), 1)


def _zoo(name: str) -> Tensor:
    return runpy.run_path(str(p.ROOT / "experiments/zoo/run.py"))["load"](name)(COUNT, 1)


def _photographs(name: str) -> Tensor:
    """Pictures of 64 pixels as they are; larger ones reduced and cropped."""
    if name == "photos_varied":
        return crops(find(p.DATA / name)[:COUNT], 64)
    return to_eight_bits(p.photographs(name, 0, COUNT, 5), p.SPEC)
