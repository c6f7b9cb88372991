"""Train the fingerprint network on a bank, and keep it with the world that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morelli.app.sources import Stage, silent
from morelli.attribution.fingerprint_training import FingerprintTraining, TrainingSettings, made, pooled
from morelli.attribution.world import World
from morelli.errors import TooFewSamples
from morelli.features.fingerprint import FingerprintExtractor
from morelli.generators.bank_training import Trained
from morelli.storage import bundle
from morelli.storage.bank import read_bank
from morelli.storage.fingerprint_network import read_fingerprint_network, write_fingerprint_network
from morelli.storage.networks import default_denoiser

CHECKPOINT = "fingerprint_training"
APART = 10  # every tenth blueprint is for the world
IMAGES = 20  # of each model of the world
LEAST = 3  # synthetic generators of the world
POOL = 100  # photographs that go through every synthetic generator


def train_fingerprint(
    bank: str | Path,
    photographs: Tensor,
    others: Tensor,
    out: str | Path,
    settings: TrainingSettings,
    *,
    start: str | Path | None = None,
    provenance: dict[str, Any] | None = None,
    device: str = "cpu",
    save_every: int = 200,
    stage: Stage = silent,
) -> FingerprintExtractor:
    """Train on nine tenths of a bank's blueprints; the rest, and other photographs, become the world.

    Args:
        photographs, others: uint8 [n, 3, 64, 64], for training and for the world.
        start: a network that was trained before, of the same backbone, to begin from.
        out: the network is written here, a checkpoint next to it in `out` + ".training".
    Raises:
        UnreadableBundle: there is no bank. TooFewSamples: it is too small for a world.
        MismatchError: a checkpoint of another training.
    """
    out, (seen, unseen) = Path(out), parted(list(read_bank(Path(bank))))
    if len(unseen) < LEAST:
        raise TooFewSamples(
            f"{bank} has {len(unseen)} synthetic generators for the world, which needs {LEAST} or more."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    modules = [one.module().to(device, memory_format=torch.channels_last) for one in seen]  # type: ignore[call-overload]
    order = torch.randperm(len(photographs), generator=torch.Generator().manual_seed(settings.seed))[:POOL]
    progress = stage("making images", len(modules))
    pool = pooled(photographs[order].to(device), modules, bf16=settings.bf16, progress=progress)
    pool = pool[[i for i, images in enumerate(pool) if (images != images[:1]).any()]]  # dead ones make one image
    first = None if start is None else read_fingerprint_network(Path(start))[0].network
    training = FingerprintTraining(settings, pool, default_denoiser(), first)
    checkpoint = out.with_name(out.name + ".training")
    if checkpoint.exists():
        training.restore(bundle.read(checkpoint, CHECKPOINT).state)
    progress = stage("training the fingerprint network", settings.steps)
    progress(min(training.done, settings.steps))
    log = out.with_name(out.name + ".csv")
    while training.done < settings.steps:
        found = training.step()
        progress(1)
        with log.open("a") as file:
            file.write(",".join([str(training.done), *(f"{value:.4f}" for value in found.values())]) + "\n")
        if training.done % save_every == 0 or training.done == settings.steps:
            bundle.write(checkpoint, CHECKPOINT, training.state(), overwrite=True)
    extractor = FingerprintExtractor(training.finished())
    world = world_of(extractor, [one.module().to(device) for one in unseen], others.to(device), settings.seed)
    about = {
        "training": asdict(settings),
        "models": len(pool),
        "images of each": len(order),
        "world": len(world.models),
    } | (provenance or {})
    write_fingerprint_network(extractor, world.state(), out, about, overwrite=out.exists())
    return read_fingerprint_network(out)[0]


def parted(trained: Sequence[Trained]) -> tuple[list[Trained], list[Trained]]:
    """Synthetic generators to train on, and those of every tenth blueprint by name, which are not.

    The latter in turns, so that both halves are of all kinds and no blueprint is in both, or one at most.
    """
    names = sorted({one.blueprint.name for one in trained})
    apart = names[APART // 2 :: APART]
    turns = [*apart[::2], *apart[1::2]]
    return [one for one in trained if one.blueprint.name not in apart], [
        one for name in turns for one in trained if one.blueprint.name == name
    ]


def world_of(extractor: FingerprintExtractor, generators: Sequence[nn.Module], others: Tensor, seed: int) -> World:
    """Fingerprints of 20 images of every generator, each from photographs of its own, and of photographs."""
    rng, found = torch.Generator().manual_seed(seed), []
    for generator in [nn.Identity(), *generators]:
        chosen = others[torch.randperm(len(others), generator=rng)[:IMAGES].to(others.device)].float() / 255
        found.append(extractor.extract(list(made(chosen, [generator]))))
    return World(torch.stack(found))
