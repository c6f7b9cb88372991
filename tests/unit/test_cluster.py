"""Actors judge what the plain loop judges. Starts Ray on this machine: some 15 s."""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toys import imprinting_samples

import morelli
from morelli import cluster
from morelli.app import jobs
from morelli.errors import MorelliError

BUNDLE = Path(__file__).parents[1] / "artefacts" / "images-1.attributor"
pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'morelli[cluster]'"),
    pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed: pip install 'morelli[jobs]'"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 images and one that is none; four items are a part."""
    monkeypatch.setattr(jobs, "ITEMS", 4)
    place = tmp_path / "images"
    place.mkdir()
    for i, sample in enumerate(imprinting_samples(40, 7)):
        morelli.write_image(sample, place / f"{i:02d}.png", morelli.SampleSpec((3, 32, 32)))
    (place / "7-torn.png").write_bytes(b"torn")
    return place


def test_the_file_is_the_same_even_if_an_actor_dies(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = tmp_path / "whole.parquet"
    plain = morelli.attribute_to("images", BUNDLE, whole)
    once = tmp_path / "died"

    class Dying(cluster.Judge):
        def _made(self, chunk: jobs.Chunk) -> jobs.Made:
            if chunk.start == 8 and not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._made(chunk)

    monkeypatch.setattr(cluster, "Judge", Dying)
    found = cluster.attribute_to("images", BUNDLE, tmp_path / "s.parquet", actors=2)
    assert once.exists()
    assert (tmp_path / "s.parquet").read_bytes() == whole.read_bytes()
    assert found | {"out": ""} == plain | {"out": ""}


def test_another_cluster_is_joined_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray takes RAY_ADDRESS, or a cluster that runs, where it is told nothing; and then refuses `num_cpus`."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    asked: list[dict[str, Any]] = []
    ray = SimpleNamespace(init=lambda **settings: asked.append(settings))
    for address in (None, "auto"):
        cluster._start(ray, 2, address)
    assert [each["address"] for each in asked] == ["local", "auto"]
    assert asked[0]["num_cpus"] == 3
    assert "num_cpus" not in asked[1]


def test_without_ray(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MorelliError, match=r"pip install 'morelli\[cluster\]'"):
        cluster.attribute_to(folder, BUNDLE, tmp_path / "s.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
