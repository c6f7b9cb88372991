"""Latent-diffusion decoders: their head, and samples of theirs from latents or photographs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morelli.app.bundles import save
from morelli.app.sources import Stage, silent
from morelli.errors import MismatchError, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.generators.latent_decoder import Autoencoder, LatentDecoder
from morelli.numerics.head import Head
from morelli.storage.autoencoders import load_autoencoder
from morelli.storage.bundle import check_free
from morelli.storage.latents import SUFFIXES, read_latents
from morelli.storage.samples import find, from_eight_bits, read_picture, write_image
from morelli.storage.writing import move_into_place

Source = str | Path | Sequence[str | Path]
DRAWS = 200  # over which a head's mean activation is taken
MEASURED = 128  # pixels a side up to which the map's conditioning is measured; it takes a minute for twice as many


@dataclass(frozen=True)
class Reconstruction:
    """How many images were written, and (file, reason) of what could not be read."""

    written: int
    refused: tuple[tuple[str, str], ...]


def head_from_autoencoder(
    path: str | Path,
    out: str | Path,
    *,
    source: Source | None = None,
    draws: int = DRAWS,
    size: int = 128,
    whole: bool = False,
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
    stage: Stage = silent,
) -> str:
    """Write the head of a latent decoder, and say what was found.

    Args:
        path: see `storage.autoencoders.load_autoencoder`.
        source: latents (.npy or safetensors, as they enter the decoder) or photographs, over which the anchor is taken;
            the first `draws` of them. None: normal ones.
        size: pixels a side of the windows by which images are judged that are 32 pixels larger or more. Trained on
            images of just this size, an attributor reads whole images of this size.
        whole: also store the autoencoder, as operations and weights; "aedr", "reconstruction" and "latent" need it.
    Raises:
        MorelliError: see `load_autoencoder`, `LatentDecoder` and what reads the source; nothing is written then.
    """
    check_free(out, overwrite)
    settings: dict[str, Any] = {"source": source, "draws": draws, "size": size, "whole": whole}
    head, found = autoencoder_head(path, **settings, seed=seed, device=device, stage=stage)
    save(head, out, overwrite=overwrite)
    return found


def autoencoder_head(
    path: str | Path,
    *,
    source: Source | None = None,
    draws: int = DRAWS,
    size: int = 128,
    whole: bool = False,
    seed: int = 0,
    device: str = "cpu",
    stage: Stage = silent,
) -> tuple[Head, str]:
    """The head of a latent decoder, and what was found; see `head_from_autoencoder`."""
    autoencoder = load_autoencoder(path).to(device)
    latents = None
    if source is not None:
        read: list[tuple[str, Tensor]] = []
        for some in _latents(autoencoder, source, size, device, [], stage):
            read.append(some)
            if sum(len(x) for _, x in read) >= draws:
                break
        latents = _together([x for _, x in read], size // autoencoder.factor)
    decoder = LatentDecoder(autoencoder, latents, size=size, announce=lambda line: None)
    head = decoder.head(draws, seed, stage("activations", draws))
    if whole:
        head = replace(head, autoencoder=decoder.program())
    measuring = stage("conditioning of the map", 1)
    head = head.measured() if size <= MEASURED else head
    measuring(1)
    return head, decoder.found


def reconstruct(
    path: str | Path,
    source: Source,
    out: str | Path,
    *,
    size: int = 512,
    device: str = "cpu",
    overwrite: bool = False,
    stage: Stage = silent,
) -> Reconstruction:
    """Own samples of a latent decoder, as 8-bit PNG: photographs encoded and decoded, or the owner's latents decoded.

    Args:
        path: see `storage.autoencoders.load_autoencoder`.
        source: photographs, of which the middle is taken, or one file of latents (.npy or safetensors).
        out: a folder that is not there yet; each image keeps its photograph's name.
        size: pixels a side at most.
    Raises:
        MorelliError: nothing could be read, or the autoencoder does not fit; nothing is written then.
    """
    place = Path(out)
    check_free(place, overwrite and place.is_dir())
    autoencoder = load_autoencoder(path).to(device)
    place.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    refused: list[tuple[str, str]] = []
    written = 0
    try:
        for name, latents in _latents(autoencoder, source, size, device, refused, stage):
            for image in autoencoder.decode(latents.to(device)).float().cpu():
                spec = SampleSpec(tuple(image.shape), autoencoder.low, autoencoder.high)
                taken = (staging / f"{name}.png").exists() or not name
                write_image(image, staging / (f"{name}{written:05d}.png" if taken else f"{name}.png"), spec)
                written += 1
        if not written:
            raise UnreadableSample(f"none of {len(refused)} files could be read. The first: {refused[0][1]}")
        staging.chmod(0o755)
        move_into_place(staging, place, replace=overwrite)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Reconstruction(written, tuple(refused))


def _latents(
    autoencoder: Autoencoder, source: Source, size: int, device: str, refused: list[tuple[str, str]], stage: Stage
) -> Iterator[tuple[str, Tensor]]:
    """(a photograph's name or none, latents [n, c, h, w])."""
    paths = find(source)
    progress = stage("decoding", len(paths))
    for path in paths:
        if path.suffix in SUFFIXES:
            for latent in read_latents(path).split(1):
                yield "", latent
        else:
            try:
                yield path.stem, autoencoder.encode(_photograph(path, autoencoder, size).to(device)).cpu()
            except (UnreadableSample, MismatchError) as error:
                if autoencoder.encoder is None:
                    raise
                refused.append((str(path), str(error)))
        progress(1)


def _photograph(path: Path, autoencoder: Autoencoder, size: int) -> Tensor:
    """[1, 3, h, w] in [low, high]: the middle, with sides that the encoder reads."""
    pixels, _ = read_picture(path)
    factor = autoencoder.factor
    sides = [min(n, size) // factor * factor for n in pixels.shape[1:]]
    if not min(sides):
        raise MismatchError(f"{path.name} is smaller than {factor} pixels a side.")
    top, left = ((n - side) // 2 for n, side in zip(pixels.shape[1:], sides, strict=True))
    cut = pixels[None, :, top : top + sides[0], left : left + sides[1]]
    return from_eight_bits(cut, SampleSpec(tuple(cut.shape[1:]), autoencoder.low, autoencoder.high))


def _together(latents: list[Tensor], side: int) -> Tensor:
    """Windows of all that are large enough, from their middles. Raises MismatchError where none is."""
    large = [x for x in latents if min(x.shape[2:]) >= side]
    if not large:
        raise MismatchError(f"none of {len(latents)} latents is {side} a side, as a window is. Choose a smaller size.")
    starts = [[(n - side) // 2 for n in x.shape[2:]] for x in large]
    cut = [x[:, :, top : top + side, left : left + side] for x, (top, left) in zip(large, starts, strict=True)]
    return torch.cat(cut)
