"""Where samples lie: files, members of tar archives and rows of Parquet files. Listed without reading what they hold.

Nothing is unpacked to disk, so names in an archive are names and nothing else; what could only be meant to deceive is
refused under its name.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from morelli.errors import MorelliError, UnreadableSample
from morelli.storage.arrow import load_arrow
from morelli.storage.listing import shown
from morelli.storage.samples import LIMITS, Limits

TAR, PARQUET = ".tar", ".parquet"
BESIDE = frozenset((".json", ".jsonl", ".txt", ".cls", ".caption", ".xml", ".yaml"))  # text beside WebDataset's samples
ROWS = 16  # of a Parquet file in memory at once
HEADER = 2**20  # bytes of a tar header; longer ones are no names


@dataclass(frozen=True)
class Item:
    """One file, or one sample's worth of a larger one.

    Attributes:
        name: what verdicts call it: a path, `shard.tar/key.png`, or `rows.parquet/17`.
        file: the path to open.
        place: (first byte, bytes) of a tar member, (row,) of a Parquet file; none of a file of its own.
        column: the Parquet column that holds the bytes.
        data: the content, where it lies in no file.
        reason: why it is refused without being read, else empty.
        stamp: changes when the file does.
    """

    name: str
    file: str = ""
    place: tuple[int, ...] = ()
    column: str = ""
    data: bytes | None = None
    reason: str = ""
    stamp: str = ""


def items(paths: Iterable[Path], column: str | None = None, limits: Limits = LIMITS) -> Iterator[Item]:
    """Every sample in the files, in their order: files ending in .tar and .parquet are opened, others are samples.

    Of tar archives regular files, without hidden ones and text beside samples (`BESIDE`); anything else in them, and
    an archive that is damaged from some point on, is an item with a `reason`.

    Args:
        column: of Parquet files, the one with bytes, or structs {bytes, path} as Hugging Face writes them; by default
            the only one there is.
    Raises:
        MorelliError: pyarrow is not installed, and there is a Parquet file.
    """
    for path in paths:
        kind, name = path.suffix.lower(), str(path)
        listed = {TAR: _members, PARQUET: _rows}.get(kind)
        if listed is None:
            yield Item(name, name, stamp=_stamp(path))
            continue
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise UnreadableSample("is no regular file; expected an archive. Name another.")
            yield from listed(path, column, limits)
        except MorelliError as error:
            if not isinstance(error, UnreadableSample):
                raise
            yield Item(name, name, reason=f"{shown(path.name)} {error}", stamp=_stamp(path))
        except Exception as error:  # readers raise nearly every kind on hostile bytes
            reason = (
                f"{shown(path.name)} is damaged or cut short ({_said(error)}); expected a sound {kind}. Copy it again."
            )
            yield Item(name, name, reason=reason, stamp=_stamp(path))


class Contents:
    """The bytes of items. Those of Parquet rows come cheap in the order in which they are listed."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._open: tuple[str, str, str] = ("", "", "")
        self._rows: Iterator[tuple[int, bytes | None]] = iter(())

    def of(self, item: Item) -> bytes | None:
        """None for a file of its own, which `samples.read` opens. Raises UnreadableSample."""
        if item.reason:
            raise UnreadableSample(item.reason)
        if item.data is not None or not item.place:
            return item.data
        name = shown(item.name.rpartition("/")[2])
        try:
            data = self._member(item) if len(item.place) == 2 else self._row(item)
        except MorelliError:
            raise
        except Exception as error:
            raise UnreadableSample(f"{name} cannot be read ({_said(error)}). Copy {shown(item.file)} again.") from error
        if not data:
            raise UnreadableSample(f"{name} is empty; expected a sample. Make {shown(item.file)} again.")
        if len(data) > self.limits.max_bytes:
            raise UnreadableSample(_too_large(name, len(data), self.limits))
        return data

    def _member(self, item: Item) -> bytes:
        start, size = item.place
        with open(item.file, "rb") as file:
            file.seek(start)
            data = file.read(size)
        if len(data) < size:  # else a table would be judged on the rows that are left
            raise EOFError(f"{len(data)} of {size} bytes")
        return data

    def _row(self, item: Item) -> bytes | None:
        (wanted,) = item.place
        here = (item.file, item.column, item.stamp)
        for fresh in (self._open != here, True):
            if fresh:
                self._open, self._rows = here, _values(item.file, item.column, wanted)
            for row, value in self._rows:
                if row == wanted:
                    return value
                if row > wanted:
                    break  # asked for out of order: start again
        raise UnreadableSample(f"{shown(item.name)} is gone; the file was changed. Start again.")


def _members(path: Path, column: str | None, limits: Limits) -> Iterator[Item]:
    stamp = _stamp(path)
    with path.open("rb") as file, tarfile.TarFile(fileobj=_Careful(file)) as archive:  # type: ignore[arg-type]
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would remember every one
            inside = PurePosixPath(member.name)
            if member.size < 0 or archive.offset <= member.offset:
                raise tarfile.ReadError(f"{member.size} bytes at byte {member.offset}")
            if reason := _suspicion(member, limits):
                yield Item(f"{path}/{inside}", reason=f"{shown(inside)} {reason}", stamp=f"{stamp}:{member.offset}")
            elif not member.isdir() and inside.suffix.lower() not in BESIDE and not _hidden(inside):
                yield Item(f"{path}/{inside}", str(path), (member.offset_data, member.size), stamp=stamp)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"no end where the archive ends, at byte {archive.offset}")


def _suspicion(member: tarfile.TarInfo, limits: Limits) -> str:
    parts = PurePosixPath(member.name).parts
    if ".." in parts or member.name.startswith("/"):
        return "points out of its archive; expected a name inside it. Make the archive again."
    if member.isdir():
        return ""
    if not member.isreg() or member.issparse():
        return "is a link, a device or has holes; expected a regular file in the archive. Store the sample itself."
    if member.size > limits.max_bytes:
        return f"has {member.size} bytes; the limit is {limits.max_bytes}. Give a smaller file."
    return ""


def _hidden(inside: PurePosixPath) -> bool:
    return any(part.startswith(".") for part in inside.parts)


class _Careful:
    """A file whose reads are of bounded size: a header may claim any length for a name."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.name, self.mode = "", "rb"
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _rows(path: Path, column: str | None, limits: Limits) -> Iterator[Item]:
    stamp = _stamp(path)
    with load_arrow().parquet.ParquetFile(path) as file:
        chosen, count = _column(file.schema_arrow, column), file.metadata.num_rows
    if count > os.stat(path).st_size:
        raise UnreadableSample(f"claims {count} rows, more than it has bytes; expected samples. Make it again.")
    for row in range(count):
        yield Item(f"{path}/{row}", str(path), (row,), chosen, stamp=stamp)


def _column(schema: Any, named: str | None) -> str:
    """The path of the column of bytes in the file: `image`, or `image.bytes` of a struct."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))

    found = {field.name: field.name for field in schema if is_bytes(field.type)}
    for field in schema:
        if types.is_struct(field.type) and any(part.name == "bytes" and is_bytes(part.type) for part in field.type):
            found[field.name] = f"{field.name}.bytes"
    if named is not None and named in found:
        return found[named]
    if named is None and len(found) == 1:
        return next(iter(found.values()))
    has = ", ".join(map(shown, found)) or "none"
    if named is not None:
        raise UnreadableSample(f"has no column {named!r} of bytes; it has: {has}. Name one of those.")
    raise UnreadableSample(f"has these columns of bytes: {has}; expected one. Name it (`--column`).")


def _values(path: str, column: str, start: int) -> Iterator[tuple[int, bytes | None]]:
    """Rows from that of the group on in which `start` lies."""
    with load_arrow().parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        row, groups = 0, list(range(file.metadata.num_row_groups))
        while groups and row + (size := file.metadata.row_group(groups[0]).num_rows) <= start:
            row += size
            groups.pop(0)
        for batch in file.iter_batches(ROWS, row_groups=groups, columns=[column], use_threads=False):
            values = batch.column(0).field("bytes") if column != batch.schema.names[0] else batch.column(0)
            for value in values:
                if row >= start:
                    yield row, value.as_py()
                row += 1


def _stamp(path: Path) -> str:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}"


def _too_large(name: str, size: int, limits: Limits) -> str:
    return f"{name} has {size} bytes; the limit is {limits.max_bytes}. Give a smaller file."


def _said(error: Exception) -> str:
    return ascii(" ".join(f"{type(error).__name__}: {error}".split()))[1:-1][:120]
