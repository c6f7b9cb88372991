"""From a bank to a fingerprint network with its world."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from prints import TINY, pictures

from morelli import train_bank, train_fingerprint
from morelli.app.fingerprints import CODINGS, SHIFTED, parted, world_of
from morelli.app.galleries import open_network
from morelli.attribution.fingerprint_training import TrainingSettings
from morelli.errors import TooFewSamples, UnreadableBundle
from morelli.generators.bank_training import BankSettings, Trained
from morelli.generators.synthetic import PAPER, Blueprint, build

SETTINGS = TrainingSettings(3, models=4, photographs=2, backbone=TINY)
STRANGERS = torch.stack([pictures(50 + i, 4) for i in range(3)])
SHORT = BankSettings(residual=0, most_steps=1, least_steps=1, batch=1)


def bank(place: Path, blueprints: tuple[Blueprint, ...], seeds: tuple[int, ...]) -> Path:
    train_bank(pictures(0, 1, side=8), place, blueprints=blueprints, seeds=seeds, settings=SHORT)
    return place


def test_every_tenth_blueprint_is_for_the_world() -> None:
    trained = [Trained(b, seed, {}, 0.0, 1) for b in PAPER for seed in (0, 1)]
    seen, unseen = parted(trained)
    assert len(seen) + len(unseen) == len(trained)
    assert len(unseen) == 2 * 29
    assert not {one.blueprint.name for one in seen} & {one.blueprint.name for one in unseen}
    assert {one.blueprint.blocks for one in unseen} == {1, 2}


def test_a_network_is_trained_stopped_and_gone_on_with(tmp_path: Path) -> None:
    place = bank(tmp_path / "bank", PAPER[::48], (0, 1, 2))
    out = tmp_path / "new" / "net"

    def train(steps: int, target: Path):  # type: ignore[no-untyped-def]
        settings = TrainingSettings(steps, models=4, photographs=2, warm=1.0, backbone=TINY)
        return train_fingerprint(
            place, pictures(0, 4), pictures(1, 5), STRANGERS, target, settings, provenance={"data": "noise"}
        )

    extractor = train(2, out)
    opened, world = open_network(out)
    assert extractor.digest == opened.digest
    assert len(world.models) == 1 + 3
    assert world.models.shape[1:] == (5, opened.size)
    assert world.strangers.shape == (3, len(CODINGS), 4, opened.size)
    plain, *coded = world.strangers[:, : len(CODINGS) - 1].mean((0, 2))  # files do not tell that they were resized
    for one in coded:  # recentred, though each by the others' shift
        torch.testing.assert_close(one, plain, rtol=0, atol=0.05)
    assert set(world.shifts) == set(SHIFTED)
    rows = world.models.flatten(0, 1)
    torch.testing.assert_close(rows.mean(0), torch.zeros(opened.size), rtol=0, atol=1e-2)
    images = list(pictures(3, 2))
    assert torch.equal(opened.extract(images), extractor.extract(images))
    assert len((tmp_path / "new" / "net.csv").read_text().splitlines()) == 2
    again = train(2, out)
    assert again.digest == extractor.digest  # the last checkpoint, and nothing left to do
    assert len((tmp_path / "new" / "net.csv").read_text().splitlines()) == 2
    train(3, out)
    assert open_network(out)[0].digest != opened.digest  # one that was replaced is read again


def test_a_bank_without_a_world(tmp_path: Path) -> None:
    with pytest.raises(UnreadableBundle, match="train_bank"):
        train_fingerprint(tmp_path, pictures(0, 4), pictures(1, 4), STRANGERS, tmp_path / "net", SETTINGS)
    place = bank(tmp_path / "bank", PAPER[:2], (0,))
    with pytest.raises(TooFewSamples, match="0 synthetic generators for the world"):
        train_fingerprint(place, pictures(0, 4), pictures(1, 4), STRANGERS, tmp_path / "net", SETTINGS)


def test_the_world_begins_with_photographs() -> None:
    from prints import tiny

    extractor, others = tiny()[0], pictures(1, 6)
    models = world_of(extractor, [build(b, 0).eval() for b in PAPER[:3]], others, seed=0)
    plain = extractor.extract(list(others))
    assert models.shape[:2] == (4, 6)
    torch.testing.assert_close(models[0].sum(0), plain.sum(0), rtol=1e-4, atol=1e-3)
    assert (models[1].sum(0) - plain.sum(0)).norm() > 1e-3
