"""Models whose weights and images we both own: what they make, and their last blocks as a file of weights has them."""

import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "spectra"))
sys.path.insert(0, str(Path(__file__).parents[1]))
import models as spectra
import protocol as p
from safetensors.torch import load_file

from morelli.app.fingerprints import parted
from morelli.generators.bank_training import Trained
from morelli.generators.decoder_guess import decoder_only, guess_words
from morelli.generators.decoder_layers import build_tail, layers_of, parse_words
from morelli.generators.simulation import Tail
from morelli.generators.synthetic import CHANNELS
from morelli.storage.bank import read_bank, read_shard
from morelli.storage.images import to_eight_bits

BANK, FRESH = p.ROOT / "runs/bank", p.ROOT / "runs/weights/bank"
SHOWN = 20  # photographs that go through every synthetic generator
LSGAN = "batch:0.8 relu up conv batch:0.8 relu up conv batch:0.8 relu conv tanh"
WORDS = {  # where names do not tell the order, or the normalisation
    "celeba64_vae": "relu convt=decoder.convT2 relu convt=decoder.convT3 sigmoid",
    "celeba64_betavae": "relu convt=decoder.convT2 relu convt=decoder.convT3 sigmoid",
    "vae-bilinear": "group:8 silu up:bilinear conv group:6 silu up:bilinear conv group:3 silu conv unit",
    "vae-shuffle": "leaky conv shuffle leaky conv leaky conv shuffle sigmoid",
}


@dataclass(frozen=True)
class Model:
    """Attributes:
    family: of architecture; siblings share it and differ by their seed.
    group: "synthetic" (new seeds, never seen by the network), "world" (the bank's, of which the network's world knows
        the covariance), "seeds" (five GANs of each of four kinds), "real" (other GANs, VAEs and tiny autoencoders).
    images: uint8 [n, 3, 64, 64], 20 or more. tail: its last blocks.
    """

    name: str
    family: str
    group: str
    images: Callable[[], Tensor]
    tail: Callable[[], Tail]


def synthetic() -> Iterator[Model]:
    shards = sorted(FRESH.glob("*.shard"))
    yield from (_synthetic(one, "synthetic") for shard in shards for one in read_shard(shard))


def world() -> Iterator[Model]:
    yield from (_synthetic(one, "world") for one in parted(list(read_bank(BANK)))[1])


def trained() -> Iterator[Model]:
    """Some that the network was trained on: in the gallery to be confused with, never asked for."""
    yield from (_synthetic(one, "trained") for one in parted(list(read_bank(BANK)))[0][::90])


def _synthetic(one: Trained, group: str) -> Model:
    return Model(
        f"{one.blueprint.name}#{one.seed}", one.blueprint.name, group, lambda: through(one), lambda: tail_of(one)
    )


@torch.no_grad()
def through(one: Trained) -> Tensor:
    """Held-out photographs, others for each seed, through a synthetic generator."""
    known = spectra.photographs()
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(one.seed))[:SHOWN]
    return to_eight_bits(one.module()(known[order].float() / 255).clamp(0, 1), spectra.UNIT)


def tail_of(one: Trained) -> Tail:
    """All that comes after the bottleneck: every blueprint's is a tail, also those that no words describe."""
    module, blueprint = one.module(), one.blueprint
    decoder = module.layers[blueprint.blocks + bool(blueprint.latent) :]
    channels = blueprint.latent or CHANNELS[blueprint.blocks]
    first = next(layer for layer in decoder.modules() if not list(layer.children()))
    known = isinstance(first, nn.BatchNorm2d) and len(first.running_mean) == channels
    return Tail(
        decoder, channels, blueprint.multiple, statistics=(first.running_mean, first.running_var) if known else None
    )


def real() -> Iterator[Model]:
    gans = {f"faces-{path.stem}": path for path in sorted((p.ROOT / "runs/celeba64").glob("*.generator"))}
    gans |= {f"clothes-{path.stem}": path for path in sorted((p.ROOT / "runs/clothing64").glob("*.generator"))}
    gans |= {path.stem: path for path in sorted((p.ROOT / "runs/seeds").glob("*.generator"))}
    for name, path in gans.items():
        family = next(family for family in p.FAMILIES if family in name)
        group = "seeds" if path.parent.name == "seeds" else "real"
        yield Model(
            name, family, group, lambda path=path: _drawn(path), lambda path=path, family=family: _gan(path, family)
        )
    for name in spectra.VAES:
        make = lambda name=name: to_eight_bits(spectra.vae(name).samples(SHOWN, 1), spectra.UNIT)  # noqa: E731
        yield Model(name, "VAE", "real", make, lambda name=name: _file(spectra.WEIGHTS / f"{name}.safetensors", name))
    for name in ("taesd", "taesdxl"):
        make = lambda name=name: _through_tiny(name)  # noqa: E731
        path = spectra.WEIGHTS / f"{name}_decoder.safetensors"
        yield Model(name, "TAESD", "real", make, lambda name=name, path=path: _file(path, name))
    for name in ("vae-bilinear", "vae-shuffle"):
        make = lambda name=name: _zoo(name)  # noqa: E731
        path = p.ROOT / f"runs/zoo/{name}.safetensors"
        yield Model(name, name, "real", make, lambda name=name, path=path: _file(path, name))


def _drawn(path: Path) -> Tensor:
    return to_eight_bits(p.loaded(path).samples(SHOWN, 1), p.SPEC)


def _gan(path: Path, family: str) -> Tail:
    """As from a plain file: names and shapes alone, but for LSGAN, whose batch norms have an epsilon of their own."""
    return _built(p.morelli.load_generator(path).state_dict(), LSGAN if family == "lsgan" else None)


@torch.no_grad()
def _through_tiny(name: str) -> Tensor:
    chosen = spectra.photographs()[3 :: spectra.STEP][:SHOWN].float() / 255
    return to_eight_bits(spectra.tiny_autoencoder(name)(chosen).clamp(0, 1), spectra.UNIT)


def _zoo(name: str) -> Tensor:
    return runpy.run_path(str(p.ROOT / "experiments/zoo/run.py"))["load"](name)(SHOWN, 1)


def _file(path: Path, name: str) -> Tail:
    return _built(load_file(path), WORDS.get(name))


def _built(tensors: dict[str, Tensor], words: str | None) -> Tail:
    layers = decoder_only(layers_of(tensors))
    return build_tail(guess_words(layers) if words is None else parse_words(words), layers)
