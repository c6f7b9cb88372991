"""A CSV of results that grows file by file, so that an interrupted run can go on where it stopped."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from morelli.errors import UnreadableBundle

MORE, END = "+", "."  # the last cell: more records of the same file follow, or this was the last


class Journal:
    """Records of many files. Each cell is a JSON value, or plain text. Everything of a file is appended at once;
    what an interruption cut short is dropped when the journal is opened again.

    Args:
        path: the CSV file, which need not exist.
        owner: digest of what the records rest on; every line carries it.
        columns: names of the values of a record.
    Raises:
        UnreadableBundle: the file holds something else, or records of another owner. It is left alone.
    """

    def __init__(self, path: Path, owner: str, columns: Sequence[str]) -> None:
        self.path, self.owner, self.columns = path, owner, tuple(columns)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._read() if path.exists() else []
        self.records = [dict(zip(self.columns, map(_value, line), strict=False)) for line in whole]
        self._file = self._rewritten(whole)

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write all records of one file, through to the operating system."""
        lines = [[_cell(record[name]) for name in self.columns] for record in records]
        writer = csv.writer(self._file)
        for line in lines[:-1]:
            writer.writerow([*line, self.owner, MORE])
        writer.writerow([*lines[-1], self.owner, END])
        self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    @property
    def _header(self) -> list[str]:
        return [*self.columns, "attributor", "end"]

    def _read(self) -> list[list[str]]:
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            lines = list(csv.reader(io.StringIO(file.read().replace("\0", ""), newline="")))
        if lines and lines[0] != self._header:
            raise UnreadableBundle(
                f"{self.path} is no list of verdicts of this version; it is left alone. Name another."
            )
        whole: list[list[str]] = []
        waiting: list[list[str]] = []
        for line in lines[1:]:
            if len(line) != len(self._header) or line[-1] not in (MORE, END):
                break
            if line[-2] != self.owner:
                raise UnreadableBundle(f"{self.path} holds verdicts of another attributor; it is left alone.")
            waiting.append(line)
            if line[-1] == END:
                whole += waiting
                waiting = []
        return whole

    def _rewritten(self, whole: list[list[str]]) -> TextIO:
        """Start with what was whole. A copy takes the file's place, so nothing is lost on the way."""
        copy = self.path.with_name(f".{self.path.name}.partial")
        with copy.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self._header, *whole])
            file.flush()
            os.fsync(file.fileno())
        os.replace(copy, self.path)
        return self.path.open("a", newline="", encoding="utf-8")


def _cell(value: Any) -> str:
    plain = isinstance(value, str) and _value(value) == value
    return value if plain else json.dumps(value, sort_keys=True)


def _value(cell: str) -> Any:
    """The inverse of `_cell`: JSON where it is JSON, else text."""
    try:
        return json.loads(cell) if cell[:1] in '{["n-0123456789' else cell
    except ValueError:
        return cell
