"""Training a bank: shard by shard, and on from where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from prints import save_pictures

from morelli import train_bank
from morelli.app import banks
from morelli.errors import MismatchError, MorelliError, UnreadableBundle, UnreadableSample
from morelli.generators.bank_training import BankSettings
from morelli.generators.synthetic import Blueprint
from morelli.storage.bank import read_bank, read_shard, shard_of

PLAIN, OTHER = Blueprint(1, 1, "nearest", "relu", "batch", "after"), Blueprint(1, 1, "patch", "silu", "none", "before")
SHORT = BankSettings(residual=0, most_steps=2, least_steps=1, batch=2)
PHOTOGRAPHS = torch.randint(0, 256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def train(out: Path, seeds: tuple[int, ...] = (0, 1), blueprints: tuple[Blueprint, ...] = (PLAIN,)) -> int:
    return train_bank(PHOTOGRAPHS, out, blueprints=blueprints, seeds=seeds, settings=SHORT)


def test_complete_shards_are_skipped_and_missing_ones_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(tmp_path) == 2
    shard = shard_of(tmp_path, PLAIN) / "manifest.json"
    before = shard.stat().st_mtime_ns
    assert train(tmp_path, blueprints=(PLAIN, OTHER)) == 2
    assert shard.stat().st_mtime_ns == before
    assert [(one.blueprint, one.seed) for one in read_bank(tmp_path)] == [
        (PLAIN, 0), (PLAIN, 1), (OTHER, 0), (OTHER, 1),
    ]  # fmt: skip

    def no_more(*given: object) -> None:
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(banks, "train_together", no_more)
    assert train(tmp_path, (1,), (PLAIN, OTHER)) == 0


def test_other_seeds_join_those_that_are_there(tmp_path: Path) -> None:
    train(tmp_path, (2, 0))
    kept = {one.seed: one for one in read_shard(shard_of(tmp_path, PLAIN))}
    assert train(tmp_path, (1, 2)) == 1
    found = read_shard(shard_of(tmp_path, PLAIN))
    assert [one.seed for one in found] == [0, 1, 2]
    for one in (found[0], found[2]):
        assert all(torch.equal(x, kept[one.seed].weights[name]) for name, x in one.weights.items())


def test_photographs_may_be_files(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "p", 0, 2)
    seen: dict[str, int] = {}

    def stage(what: str, count: int):  # type: ignore[no-untyped-def]
        return lambda done: seen.update({what: seen.get(what, 0) + done})

    train_bank(folder, tmp_path / "b", blueprints=[PLAIN], seeds=[0], settings=SHORT, stage=stage)
    assert seen == {"reading photographs": 2, "training synthetic generators": 1}


def test_mistakes_are_said_before_anything_is_trained(tmp_path: Path) -> None:
    def run(photographs: object, **how: object) -> None:
        train_bank(photographs, tmp_path / "b", **({"blueprints": [PLAIN], "settings": SHORT} | how))  # type: ignore[arg-type]

    for seeds in ((), (-1,)):
        with pytest.raises(MorelliError, match="at least one, none below zero"):
            run(PHOTOGRAPHS, seeds=seeds)
    for wrong in (PHOTOGRAPHS.float(), PHOTOGRAPHS[:0], PHOTOGRAPHS[:, :1], PHOTOGRAPHS[0]):
        with pytest.raises(MismatchError, match=r"expected uint8 \[n, 3, h, w\]"):
            run(wrong)
    with pytest.raises(MismatchError, match="multiples of 2"):
        run(PHOTOGRAPHS[..., :7])
    with pytest.raises(UnreadableSample, match="does not exist"):
        run(tmp_path / "none")
    assert not (tmp_path / "b").exists()


def test_a_damaged_shard_is_left_alone(tmp_path: Path) -> None:
    train(tmp_path, (0,))
    tensors = shard_of(tmp_path, PLAIN) / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(UnreadableBundle, match="instead of"):
        train(tmp_path, (0, 1))
    assert tensors.exists()


def test_weights_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    wild = BankSettings(residual=0, most_steps=3, least_steps=1, batch=2, learning_rate=1e30)
    assert train_bank(PHOTOGRAPHS, tmp_path, blueprints=[PLAIN], seeds=[0], settings=wild) == 0
    assert not list(tmp_path.iterdir())
