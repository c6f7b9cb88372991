"""Tables: text -> rows of numbers. One file holds many samples. Nothing is guessed or filled in."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morelli.errors import MismatchError, UnreadableSample
from morelli.features.protocol import SampleSpec

DELIMITERS = {"\t": "TSV", ";": "CSV", ",": "CSV"}  # in order of trust: a comma may also be a decimal mark
LARGEST = torch.finfo(torch.float32).max
LONGEST_LINE = 2**20  # characters; keeps one endless line from being split into millions of cells


def parse(data: bytes, spec: SampleSpec, max_rows: int) -> tuple[Tensor, dict[str, Any]]:
    """Reads comma-, semicolon- or tab-separated numbers; a first row without any number is a header.

    Args:
        data: UTF-8 text, with or without a byte order mark.
        spec: of shape (columns,). Its range is not applied: values are kept as written.
    Returns:
        Finite float32 [n, columns], and facts: `format`, `mode`, `delimiter`, `size` [columns, rows], `notes`.
    Raises:
        MismatchError: a row has another number of cells.
        UnreadableSample: not text, no rows, too many rows, or a cell that is not a finite number. The texts of
            both start with a verb; the caller puts the file's name in front.
    """
    (columns,) = spec.shape
    text, notes = _text(data), []
    delimiter = _delimiter(text, columns)
    cells = array("d")
    count = 0
    for index, (row, texts) in enumerate(_rows(text, delimiter, columns)):
        if len(texts) != columns:
            raise MismatchError(
                f"has {_counted(len(texts), 'column')} in row {row}; this model reads {columns}. "
                f"Cells were separated at {delimiter!r}; give the same columns the model was made for."
            )
        numbers = [_number(cell) for cell in texts]
        if index == 0 and all(number is None for number in numbers):
            notes.append("header row skipped")
            continue
        if count == max_rows:
            raise UnreadableSample(f"has more than {max_rows} rows, the limit; split it or raise max_rows.")
        cells.extend(_checked(number, texts, row, at) for at, number in enumerate(numbers))
        count += 1
    if not count:
        raise UnreadableSample(f"has no row of numbers; expected rows of {columns}. Export the table with its values.")
    facts = {"format": DELIMITERS[delimiter], "mode": "text", "delimiter": delimiter, "size": [columns, count]}
    rows = np.frombuffer(cells, dtype=np.float64).reshape(count, columns).astype(np.float32)
    return torch.from_numpy(rows), facts | {"notes": notes}


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableSample(
            f"is not UTF-8 text (byte 0x{data[error.start]:02x} at offset {error.start}); expected a table of "
            "numbers as CSV or TSV. Export it as UTF-8 text."
        ) from error


def _delimiter(text: str, columns: int) -> str:
    """The first delimiter, in order of trust, that splits the first row; a comma where none does."""
    for delimiter in DELIMITERS:
        if len(next(_rows(text, delimiter, columns), (0, []))[1]) > 1:
            return delimiter
    return ","


def _rows(text: str, delimiter: str, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Line number, as an editor counts, and cells of every row that is not blank."""
    reader = csv.reader(_lines(text, columns), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UnreadableSample(
            f"is damaged in row {reader.line_num} ({error}); expected plain cells separated by {delimiter!r}. "
            "Export the table again."
        ) from error


def _lines(text: str, columns: int) -> Iterator[str]:
    longest = max(LONGEST_LINE, 1024 * columns)
    for row, line in enumerate(io.StringIO(text, newline=""), start=1):
        if len(line) > longest:
            raise UnreadableSample(
                f"has {len(line)} characters in row {row}; a row of {columns} columns has at most {longest}. "
                "Export it as one row per line."
            )
        yield line


def _number(cell: str) -> float | None:
    text = cell.strip()
    if "_" in text or not text.isascii():  # float() would take 1_000 and digits of other scripts
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _checked(number: float | None, texts: list[str], row: int, at: int) -> float:
    if number is not None and abs(number) <= LARGEST:  # false for NaN and infinity
        return number
    place, cell = f"in row {row}, column {at + 1}", ascii(texts[at][:40])
    if number is None:
        advice = "Write numbers like -1.5e3, with a decimal point, and fill or remove empty cells."
        raise UnreadableSample(f"has {cell} {place}; expected a number. {advice}")
    what = "is not a number" if math.isnan(number) else "is infinite or too large for 32 bits"
    raise UnreadableSample(f"has {cell} {place}, which {what}; expected a finite number. Remove or correct the row.")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
