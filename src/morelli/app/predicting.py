"""Fingerprints of a model from its weights: simulated from a decoder's last blocks, or of pictures that it draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morelli.app.bundles import load_head
from morelli.app.sources import Stage, silent
from morelli.errors import MismatchError, MorelliError, UnreadableBundle
from morelli.features.fingerprint import WINDOW, FingerprintExtractor
from morelli.features.protocol import SampleSpec
from morelli.generators.decoder_guess import decoder_only, guess_words, refuse_others
from morelli.generators.decoder_layers import build_tail, layers_of, parse_words, spoken
from morelli.generators.simulation import SimulationSettings, Tail, simulate
from morelli.numerics.head import Head
from morelli.numerics.linear import Conv, TransposedConv
from morelli.storage import bundle
from morelli.storage.crops import crops
from morelli.storage.decoder_file import read_weights
from morelli.storage.generators import load_generator
from morelli.storage.images import to_eight_bits
from morelli.storage.samples import find

DRAWN = 20  # pictures, where the whole generator is there
UPSAMPLINGS = ("nearest", "bilinear")


@dataclass(frozen=True, eq=False)
class FromWeights:
    """Fingerprints [n, d]; `about` says from what; `predicted` whether no picture is one that the model makes."""

    values: Tensor
    about: dict[str, Any]
    predicted: bool


def from_weights(
    path: str | Path,
    extractor: FingerprintExtractor,
    *,
    layers: str | None = None,
    upsample: str = "nearest",
    photographs: str | Path | None = None,
    settings: SimulationSettings | None = None,
    stage: Stage = silent,
) -> FromWeights:
    """Fingerprints from weights: a safetensors file of a decoder, or a bundle of a head or of a small GAN.

    A bundle that holds the whole generator draws pictures. From anything less they are simulated; see
    `generators/simulation.py`.

    Args:
        layers: the last blocks in words, see `generators/decoder_layers.py`; without, they are guessed.
        upsample: how the guess enlarges where layers leave room for it: "nearest" or "bilinear".
        photographs: 32 or more, 64 pixels a side or more, to simulate with instead of drawn shapes.
    Raises:
        UnreadableBundle: neither a bundle nor a safetensors file. UnreadableSample: no photographs there.
        MismatchError: layers that are not there or do not fit, or a file of something else than a decoder.
    """
    path = Path(path)
    if upsample not in UPSAMPLINGS:
        raise MismatchError(f"there is no upsampling '{upsample}'; expected one of {', '.join(UPSAMPLINGS)}.")
    if path.is_dir():
        if layers is not None:
            raise MismatchError(f"{path} is a bundle, which knows its layers; leave --layers out.")
        module, about = _bundle(path)
        if isinstance(module, Tensor):
            return FromWeights(extractor.extract(list(module)), about | {"pictures": "drawn"}, predicted=False)
    else:
        module, about = _file(path, layers, upsample)
    pictures = None if photographs is None else _photographs(photographs, stage)
    settings = settings or SimulationSettings()
    made = simulate(module, settings, pictures, stage("simulating", settings.steps))
    return FromWeights(extractor.extract(list(made)), about | {"pictures": "simulated"}, predicted=True)


def _photographs(source: str | Path, stage: Stage) -> Tensor:
    paths = find(source)
    return crops(paths, WINDOW, progress=stage("reading photographs", len(paths))).float() / 255


def _file(path: Path, words: str | None, upsample: str) -> tuple[Tail, dict[str, Any]]:
    tensors, digest = read_weights(path)
    found = layers_of(tensors)
    if not found:
        names = ", ".join(list(tensors)[:10])
        raise MismatchError(f"{path.name} has no tensor that ends in '.weight'; it has {names}. Is it a decoder?")
    try:
        if words is None:
            found = decoder_only(found)
            refuse_others(found)
        said = guess_words(found, upsample) if words is None else parse_words(words)
        tail = build_tail(said, found)
        tail.side  # noqa: B018 (raises where the layers do not fit)
    except MismatchError as error:
        raise MismatchError(f"{path.name}: {error}") from None
    return tail, {"sha256": digest, "layers": spoken(said), "guessed": words is None}


def _bundle(path: Path) -> tuple[Tail | Tensor, dict[str, Any]]:
    """A tail, or pictures uint8 [n, 3, h, w] where the bundle holds the whole generator."""
    found = bundle.read(path)
    about = {"sha256": found.digest, "bundle": found.kind}
    rng = torch.Generator().manual_seed(0)
    if found.kind == "small_gan":
        module = load_generator(path)
        latent = (100 + bool(found.state.settings.get("classes")), 1, 1)
        with torch.no_grad():
            made = module(torch.randn(DRAWN, *latent, generator=rng))
        return _pictures(path, made, SampleSpec(tuple(made.shape[1:]))), about
    if found.kind != "head":
        raise UnreadableBundle(f"{path} holds a {found.kind}; expected a head, a small GAN, or a safetensors file.")
    head = load_head(path)
    if head.generator is not None:
        with torch.no_grad():
            made = head.generator(torch.randn(DRAWN, *head.generator.in_shape, generator=rng))
        return _pictures(path, made, SampleSpec(head.map.out_shape, head.stored.low, head.stored.high)), about
    return _tail_of(path, head), about


def _pictures(path: Path, made: Tensor, spec: SampleSpec) -> Tensor:
    if len(spec.shape) != 3 or spec.shape[0] not in (1, 3) or min(spec.shape[1:]) < WINDOW:
        raise MismatchError(f"{path} makes {spec.shape}; a fingerprint needs pictures of {WINDOW} pixels a side.")
    return to_eight_bits(made, spec).expand(-1, 3, -1, -1)


class HeadLayer(nn.Module):
    """A head's last layer on activations of any size."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, z: Tensor) -> Tensor:
        linear, shape = self.head.map, tuple(z.shape[1:])
        assert isinstance(linear, Conv | TransposedConv)
        if isinstance(linear, TransposedConv):
            ratio = [b // a for a, b in zip(linear.in_shape[1:], linear.out_shape[1:], strict=True)]
            out = (linear.out_shape[0], *(side * times for side, times in zip(shape[1:], ratio, strict=True)))
            linear = replace(linear, in_shape=shape, out_shape=out)
        else:
            linear = replace(linear, in_shape=shape)
        made: Tensor = self.head.activation.forward(linear.apply(z) + self.head.bias)
        return made


def _tail_of(path: Path, head: Head) -> Tail:
    linear = head.map
    shapes = linear.in_shape, linear.out_shape
    if not isinstance(linear, Conv | TransposedConv) or len(shapes[1]) != 3 or shapes[1][0] not in (1, 3):
        raise MismatchError(f"{path} maps {shapes[0]} to {shapes[1]}; expected a convolution that makes a picture.")
    if head.bias.numel() not in (1, shapes[1][0]) or any(
        b % a for a, b in zip(shapes[0][1:], shapes[1][1:], strict=True)
    ):
        raise MismatchError(
            f"{path} maps {shapes[0]} to {shapes[1]}; what it does depends on the place. Enrol pictures."
        )
    factor = shapes[1][1] // shapes[0][1]
    if factor == 1:
        raise MorelliError(
            f"{path} is a last layer that does not enlarge; fingerprints are of whole blocks. Give the decoder's "
            "weights, or a head with the whole generator (`morelli head … --whole`)."
        )
    # about the anchor, with the variances where they are known
    mean = head.anchor.mean((1, 2))
    variance = None if head.covariance is None else head.covariance.diagonal()
    known = None if variance is None or len(variance) != len(mean) else (mean, variance)
    return Tail(HeadLayer(head), shapes[0][0], factor, head.stored.low, head.stored.high, known)
