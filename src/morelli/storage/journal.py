"""A CSV of results that grows file by file, so that an interrupted run can go on where it stopped."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from morelli.errors import UnreadableBundle
from morelli.storage.writing import alone, cannot_write, is_regular

MORE, END = "+", "."  # the last cell: more records of the same file follow, or this was the last
FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Journal:
    """Records of many files. Each cell is a JSON value, or plain text. Everything of a file is appended at once;
    what an interruption cut short is dropped when the journal is opened again. One process at a time.

    Args:
        path: the CSV file, which need not exist.
        owner: digest of what the records rest on; every line carries it.
        columns: names of the values of a record.
    Raises:
        UnreadableBundle: the file holds something else, or records of another owner; it is left alone. Or it cannot be
            written, or another process is writing it.
    """

    def __init__(self, path: Path, owner: str, columns: Sequence[str]) -> None:
        self.path, self.owner, self.columns = path, owner, tuple(columns)
        with ExitStack() as stack, self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, FLAGS, 0o666)
            if not is_regular(handle):
                os.close(handle)
                raise UnreadableBundle(f"{path} is a pipe or device; expected a file. Name another.")
            self._file = stack.enter_context(os.fdopen(handle, "r+b"))
            stack.enter_context(alone(self._file, path))
            whole = self._recovered()
            self._open = stack.pop_all()
        self.records = [dict(zip(self.columns, map(_value, line), strict=False)) for line in whole]

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write all records of one file, through to the operating system.

        Raises UnreadableBundle where it cannot, or where a value is too long to be read again.
        """
        lines = [[_cell(record[name]) for name in self.columns] for record in records]
        if (longest := max(len(cell) for line in lines for cell in line)) > csv.field_size_limit():
            raise UnreadableBundle(
                f"a value of {longest} characters cannot be kept in {self.path}; the limit is "
                f"{csv.field_size_limit()}. Judge that file without a CSV."
            )
        self._write([[*line, self.owner, MORE] for line in lines[:-1]] + [[*lines[-1], self.owner, END]])

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open, self._told() if error is None else suppress(OSError):
            os.fsync(self._file.fileno())

    @property
    def _header(self) -> list[str]:
        return [*self.columns, "attributor", "end"]

    def _write(self, lines: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(lines)
        left = memoryview(text.getvalue().encode("utf-8", "surrogateescape"))
        with self._told():
            while left:  # not buffered: what is kept back would be written, or fail, at some later time
                left = left[os.write(self._file.fileno(), left) :]

    def _recovered(self) -> list[list[str]]:
        """The lines that are whole. What an interruption cut short is cut off; a missing header is written."""
        self._file.seek(0)
        whole: list[list[str]] = []
        waiting: list[list[str]] = []
        end = 0
        lines = _lines(self._file)
        header = next(lines, None)
        if header is not None and header[0] != self._header and not (header[2] and self._begins(header[0])):
            raise UnreadableBundle(
                f"{self.path} is no list of verdicts of this version; it is left alone. Name another."
            )
        if header is not None and not header[2]:
            end = header[1]
            for line, after, torn in lines:
                if torn or len(line) != len(self._header) or line[-1] not in (MORE, END):
                    break
                if line[-2] != self.owner:
                    raise UnreadableBundle(f"{self.path} holds verdicts of another attributor; it is left alone.")
                waiting.append(line)
                if line[-1] == END:
                    whole += waiting
                    waiting, end = [], after
        self._file.seek(end)
        self._file.truncate()
        if not end:
            self._write([self._header])
        return whole

    def _begins(self, cells: Sequence[str]) -> bool:
        """Whether a torn first line can be the beginning of ours."""
        return ",".join(self._header).startswith(",".join(cells))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnreadableBundle(cannot_write(self.path, error)) from error


def _lines(file: IO[bytes]) -> Iterator[tuple[list[str], int, bool]]:
    """Cells, the offset after them, and whether the line is torn: without its end, or no CSV at all."""
    read, ended = 0, True

    def text() -> Iterator[str]:
        nonlocal read, ended
        for raw in file:
            read, ended = read + len(raw), raw.endswith(b"\n")
            yield raw.decode("utf-8", "surrogateescape")

    rows = csv.reader(text())
    while True:
        try:
            cells = next(rows, None)
        except csv.Error:  # a quote without its end takes all that follows
            cells, ended = [], False
        if cells is None:
            return
        yield cells, read, not ended


def _cell(value: Any) -> str:
    plain = isinstance(value, str) and _value(value) == value
    return value if plain else json.dumps(value, sort_keys=True)


def _value(cell: str) -> Any:
    """The inverse of `_cell`: JSON where it is JSON, else text."""
    try:
        return json.loads(cell) if cell[:1] in '{["n-0123456789' else cell
    except (ValueError, RecursionError):
        return cell
