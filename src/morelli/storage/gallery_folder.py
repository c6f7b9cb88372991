"""A gallery on disk: one bundle per entry. Writing or removing one never touches another; readers need no lock."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from morelli.errors import UnreadableBundle
from morelli.numerics.state import State
from morelli.storage import bundle
from morelli.storage.writing import cannot_write

KIND, SUFFIX = "gallery_entry", ".entry"
MEMBERS = (bundle.MANIFEST, bundle.TENSORS)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of every member, so that the same gallery gives the same bytes


def write_entry(gallery: Path, name: str, state: State, *, overwrite: bool = False) -> str:
    """Add one entry, whole or not at all; returns its digest. Raises UnreadableBundle where it is there already."""
    return bundle.write(_place(gallery, name), KIND, state, overwrite=overwrite)


def names(gallery: Path) -> list[str]:
    """Of all entries, sorted. Raises UnreadableBundle where there is no such folder."""
    if not gallery.is_dir():
        raise UnreadableBundle(f"there is no gallery at {gallery}; `morelli enrol` makes one.")
    found: set[str] = set()
    for _ in range(2):  # one that is replaced is aside for a moment, and may be back when we look there
        visible = (name for name in _listed(gallery) if name.endswith(SUFFIX) and not name.startswith("."))
        found |= {name.removesuffix(SUFFIX) for name in visible if (gallery / name).is_dir()}
        found |= set(_aside(gallery))
    return sorted(found)


def _aside(gallery: Path) -> dict[str, Path]:
    """Entries that a writer is replacing, or was when it was killed: where what they were is."""
    outer = [gallery / name for name in _listed(gallery) if name.startswith(".") and f"{SUFFIX}.old." in name]
    return {
        name.removesuffix(SUFFIX): place / name for place in outer for name in _listed(place) if name.endswith(SUFFIX)
    }


def _copies(gallery: Path, name: str) -> list[Path]:
    """Where an entry is: at its place, aside, or both where a writer was killed after replacing it."""
    place, aside = _place(gallery, name), _aside(gallery).get(name)
    return ([place] if place.exists() or aside is None else []) + ([aside] if aside else [])


def _listed(folder: Path) -> list[str]:
    """Names in a folder that may just be vanishing."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_entries(gallery: Path) -> dict[str, State]:
    """By name. One that another process removes or replaces meanwhile is read again, or left out where it is gone."""
    found = {}
    for name in names(gallery):
        state = _read(gallery, name)
        if state is not None:
            found[name] = state
    return found


def remove_entry(gallery: Path, name: str) -> None:
    """Out of sight at once, then deleted. Raises UnreadableBundle where there is no such entry."""
    if name not in names(gallery):
        raise UnreadableBundle(f"{gallery} has no entry '{name}'; it has {', '.join(names(gallery)) or 'none'}.")
    try:
        aside = Path(tempfile.mkdtemp(prefix=f".{name}.removed.", dir=gallery))
        try:
            for i, place in enumerate(_copies(gallery, name)):
                os.rename(place, aside / str(i))
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise UnreadableBundle(f"'{name}' cannot be removed: {cannot_write(gallery, error)}") from None


def export_gallery(gallery: Path, file: Path, *, overwrite: bool = False) -> int:
    """All entries as one zip file, without compression; the same entries give the same bytes. Returns how many.

    An entry that is removed meanwhile is left out. Raises UnreadableBundle where there is none, one is damaged, or the
    file cannot be written.
    """
    if file.is_dir():
        raise UnreadableBundle(f"{file} is a folder; a gallery is exported to a file. Choose another name.")
    bundle.check_free(file, overwrite)
    states = read_entries(gallery)
    if not states:
        raise UnreadableBundle(f"{gallery} has no entries to export.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{file.name}.", dir=file.parent))
        try:
            for name, state in states.items():
                write_entry(staging, name, state)
            packed = staging / "packed"
            with zipfile.ZipFile(packed, "w") as archive:
                for place, member in ((_place(staging, name), member) for name in states for member in MEMBERS):
                    archive.writestr(_info(f"{place.name}/{member}"), (place / member).read_bytes())
            with packed.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(packed, file)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise UnreadableBundle(cannot_write(file, error)) from None
    return len(states)


def _info(member: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(member, EPOCH)
    info.create_system, info.external_attr = 3, 0o644 << 16  # the same on every system, and readable when unpacked
    return info


def import_gallery(
    file: Path, gallery: Path, *, overwrite: bool = False, check: Callable[[str, State], object]
) -> list[str]:
    """Add all entries of an exported file, each checked before any is moved into place. Returns their names.

    Entries that are there already, equal to the file's, are left as they are where others are missing: an import was
    interrupted. `check` is given the name and state of each and may raise, too. Raises UnreadableBundle where the file
    is none, an entry is damaged, or one of that name is there already.
    """
    staging = Path(tempfile.mkdtemp(prefix="morelli-import."))
    try:
        found = _unpack(file, staging)
        states = {name: bundle.read(_place(staging, name), KIND).state for name in found}
        for name, state in states.items():
            check(name, state)
        there = sorted(set(found) & set(names(gallery))) if gallery.is_dir() else []
        same = {name for name in there if _digest(_place(gallery, name)) == _digest(_place(staging, name))}
        if there and (len(same) < len(there) or len(same) == len(found)) and not overwrite:
            raise UnreadableBundle(f"{gallery} has {', '.join(there)} already. Remove them, or use `--overwrite`.")
        for name, state in states.items():
            if name not in same:  # of an import that was interrupted, say
                write_entry(gallery, name, state, overwrite=overwrite)
        return found
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _digest(place: Path) -> str | None:
    try:
        return bundle.read(place, KIND).digest
    except UnreadableBundle:
        return None


def _unpack(file: Path, staging: Path) -> list[str]:
    """Only members of the expected names and sizes are ever written, under names that we make."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            claimed = sum(info.file_size for info in archive.infolist())
            if len(members) < len(archive.infolist()) or claimed > file.stat().st_size:
                raise UnreadableBundle(f"{file} is no exported gallery: it has members twice, or compressed ones.")
            found = sorted({name.partition("/")[0].removesuffix(SUFFIX) for name in members})
            expected = {f"{name}{SUFFIX}/{member}" for name in found for member in MEMBERS}
            if set(members) != expected or not found:
                raise UnreadableBundle(f"{file} is no exported gallery: it has other members than entries' files.")
            for name in found:
                if name in ("", ".", "..") or "\\" in name or name.startswith("."):
                    raise UnreadableBundle(f"{file} has an entry that is called {name!a}; it is not imported.")
                _place(staging, name).mkdir()
                for member in MEMBERS:
                    info = members[f"{name}{SUFFIX}/{member}"]
                    with archive.open(info) as source:
                        (_place(staging, name) / member).write_bytes(source.read(info.file_size))
            return found
    except UnreadableBundle:
        raise
    except Exception as error:  # zipfile raises nearly every kind on hostile bytes
        raise UnreadableBundle(f"{file} is no exported gallery ({type(error).__name__}: {error}).") from None


def _place(gallery: Path, name: str) -> Path:
    return gallery / f"{name}{SUFFIX}"


def _read(gallery: Path, name: str, attempts: Sequence[int] = range(5)) -> State | None:
    for attempt in attempts:
        for place in _copies(gallery, name):
            try:
                return bundle.read(place, KIND).state
            except UnreadableBundle:
                if place.exists() and attempt == attempts[-1]:
                    raise
        if attempt and name not in names(gallery):
            return None
        time.sleep(0.01)
    return None
