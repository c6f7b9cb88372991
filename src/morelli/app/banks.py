"""Train a bank of synthetic generators, shard by shard; one that was interrupted goes on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from morelli.app.sources import Stage, silent
from morelli.errors import MismatchError, MorelliError
from morelli.generators.bank_training import BankSettings, train_together
from morelli.generators.synthetic import PAPER, Blueprint
from morelli.storage.bank import finite, read_shard, shard_of, write_shard
from morelli.storage.crops import crops
from morelli.storage.samples import find

SIDE = 64


def train_bank(
    photographs: str | Path | Sequence[str | Path] | Tensor,
    out: str | Path,
    *,
    blueprints: Sequence[Blueprint] = PAPER,
    seeds: Sequence[int] = (0, 1),
    settings: BankSettings | None = None,
    device: str = "cpu",
    stage: Stage = silent,
) -> int:
    """Train every seed of every blueprint to reproduce photographs, as in arXiv 2307.15977.

    Args:
        photographs: folders or files, of which 64×64 crops are taken; or uint8 [n, 3, h, w].
        out: the bank, a folder of one shard per blueprint. What is there already is kept; missing seeds are added.
        device: on "cuda" all seeds of a blueprint are trained together, elsewhere one after the other.
    Returns:
        How many synthetic generators were trained now; those whose weights did not stay finite are left out.
    Raises:
        UnreadableSample: no photographs. MismatchError: a tensor of others than said above, or sides that do not
            suit a blueprint. UnreadableBundle: a shard is damaged.
    """
    out, settings = Path(out), settings or BankSettings()
    if not seeds or min(seeds) < 0:
        raise MorelliError(f"the seeds are {list(seeds)}; expected at least one, none below zero.")
    if not isinstance(photographs, Tensor):
        paths = find(photographs)
        photographs = crops(paths, SIDE, each=3, progress=stage("reading photographs", len(paths)))
    multiple = max(blueprint.multiple for blueprint in blueprints)
    if photographs.dtype != torch.uint8 or photographs.ndim != 4 or photographs.shape[1] != 3 or not len(photographs):
        given = f"{photographs.dtype} {list(photographs.shape)}"
        raise MismatchError(f"photographs are {given}; expected uint8 [n, 3, h, w], at least one. Convert them first.")
    if any(side % multiple or not side for side in photographs.shape[2:]):
        sides = "x".join(map(str, photographs.shape[2:]))
        raise MismatchError(f"photographs are {sides}; expected sides that are multiples of {multiple}. Crop them.")
    about = asdict(settings) | {
        "photographs": len(photographs),
        "sha256": sha256(photographs.cpu().numpy().tobytes()).hexdigest(),
    }
    images = (photographs.float() / 255).to(device)
    progress, count = stage("training synthetic generators", len(blueprints) * len(seeds)), 0
    for blueprint in blueprints:
        there = read_shard(shard_of(out, blueprint)) if shard_of(out, blueprint).exists() else []
        missing = sorted(set(seeds) - {one.seed for one in there})
        groups = [missing] if device != "cpu" and missing else [[seed] for seed in missing]
        trained = [one for group in groups for one in train_together(blueprint, group, images, settings)]
        kept = [one for one in trained if finite(one)]
        if kept:
            write_shard(out, sorted(there + kept, key=lambda one: one.seed), about)
        count += len(kept)
        progress(len(seeds))
    return count
