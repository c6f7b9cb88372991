"""Names come in one order, whole, and sorted on disk where they are many."""

import os
import subprocess
from pathlib import Path

import pytest

from morelli.storage import listing
from morelli.storage.listing import find, stream


@pytest.mark.parametrize("run", [2, 3, 100_000])
def test_the_order_is_that_of_sorted_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: int) -> None:
    names = ["b", "a.png", "a/z", "a/b/c", "a-b", "ab/1", "new\nline", '"quoted"', "é", "a/.hidden", ".no/x"]
    for name in [*names, os.fsdecode(b"not\xffutf8")]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(listing, "RUN", run)
    files = [p for p in tmp_path.rglob("*") if p.is_file() and "/." not in str(p) and "loop" not in p.parts]
    assert find(tmp_path) == sorted(files)
    assert len(files) == len(names) - 1


def test_a_deep_folder(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 1200)
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):  # longer than any stack, and than a path that makedirs would take at once
        os.mkdir("d", dir_fd=here)
        here, before = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(before)
    os.close(os.open("x.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    found = list(stream(tmp_path))
    subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)  # pytest's own way of clearing up is too short
    assert found == [deep / "x.png"]


def test_what_was_found_is_not_repeated(tmp_path: Path) -> None:
    for name in ("a/1", "a/2", "b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert find([tmp_path / "a" / "2", tmp_path]) == [tmp_path / "a/2", tmp_path / "a/1", tmp_path / "b"]
    assert find(str(tmp_path / "**")) == [tmp_path / "a/1", tmp_path / "a/2", tmp_path / "b"]
