"""A CSV of verdicts that is written line by line, so that an interrupted run can go on."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from morelli.attribution.report import JudgedFile, Outcome, RefusedFile, Verdict
from morelli.errors import UnreadableBundle

COLUMNS = ("file", "row", "outcome", "score", "p_value", "reason", "notes", "facts", "attributor", "end")
REFUSED = "refused"
END = "."  # the last cell of a line that was written to its end


class Journal:
    """Results of one attributor. Opening reads what is there and drops what was cut off: half a line, or a table
    whose rows stop early.

    Raises:
        UnreadableBundle: the file holds something else, or results of another attributor.
    """

    def __init__(self, path: Path, attributor: str) -> None:
        self.path, self.attributor = path, attributor
        self._results: list[JudgedFile | RefusedFile] = []
        self._open_table: str | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._read()
        self._file: TextIO = self._rewrite()

    def results(self) -> list[JudgedFile | RefusedFile]:
        """What earlier runs found."""
        return list(self._results)

    def append(self, result: JudgedFile | RefusedFile) -> None:
        """Write one line, through to the operating system."""
        csv.writer(self._file).writerow(self._cells(result))
        self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def _read(self) -> None:
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.reader(file.read().replace("\0", "").splitlines(keepends=True)))
        if not rows:
            return
        if tuple(rows[0]) != COLUMNS:
            raise UnreadableBundle(
                f"{self.path} is not a list of verdicts of this version; it is left alone. Name another."
            )
        whole = [row for row in rows[1:] if len(row) == len(COLUMNS) and row[-1] == END]
        if any(row[-2] != self.attributor for row in whole):
            raise UnreadableBundle(f"{self.path} holds verdicts of another attributor; it is left alone. Name another.")
        results = [self._parsed(row) for row in whole]
        last = results[-1] if results else None
        if isinstance(last, JudgedFile) and last.row is not None and last.row + 1 < last.facts["size"][1]:
            results = [result for result in results if result.file != last.file]  # its table is incomplete
        self._results = results

    def _rewrite(self) -> TextIO:
        """Start the file with what was whole. A copy takes its place, so nothing is lost on the way."""
        copy = self.path.with_name(f".{self.path.name}.partial")
        with copy.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self._cells(result) for result in self._results)
            file.flush()
            os.fsync(file.fileno())
        os.replace(copy, self.path)
        return self.path.open("a", newline="", encoding="utf-8")

    def _cells(self, result: JudgedFile | RefusedFile) -> list[Any]:
        if isinstance(result, RefusedFile):
            cells: list[Any] = [result.file, "", REFUSED, "", "", result.reason, "{}", "{}"]
        else:
            verdict, row = result.verdict, "" if result.row is None else result.row
            score = "" if verdict.score is None else repr(verdict.score)
            p = "" if verdict.p_value is None else repr(verdict.p_value)
            notes, facts = (json.dumps(dict(x), sort_keys=True) for x in (verdict.notes, result.facts))
            cells = [result.file, row, verdict.outcome.value, score, p, verdict.reason, notes, facts]
        return [*cells, self.attributor, END]

    @staticmethod
    def _parsed(cells: list[str]) -> JudgedFile | RefusedFile:
        file, row, outcome, score, p, reason, notes, facts, *_ = cells
        if outcome == REFUSED:
            return RefusedFile(file, reason)
        numbers = (float(score) if score else None, float(p) if p else None)
        verdict = Verdict(Outcome(outcome), *numbers, reason, json.loads(notes))
        return JudgedFile(file, verdict, json.loads(facts), int(row) if row else None)
