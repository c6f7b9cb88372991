"""Names of files: what a folder, a file or a pattern stands for, in one order, however many there are."""

from __future__ import annotations

import heapq
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from morelli.errors import UnreadableSample

WILDCARDS = frozenset("*?[")
RUN = 100_000  # names of a folder that are sorted in memory
Source = str | Path | Sequence[str | Path]


def find(source: Source) -> list[Path]:
    """The files that a file name, a folder, a glob pattern, or a sequence of those stands for.

    Folders are searched to the bottom, in sorted order, without hidden files and folders, and without entering
    linked folders. A sequence keeps its order; what was found before is not repeated. No file is opened.

    Raises:
        UnreadableSample: one of them stands for no file.
    """
    return list(stream(source))


def stream(source: Source) -> Iterator[Path]:
    """What `find` finds, one by one. Of a single folder no more than RUN names of it and its parents are in memory.

    Of anything else every path is remembered, so that none comes twice. Raises what `find` raises, when it gets there.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    if not sources:
        raise UnreadableSample("no files were named; expected a file, a folder or a pattern. Name at least one.")
    single = len(sources) == 1 and os.path.isdir(sources[0])
    seen: set[str] = set()
    for one in sources:
        for path in _expand(one):
            if not single:
                place = os.path.abspath(path)
                if place in seen:
                    continue
                seen.add(place)
            yield path


def shown(text: object) -> str:
    """On one line and without control characters, whatever a file is called."""
    return str(text) if str(text).isprintable() else ascii(str(text))


def _expand(source: str | Path) -> Iterator[Path]:
    path = Path(source)
    if os.path.isdir(source):
        empty = True
        for file in _inside(path):
            empty = False
            yield file
        if empty:
            raise UnreadableSample(
                f"folder {shown(source)} holds no files (hidden ones are skipped); expected samples. Name another."
            )
    elif os.path.lexists(source):
        yield path
    elif not WILDCARDS.isdisjoint(str(source)):
        files = _matching(path)
        if not files:
            raise UnreadableSample(
                f"pattern {shown(source)} matches no file; expected samples. Check where you run it."
            )
        yield from files
    else:
        raise UnreadableSample(
            f"{shown(source)} does not exist; expected a file, a folder or a pattern. Check the path."
        )


def _inside(folder: Path) -> Iterator[Path]:
    """All files below, as sorting their paths would order them."""
    levels = [(folder, _entries(folder))]
    while levels:
        place, entries = levels[-1]
        name, is_folder = next(entries, ("", False))
        if not name:
            levels.pop()
        elif is_folder:
            levels.append((place / name, _entries(place / name)))
        else:
            yield place / name


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    """Names of files and folders in a folder, sorted, and which are folders. More than RUN are sorted on disk."""
    runs: list[Iterator[tuple[str, bool]]] = []
    names: list[tuple[str, bool]] = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                is_folder = entry.is_dir(follow_symlinks=False)
                if not entry.name.startswith(".") and (is_folder or _is_sample(entry)):
                    names.append((entry.name, is_folder))
                if len(names) == RUN:
                    runs.append(_spilled(sorted(names)))
                    names = []
    except OSError as error:
        named, why = shown(error.filename), error.strerror
        raise UnreadableSample(
            f"folder {named} cannot be listed ({why}); expected to read it. Check its rights."
        ) from error
    return heapq.merge(*runs, sorted(names))


def _is_sample(entry: os.DirEntry[str]) -> bool:
    """No linked folder, nothing that waits for somebody else, no link that leads nowhere."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _spilled(names: list[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115
    file.writelines(json.dumps(each) + "\n" for each in names)
    file.seek(0)

    def read() -> Iterator[tuple[str, bool]]:
        with file:
            for line in file:
                name, is_folder = json.loads(line)
                yield name, is_folder

    return read()


def _matching(pattern: Path) -> list[Path]:
    fixed = next(at for at, part in enumerate(pattern.parts) if not WILDCARDS.isdisjoint(part))
    root, rest = Path(*pattern.parts[:fixed]), Path(*pattern.parts[fixed:])
    shows_hidden = any(part.startswith(".") for part in rest.parts)
    try:
        matches = sorted(set(root.glob(str(rest))))
    except (OSError, ValueError) as error:
        raise UnreadableSample(
            f"pattern {shown(pattern)} is not usable ({shown(error)}); expected one like folder/*.png. Correct it."
        ) from error
    if not shows_hidden:
        matches = [p for p in matches if not any(part.startswith(".") for part in p.relative_to(root).parts)]
    return [file for match in matches for file in (_inside(match) if match.is_dir() else [match])]
