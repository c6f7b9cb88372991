"""The fingerprint network and its world on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from prints import pictures, tiny, write_tiny

from morelli.attribution.world import World
from morelli.errors import UnreadableBundle
from morelli.storage.bundle import read
from morelli.storage.fingerprint_network import read_fingerprint_network, write_fingerprint_network


def test_round_trip_but_for_half_precision(tmp_path: Path) -> None:
    extractor, world = tiny()
    found, state = read_fingerprint_network(write_tiny(tmp_path / "n"))
    assert found.digest == read(tmp_path / "n").digest
    assert (found.most, found.network.settings) == (extractor.most, extractor.network.settings)
    assert not found.network.training
    images = list(pictures(0, 3))
    torch.testing.assert_close(found.extract(images), extractor.extract(images), rtol=0, atol=0.01)
    again = World.from_state(state)
    torch.testing.assert_close(again.models, world.models, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(again.strangers, world.strangers, rtol=1e-3, atol=1e-3)
    scaled = replace(extractor, centre=torch.ones(extractor.size), spread=2 * torch.ones(extractor.size))
    write_fingerprint_network(scaled, world.state(), tmp_path / "scaled", {})
    there = read_fingerprint_network(tmp_path / "scaled")[0].extract(images)
    torch.testing.assert_close(there, (found.extract(images) - 1) / 2, rtol=1e-3, atol=1e-3)
    with pytest.raises(UnreadableBundle, match="exists"):
        write_fingerprint_network(extractor, world.state(), tmp_path / "n", {})


def content(change: Callable[[dict], object]) -> Callable[[dict], object]:
    return lambda manifest: change(manifest["content"]["parts"])


HOSTILE = {
    "no network": lambda p: p.pop("network"),
    "no world": lambda p: p.pop("world"),
    "no most": lambda p: p["network"]["settings"].pop("most"),
    "most of 0": lambda p: p["network"]["settings"].update(most=0),
    "most of text": lambda p: p["network"]["settings"].update(most="4"),
    "another kind": lambda p: p["network"]["settings"]["backbone"].update(kind="huge"),
    "another width": lambda p: p["network"]["settings"]["backbone"].update(widths=[8, 8, 8, 16]),
    "too few widths": lambda p: p["network"]["settings"]["backbone"].update(widths=[]),
    "a width of text": lambda p: p["network"]["settings"]["backbone"].update(stem="x"),
    "a list": lambda p: p["network"]["settings"].update(backbone=[1]),
    "something else": lambda p: p["network"]["settings"]["backbone"].update(colour=1),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_networks_are_refused(tmp_path: Path, kind: str) -> None:
    path = write_tiny(tmp_path / "n") / "manifest.json"
    manifest = json.loads(path.read_text())
    HOSTILE[kind](manifest["content"]["parts"])
    path.write_text(json.dumps(manifest))
    with pytest.raises(UnreadableBundle, match="not a fingerprint network"):
        read_fingerprint_network(tmp_path / "n")
