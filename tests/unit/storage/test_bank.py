"""A bank on disk: shards come back as they were, and damaged ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from morelli.errors import UnreadableBundle
from morelli.generators.bank_training import Trained
from morelli.generators.synthetic import Blueprint, build
from morelli.storage.bank import finite, read_bank, read_shard, shard_of, write_shard

PLAIN = Blueprint(1, 1, "nearest", "relu", "batch", "after")
OTHER = Blueprint(1, 2, "nearest", "relu", "batch", "after", latent=4)


def trained(blueprint: Blueprint, seed: int) -> Trained:
    weights = {name: x.detach().clone() for name, x in build(blueprint, seed).state_dict().items()}
    return Trained(blueprint, seed, weights, 0.25, 12)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    write_shard(tmp_path, [trained(PLAIN, 0), trained(PLAIN, 10)], {"data": "none"})
    return shard_of(tmp_path, PLAIN)


def test_round_trip_but_for_half_precision(shard: Path) -> None:
    first, second = read_shard(shard)
    assert (first.blueprint, first.seed, second.seed, first.residual, first.steps) == (PLAIN, 0, 10, 0.25, 12)
    for name, x in trained(PLAIN, 10).weights.items():
        assert second.weights[name].dtype == x.dtype
        assert torch.equal(second.weights[name], x.half().float() if x.is_floating_point() else x)
    with torch.no_grad():
        assert second.module()(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_a_bank_is_all_its_shards(shard: Path, tmp_path: Path) -> None:
    write_shard(tmp_path, [trained(OTHER, 4)], {})
    assert [(one.blueprint, one.seed) for one in read_bank(tmp_path)] == [(PLAIN, 0), (PLAIN, 10), (OTHER, 4)]
    with pytest.raises(UnreadableBundle, match="train_bank"):
        list(read_bank(tmp_path / "nowhere"))


def test_weights_that_half_precision_does_not_hold_are_seen() -> None:
    one = trained(PLAIN, 0)
    assert finite(one)
    assert not finite(replace(one, residual=float("nan")))
    name = next(name for name, x in one.weights.items() if x.is_floating_point())
    one.weights[name].view(-1)[0] = 70_000.0
    assert not finite(one)


def content(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        manifest = json.loads((path / "manifest.json").read_text())
        change(manifest["content"])
        (path / "manifest.json").write_text(json.dumps(manifest))

    return damage


def drop_a_tensor(path: Path) -> None:
    tensors = load((path / "tensors.safetensors").read_bytes())
    tensors.pop(next(iter(tensors)))
    blob = save(tensors)
    (path / "tensors.safetensors").write_bytes(blob)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest |= {"sha256": sha256(blob).hexdigest(), "bytes": len(blob)}
    (path / "manifest.json").write_text(json.dumps(manifest))


def truncate(path: Path) -> None:
    (path / "tensors.safetensors").write_bytes((path / "tensors.safetensors").read_bytes()[:-1])


HOSTILE = [
    (content(lambda c: c["settings"].pop("blueprint")), "blueprint"),
    (content(lambda c: c["settings"].update(blueprint=[1, 2])), "not a shard"),
    (content(lambda c: c["settings"]["blueprint"].update(blocks=9)), "blocks is 9"),
    (content(lambda c: c["settings"]["blueprint"].update(extra=9)), "extra"),
    (content(lambda c: c["settings"]["blueprint"].update(upsampling="bilinear")), "it holds k1-l1-bilinear"),
    (content(lambda c: c["parts"]["0"]["settings"].pop("steps")), "steps"),
    (content(lambda c: c["parts"]["0"]["settings"].update(residual=[])), "not a shard"),
    (content(lambda c: c["parts"].update(x=c["parts"].pop("0"))), "not a shard"),
    (drop_a_tensor, "another network"),
    (truncate, "bytes instead of"),
]


@pytest.mark.parametrize(("damage", "says"), HOSTILE, ids=[says for _, says in HOSTILE])
def test_damaged_shards_are_refused(shard: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(shard)
    with pytest.raises(UnreadableBundle, match=says):
        read_shard(shard)
