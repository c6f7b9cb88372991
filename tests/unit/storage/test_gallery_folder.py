"""A gallery on disk: entries do not touch each other, readers see whole ones, and hostile files change nothing."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from morelli.errors import UnreadableBundle
from morelli.numerics.state import State
from morelli.storage import bundle, writing
from morelli.storage.gallery_folder import (
    export_gallery,
    import_gallery,
    names,
    read_entries,
    remove_entry,
    write_entry,
)


def entry(value: float = 0.0, size: int = 64) -> State:
    return State({"value": value}, {"fingerprints": torch.full((size,), value)})


def anything(name: str, state: State) -> None:
    """No further check."""


def seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and folder below, hidden ones too, with time and bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    for i, name in enumerate(("b", "a", "c.1")):
        write_entry(tmp_path / "g", name, entry(float(i)))
    return tmp_path / "g"


def test_entries_come_back_by_name(gallery: Path) -> None:
    assert names(gallery) == list(read_entries(gallery)) == ["a", "b", "c.1"]
    assert {name: state.settings["value"] for name, state in read_entries(gallery).items()} == {
        "a": 1.0,
        "b": 0.0,
        "c.1": 2.0,
    }


def test_adding_replacing_and_removing_leave_the_others_alone(gallery: Path) -> None:
    before = seen(gallery)
    write_entry(gallery, "d", entry(4.0))
    write_entry(gallery, "d", entry(5.0), overwrite=True)
    assert read_entries(gallery)["d"].settings["value"] == 5.0
    remove_entry(gallery, "d")
    assert seen(gallery) == before  # and nothing hidden stays
    with pytest.raises(UnreadableBundle, match="exists"):
        write_entry(gallery, "a", entry(9.0))
    with pytest.raises(UnreadableBundle, match="no entry 'd'; it has a, b"):
        remove_entry(gallery, "d")
    with pytest.raises(UnreadableBundle, match=r"no entry '\.\./x'"):
        remove_entry(gallery, "../x")
    assert seen(gallery) == before


def test_no_gallery(tmp_path: Path) -> None:
    with pytest.raises(UnreadableBundle, match="morelli enrol"):
        names(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableBundle, match="cannot be written"):
        write_entry(tmp_path / "file", "a", entry())


@pytest.mark.parametrize("error", [OSError("no"), KeyboardInterrupt()], ids=["OSError", "KeyboardInterrupt"])
@pytest.mark.parametrize("step", [0, 1])
def test_a_crash_between_steps_leaves_the_old_entry(
    gallery: Path, monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException
) -> None:
    """Where the system cannot exchange two folders."""
    before, real, calls = seen(gallery), os.rename, []
    monkeypatch.setattr(writing, "_exchanged", lambda one, other: False)

    def rename(source: object, target: object) -> None:
        calls.append(source)
        if len(calls) == step + 1:
            raise error
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises((UnreadableBundle, KeyboardInterrupt)):
        write_entry(gallery, "a", entry(7.0), overwrite=True)
    monkeypatch.undo()
    assert len(calls) > step
    assert seen(gallery).keys() == before.keys()
    assert {k: v[1] for k, v in seen(gallery).items()} == {k: v[1] for k, v in before.items()}


def test_an_entry_that_another_removes_first_is_an_error_of_ours(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(source: object, target: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "rename", gone)
    with pytest.raises(UnreadableBundle, match="cannot be removed"):
        remove_entry(gallery, "a")
    assert not list(gallery.glob(".*"))


def test_readers_beside_a_writer_see_whole_entries(gallery: Path) -> None:
    """Of a replaced entry either version, of a removed one nothing; the others always."""
    stop, wrong, rounds = time.monotonic() + 1.0, [], []

    def write() -> None:
        i = 0
        while time.monotonic() < stop:
            i += 1
            write_entry(gallery, "a", entry(float(i)), overwrite=True)
            write_entry(gallery, "d", entry(-1.0), overwrite=True)
            remove_entry(gallery, "d")
            time.sleep(0.005)

    def read() -> None:
        while time.monotonic() < stop:
            try:
                found = read_entries(gallery)
                rounds.append(len(found))
                for state in found.values():
                    assert (state.tensors["fingerprints"] == state.settings["value"]).all()
                assert {"a", "b", "c.1"} <= set(found) <= {"a", "b", "c.1", "d"}
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for work in (write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(rounds) > 5
    assert not list(gallery.glob(".*"))


def test_export_and_import_give_the_same_bytes(gallery: Path, tmp_path: Path) -> None:
    assert export_gallery(gallery, tmp_path / "new" / "one.zip") == 3
    export_gallery(gallery, tmp_path / "two.zip")
    assert (tmp_path / "new" / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert import_gallery(tmp_path / "two.zip", tmp_path / "other", check=anything) == ["a", "b", "c.1"]
    ours, theirs = ({k: v[1] for k, v in seen(place).items()} for place in (gallery, tmp_path / "other"))
    assert ours == theirs
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g", "new", "other", "two.zip"]
    with zipfile.ZipFile(tmp_path / "two.zip") as archive:
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o644}


def test_export_refuses(gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    for file, says in ((tmp_path / "there", "exists"), (gallery, "is a folder")):
        with pytest.raises(UnreadableBundle, match=says):
            export_gallery(gallery, file)
    assert (tmp_path / "there").read_text() == "precious"
    export_gallery(gallery, tmp_path / "there", overwrite=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableBundle, match="no entries"):
        export_gallery(tmp_path / "empty", tmp_path / "x.zip")
    with pytest.raises(UnreadableBundle, match="cannot be written"):
        export_gallery(gallery, tmp_path / "there" / "x.zip")


def test_import_adds_or_replaces_only_where_asked(gallery: Path, tmp_path: Path) -> None:
    export_gallery(gallery, tmp_path / "g.zip")
    write_entry(gallery, "a", entry(8.0), overwrite=True)
    before = seen(gallery)
    with pytest.raises(UnreadableBundle, match=r"has a, b, c\.1 already"):
        import_gallery(tmp_path / "g.zip", gallery, check=anything)
    assert seen(gallery) == before
    import_gallery(tmp_path / "g.zip", gallery, overwrite=True, check=anything)
    assert read_entries(gallery)["a"].settings["value"] == 1.0


def members(gallery: Path) -> dict[str, bytes]:
    return {
        f"{name}.entry/{member}": (gallery / f"{name}.entry" / member).read_bytes()
        for name in names(gallery)
        for member in (bundle.MANIFEST, bundle.TENSORS)
    }


def packed(files: list[tuple[str, bytes]], **how: int) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", **how) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data, **{f"compress_{k[12:]}": v for k, v in how.items()})
    return raw.getvalue()


def renamed(old: str, new: str) -> Callable[[dict[str, bytes]], bytes]:
    return lambda files: packed([(name.replace(old, new), data) for name, data in files.items()])


def twice(files: dict[str, bytes]) -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return packed([*files.items(), ("a.entry/manifest.json", files["a.entry/manifest.json"])])


def claims_more(files: dict[str, bytes]) -> bytes:
    raw = bytearray(packed(list(files.items())))
    at = raw.index(b"PK\x01\x02")
    raw[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2  # compressed and plain size of the first member
    return bytes(raw)


def bomb(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files:
            archive.writestr(name, b"\0" * 1_000_000)
    return raw.getvalue()


def damaged_entry(files: dict[str, bytes]) -> bytes:
    return packed([*{**files, "b.entry/tensors.safetensors": b"12345678"}.items()])


HOSTILE: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "outside": renamed("a.entry/", "../a.entry/"),
    "outside by its name": renamed("a.entry", "..entry"),
    "absolute": renamed("a.entry/", "/a.entry/"),
    "backslash": renamed("a.entry/", "..\\a.entry/"),
    "hidden": renamed("a.entry", ".a.entry"),
    "no name": renamed("a.entry", ".entry"),
    "too long": renamed("a.entry", "a" * 300 + ".entry"),
    "deeper": renamed("a.entry/", "x/a.entry/"),
    "no suffix": renamed("a.entry", "a"),
    "extra": lambda files: packed([*files.items(), ("a.entry/x", b"")]),
    "missing": lambda files: packed(list(files.items())[1:]),
    "empty": lambda files: packed([]),
    "twice": twice,
    "claims more": claims_more,
    "bomb": bomb,
    "damaged": damaged_entry,
    "truncated": lambda files: packed(list(files.items()))[:-40],
    "truncated at the start": lambda files: packed(list(files.items()))[200:],
    "not a zip": lambda files: b"PK",
    "changed": lambda files: packed(list(files.items())).replace(b'"value": 2.0', b'"value": 3.0'),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_and_write_nothing(gallery: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "g.zip").write_bytes(HOSTILE[kind](members(gallery)))
    write_entry(tmp_path / "mine", "z", entry())
    before = seen(tmp_path)
    for target in ("mine", "none"):
        with pytest.raises(UnreadableBundle):
            import_gallery(tmp_path / "g.zip", tmp_path / target, check=anything)
    assert seen(tmp_path) == before


def test_bytes_changed_anywhere_are_an_error_of_ours_or_of_no_consequence(gallery: Path, tmp_path: Path) -> None:
    whole = packed(list(members(gallery).items()))
    rng = torch.Generator().manual_seed(0)
    refused = 0
    for at in torch.randint(len(whole), (25,), generator=rng).tolist() + list(range(len(whole) - 60, len(whole), 4)):
        (tmp_path / "g.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            import_gallery(tmp_path / "g.zip", tmp_path / f"t{at}", check=anything)
        except UnreadableBundle:
            refused += 1
            assert not (tmp_path / f"t{at}").exists()
    assert refused > 25


def test_a_check_is_asked_before_anything_is_written(gallery: Path, tmp_path: Path) -> None:
    export_gallery(gallery, tmp_path / "g.zip")

    def check(name: str, state: State) -> None:
        if state.settings["value"] == 2.0:
            raise UnreadableBundle(f"{name} is not liked")

    with pytest.raises(UnreadableBundle, match=r"c\.1 is not liked"):
        import_gallery(tmp_path / "g.zip", tmp_path / "h", check=check)
    assert not (tmp_path / "h").exists()


def test_what_a_killed_writer_left_is_read_replaced_and_removed(gallery: Path) -> None:
    """Between the two renames of a replacement only the old version is there, aside."""
    before = read_entries(gallery)["b"].settings
    left = gallery / ".b.entry.old.killed"
    left.mkdir()
    (gallery / "b.entry").rename(left / "b.entry")
    assert "b" in names(gallery)
    assert read_entries(gallery)["b"].settings == before
    shutil.copytree(left / "b.entry", gallery / "b.entry")
    remove_entry(gallery, "b")
    assert "b" not in names(gallery)
    assert "b" not in read_entries(gallery)
