"""Train the fingerprint network on a bank, and keep it with the world that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
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
from morelli.numerics.perturbations import parse
from morelli.storage import bundle
from morelli.storage.bank import read_bank
from morelli.storage.fingerprint_network import read_fingerprint_network, write_fingerprint_network
from morelli.storage.networks import default_denoiser

CHECKPOINT = "fingerprint_training"
APART = 10  # every tenth blueprint is for the world
IMAGES = 20  # of each model of the world
LEAST = 3  # synthetic generators of the world
LEAST_SPREAD = 1e-4
CODINGS = ("none", "jpeg:95", "jpeg:80", "webp:80", "resize:0.75")  # of strangers
SHIFTED = (*(f"jpeg:{quality}" for quality in (98, 95, 90, 85, 80, 70, 60, 50)), "webp:80")  # what files tell
POOL = 100  # photographs that go through every synthetic generator


def train_fingerprint(
    bank: str | Path,
    photographs: Tensor,
    others: Tensor,
    strangers: Tensor,
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
        strangers: uint8 [models, images, 3, 64, 64], samples of real generators, by which error rates are promised:
            20 models or more for a rate of 5 %, and nothing that is to be tested with.
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
    plain = FingerprintExtractor(training.finished())
    models = world_of(plain, [one.module().to(device) for one in unseen], others.to(device), settings.seed)
    extractor = scaled(plain, models)
    world = World(extractor.rescaled(models), *strangers_of(extractor, strangers))
    about = {
        "training": asdict(settings),
        "models": len(pool),
        "images of each": len(order),
        "world": len(models),
        "strangers": len(strangers),
        "codings": CODINGS,
    } | (provenance or {})
    write_fingerprint_network(extractor, world.state(), out, about, overwrite=out.exists())
    return read_fingerprint_network(out)[0]


def parted(trained: Sequence[Trained]) -> tuple[list[Trained], list[Trained]]:
    """Synthetic generators to train on, and those of every tenth blueprint by name, which are not."""
    apart = set(sorted({one.blueprint.name for one in trained})[APART // 2 :: APART])
    seen = [one for one in trained if one.blueprint.name not in apart]
    return seen, [one for one in trained if one.blueprint.name in apart]


def world_of(extractor: FingerprintExtractor, generators: Sequence[nn.Module], others: Tensor, seed: int) -> Tensor:
    """Fingerprints [1 + models, 20, size]: of photographs, and of every generator's images, made from its own ones."""
    rng, found = torch.Generator().manual_seed(seed), []
    for generator in [nn.Identity(), *generators]:
        chosen = others[torch.randperm(len(others), generator=rng)[:IMAGES].to(others.device)].float() / 255
        found.append(extractor.extract(list(made(chosen, [generator]))))
    return torch.stack(found)


def strangers_of(extractor: FingerprintExtractor, strangers: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Fingerprints [models, codings, images, size] of samples uint8 [models, images, 3, 64, 64], and `World.shifts`.

    Strangers are recentred by what the coding does to the others of them, as a sample of an unknown model will be.
    """
    rng = torch.Generator().manual_seed(0)

    def coded(coding: str) -> Tensor:
        return torch.stack([extractor.extract(list(parse(coding).apply(images, rng))) for images in strangers])

    found = {coding: coded(coding) for coding in dict.fromkeys(CODINGS + SHIFTED)}
    moved = {coding: (found[coding] - found["none"]).mean(1) for coding in SHIFTED}
    for coding in set(SHIFTED) & set(CODINGS):
        others = (moved[coding].sum(0) - moved[coding]) / (len(strangers) - 1)
        found[coding] = found[coding] - others[:, None]
    return torch.stack([found[coding] for coding in CODINGS], 1), {name: each.mean(0) for name, each in moved.items()}


def scaled(extractor: FingerprintExtractor, models: Tensor) -> FingerprintExtractor:
    """The extractor whose values have mean 0 and spread 1 over these fingerprints [models, images, size]."""
    rows = models.flatten(0, 1)
    return replace(extractor, centre=rows.mean(0), spread=rows.std(0).clamp_min(LEAST_SPREAD))
