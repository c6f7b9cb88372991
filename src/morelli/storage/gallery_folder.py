"""A gallery on disk: one bundle per entry. Writing or removing one never touches another; readers need no lock."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from morelli.errors import UnreadableBundle
from morelli.numerics.state import State
from morelli.storage import bundle

KIND, SUFFIX = "gallery_entry", ".entry"
MEMBERS = (bundle.MANIFEST, bundle.TENSORS)
ENTRY_LIMIT = 512 * 2**20
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of every member, so that the same gallery gives the same bytes


def write_entry(gallery: Path, name: str, state: State, *, overwrite: bool = False) -> str:
    """Add one entry, whole or not at all; returns its digest. Raises UnreadableBundle where it is there already."""
    return bundle.write(_place(gallery, name), KIND, state, overwrite=overwrite)


def names(gallery: Path) -> list[str]:
    """Of all entries, sorted. Raises UnreadableBundle where there is no such folder."""
    if not gallery.is_dir():
        raise UnreadableBundle(f"there is no gallery at {gallery}; `morelli enrol` makes one.")
    return sorted(path.name.removesuffix(SUFFIX) for path in gallery.glob(f"[!.]*{SUFFIX}") if path.is_dir())


def read_entries(gallery: Path) -> dict[str, State]:
    """By name. One that another process removes or replaces meanwhile is read again, or left out where it is gone."""
    found = {}
    for name in names(gallery):
        state = _read(_place(gallery, name))
        if state is not None:
            found[name] = state
    return found


def remove_entry(gallery: Path, name: str) -> None:
    """Out of sight at once, then deleted. Raises UnreadableBundle where there is no such entry."""
    place = _place(gallery, name)
    if name not in names(gallery):
        raise UnreadableBundle(f"{gallery} has no entry '{name}'; it has {', '.join(names(gallery)) or 'none'}.")
    aside = Path(tempfile.mkdtemp(prefix=f".{name}.removed.", dir=gallery))
    os.rename(place, aside / place.name)
    shutil.rmtree(aside)


def export_gallery(gallery: Path, file: Path, *, overwrite: bool = False) -> int:
    """All entries as one zip file, without compression; the same entries give the same bytes. Returns how many."""
    if file.exists() and not overwrite:
        raise UnreadableBundle(f"{file} exists. Choose another name, or overwrite it (`--overwrite`).")
    kept = names(gallery)
    if not kept:
        raise UnreadableBundle(f"{gallery} has no entries to export.")
    handle, staging = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as raw, zipfile.ZipFile(raw, "w") as archive:
            for name in kept:
                place = _place(gallery, name)
                bundle.read(place, KIND)
                for member in MEMBERS:
                    archive.writestr(zipfile.ZipInfo(f"{place.name}/{member}", EPOCH), (place / member).read_bytes())
        os.replace(staging, file)
    finally:
        Path(staging).unlink(missing_ok=True)
    return len(kept)


def import_gallery(file: Path, gallery: Path, *, overwrite: bool = False) -> list[str]:
    """Add all entries of an exported file, each checked before any is moved into place. Returns their names.

    Raises UnreadableBundle where the file is none, an entry is damaged, or one of that name is there already.
    """
    gallery.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".import.", dir=gallery))
    try:
        found = _unpack(file, staging)
        states = {name: bundle.read(_place(staging, name), KIND).state for name in found}
        there = sorted(set(found) & set(names(gallery)))
        if there and not overwrite:
            raise UnreadableBundle(f"{gallery} has {', '.join(there)} already. Remove them, or use `--overwrite`.")
        for name, state in states.items():
            write_entry(gallery, name, state, overwrite=overwrite)
        return found
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack(file: Path, staging: Path) -> list[str]:
    """Only members of the expected names and sizes are ever written, under names that we make."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            found = sorted({name.partition("/")[0].removesuffix(SUFFIX) for name in members})
            expected = {f"{name}{SUFFIX}/{member}" for name in found for member in MEMBERS}
            if set(members) != expected or not found:
                raise UnreadableBundle(f"{file} is no exported gallery: it has other members than entries' files.")
            for name in found:
                if name in ("", ".", "..") or "\\" in name or name.startswith("."):
                    raise UnreadableBundle(f"{file} has an entry that is called '{name}'; it is not imported.")
                _place(staging, name).mkdir()
                for member in MEMBERS:
                    info = members[f"{name}{SUFFIX}/{member}"]
                    if info.file_size > ENTRY_LIMIT:
                        raise UnreadableBundle(f"{file}: entry '{name}' claims {info.file_size:,} bytes; too many.")
                    with archive.open(info) as source:
                        (_place(staging, name) / member).write_bytes(source.read(ENTRY_LIMIT))
            return found
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UnreadableBundle(f"{file} is no exported gallery ({type(error).__name__}: {error}).") from None


def _place(gallery: Path, name: str) -> Path:
    return gallery / f"{name}{SUFFIX}"


def _read(place: Path, attempts: Sequence[int] = range(5)) -> State | None:
    for attempt in attempts:
        try:
            return bundle.read(place, KIND).state
        except UnreadableBundle:
            if not place.exists() and attempt:
                return None
            if attempt == attempts[-1]:
                raise
            time.sleep(0.01)
    return None
