"""A bank on disk: one bundle per blueprint, the shard, which holds all its seeds in half precision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from morelli.errors import OutOfRange, UnreadableBundle
from morelli.generators.bank_training import Trained
from morelli.generators.synthetic import Blueprint, build
from morelli.numerics.state import State
from morelli.storage import bundle

KIND, SUFFIX = "synthetic_generators", ".shard"


def shard_of(bank: Path, blueprint: Blueprint) -> Path:
    return bank / f"{blueprint.name}{SUFFIX}"


def write_shard(bank: Path, trained: Sequence[Trained], provenance: Mapping[str, Any]) -> str:
    """Write all trained seeds of one blueprint; what was there is replaced. Returns the bundle's digest."""
    blueprint = trained[0].blueprint
    parts = {
        str(one.seed): State(
            {"residual": one.residual, "steps": one.steps},
            {name: x.half() if x.is_floating_point() else x for name, x in one.weights.items()},
        )
        for one in trained
    }
    state = State({"blueprint": blueprint.settings(), "provenance": dict(provenance)}, parts=parts)
    path = shard_of(bank, blueprint)
    return bundle.write(path, KIND, state, overwrite=path.exists())


def read_shard(path: Path) -> list[Trained]:
    """The seeds of one blueprint. Raises UnreadableBundle."""
    state = bundle.read(path, KIND).state
    try:
        blueprint = Blueprint(**state.settings["blueprint"])
        with torch.device("meta"):  # nothing of the size that is asked for
            shapes = {name: x.shape for name, x in build(blueprint, 0).state_dict().items()}
        found = [
            Trained(
                blueprint,
                int(seed),
                {name: x.float() if x.is_floating_point() else x for name, x in part.tensors.items()},
                float(part.settings["residual"]),
                int(part.settings["steps"]),
            )
            for seed, part in state.parts.items()
        ]
    except (KeyError, TypeError, ValueError, OutOfRange) as error:
        raise _no_shard(path, str(error)) from None
    if path.name != shard_of(path.parent, blueprint).name:
        raise _no_shard(path, f"it holds {blueprint.name}")
    if not all({name: x.shape for name, x in one.weights.items()} == shapes for one in found):
        raise _no_shard(path, "its weights are of another network")
    return found


def _no_shard(path: Path, why: str) -> UnreadableBundle:
    return UnreadableBundle(f"{path}: not a shard of a bank ({why}). Remove it, and train the bank again.")


def read_bank(bank: Path) -> Iterator[Trained]:
    """All synthetic generators of a bank, by name of blueprint. Raises UnreadableBundle where there are none."""
    shards = sorted(bank.glob(f"*{SUFFIX}"))
    if not shards:
        raise UnreadableBundle(f"{bank} holds no synthetic generators; train some with `morelli.train_bank`.")
    for shard in shards:
        yield from read_shard(shard)


def finite(trained: Trained) -> bool:
    """Whether the residual and the weights are numbers, in half precision too."""
    return math.isfinite(trained.residual) and all(
        torch.isfinite(x.half()).all() for x in trained.weights.values() if x.is_floating_point()
    )
