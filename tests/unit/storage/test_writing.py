"""Whole files or none, folders exchanged in one step, and several writers at once."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from morelli.errors import MorelliError, UnreadableBundle
from morelli.numerics.state import State
from morelli.storage import bundle, writing
from morelli.storage.evidence import write_page
from morelli.storage.gallery_folder import names, read_entries, write_entry
from morelli.storage.writing import cannot_write, move_into_place, replace_file, write_whole


def test_a_file_is_replaced_and_keeps_its_rights_and_links(tmp_path: Path) -> None:
    place, link = tmp_path / "sub" / "a.txt", tmp_path / "link"
    write_whole(place, "one")
    place.chmod(0o640)
    link.symlink_to(place)
    write_whole(link, "two \ud800")
    assert place.read_text() == "two \\ud800"
    assert link.is_symlink() and stat.S_IMODE(place.stat().st_mode) == 0o640
    assert [path.name for path in place.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_keeps_the_old_and_says_the_path(tmp_path: Path, monkeypatch, failing: str) -> None:
    def fail(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(
        MorelliError, match=r"/a cannot be written \(No space left on device\)\. The disk is full: make"
    ):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_devices_are_written_to(tmp_path: Path) -> None:
    replace_file(Path(os.devnull), b"x")
    assert not Path(os.devnull).is_file()
    with pytest.raises(MorelliError, match="/dev/full cannot be written"):
        write_whole(Path("/dev/full"), b"x")


def test_advice() -> None:
    assert "can only be read" in cannot_write("x", OSError(errno.EROFS, "Read-only file system"))
    assert "shorter" in cannot_write("x", OSError(errno.ENAMETOOLONG, "File name too long"))
    assert cannot_write("x", OSError("odd")) == "x cannot be written (odd). Check the folder."


@pytest.mark.parametrize("exchanges", [True, False])
def test_folders(tmp_path: Path, monkeypatch, exchanges: bool) -> None:
    if not exchanges:
        monkeypatch.setattr(writing, "_exchanged", lambda one, other: False)
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    move_into_place(tmp_path / "new", tmp_path / "old", replace=True)
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["new"]
    move_into_place(tmp_path / "old", tmp_path / "third", replace=False)
    assert (tmp_path / "third" / "new").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_page_about_a_file_whose_name_is_no_unicode(tmp_path: Path) -> None:
    write_page("comparison", tmp_path / "r.html", PAGE | {"sources": [os.fsdecode(b"\xff.png")]})
    assert "\\udcff.png" in (tmp_path / "r.html").read_text(encoding="utf-8")


PAGE: dict = {"result": {}, "notes": {os.fsdecode(b"\xff.png"): ""}, "counts": {"own": 1, "held_out": 1, "other": 1}}
PAGE |= {"rate": 0.1, "histograms": {}, "maps": "", "sheets": {}}
PAGE["counts"]["test"] = 1


def test_what_was_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    first = bundle.write(tmp_path / "b", "thing", State({"by": "me"}))
    bundle.write(tmp_path / "b", "thing", State({"by": "them"}), overwrite=True)
    with pytest.raises(UnreadableBundle, match="changed by another process meanwhile"):
        bundle.write(tmp_path / "b", "thing", State({"by": "me again"}), overwrite=True, replaces=first)
    assert bundle.read(tmp_path / "b").state.settings == {"by": "them"}


def test_a_linked_bundle_is_replaced_behind_its_link(tmp_path: Path) -> None:
    bundle.write(tmp_path / "b", "thing", State())
    (tmp_path / "link").symlink_to(tmp_path / "b")
    bundle.write(tmp_path / "link", "thing", State({"new": True}), overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert bundle.read(tmp_path / "b").state.settings == {"new": True}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "link"]


WRITER = """
import sys
from pathlib import Path
import torch
from morelli.errors import UnreadableBundle
from morelli.numerics.state import State
from morelli.storage.gallery_folder import write_entry
me, place = sys.argv[1], Path(sys.argv[2])
state = State({"by": me}, {"x": torch.full((20_000,), float(me))})
print("ready", flush=True)
sys.stdin.readline()
refused = 0
for i in range(20):
    write_entry(place, f"{me}-{i}", state)
    write_entry(place, "both", state, overwrite=True)
    try:
        write_entry(place, f"once-{i}", state)
    except UnreadableBundle as error:
        assert "exists" in str(error) or "another process" in str(error), error
        refused += 1
print(refused)
"""


def test_two_writers_and_a_reader(tmp_path: Path) -> None:
    """No entry is lost, doubled, mixed or missing for a moment, and of two new ones of a name the second is refused."""
    place = tmp_path / "g"
    write_entry(place, "both", State({"by": "0"}, {"x": torch.zeros(20_000)}))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, me, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for me in "12"
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdin is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    looks = 0
    while any(writer.poll() is None for writer in writers):
        state = bundle.read(place / "both.entry", "gallery_entry").state  # always there, and whole
        assert (state.tensors["x"] == float(state.settings["by"])).all()
        looks += 1
    said = [writer.communicate()[0] for writer in writers]
    assert all(writer.returncode == 0 for writer in writers)
    assert sum(map(int, said)) == 20
    assert looks
    expected = {f"{me}-{i}" for me in "12" for i in range(20)} | {f"once-{i}" for i in range(20)} | {"both"}
    assert set(names(place)) == set(read_entries(place)) == expected
    assert not [path for path in place.iterdir() if path.name.startswith(".")]
