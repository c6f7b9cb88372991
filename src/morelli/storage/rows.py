"""Ordinary rows of a table, numbers and categories mixed: text -> encoded rows, and encoded rows -> text."""

from __future__ import annotations

import csv
import io
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morelli.errors import MismatchError, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.numerics.columns import Category, Column, Table
from morelli.storage.texts import DELIMITERS, LARGEST, counted, delimiter_of, number_in, rows_of, text_of
from morelli.storage.writing import replace_file

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?"))
SHOWN = 8  # names or values in a message


def parse_rows(data: bytes, table: Table, max_rows: int) -> tuple[Tensor, dict[str, Any]]:
    """Rows as `read_values` reads them, encoded by the table: float32 [n, table.width]; and the same facts."""
    values, facts = read_values(data, table, max_rows)
    return table.encode(values), facts


def read_values(data: bytes, table: Table, max_rows: int) -> tuple[Tensor, dict[str, Any]]:
    """Reads ordinary rows, numbers and categories mixed.

    A first row with one of the columns' names is a header: columns are then found by name, in any order, and others are
    not read. Without one, cells are taken in the table's order. Numbers with more decimals than the table writes are
    rounded to those, as its own rows are.

    Returns:
        Float64 [n, columns], a category as its place; and facts as of `tables.parse`.
    Raises:
        MismatchError: a column is missing, or a row has another number of cells.
        UnreadableSample: not text, no rows, too many, a missing value, a number that is none, or an unknown category;
            row and column are named.
    """
    text, notes = text_of(data), []
    count = len(table.columns)
    delimiter = delimiter_of(text, count)
    places, cells_in_row = list(range(count)), count
    values, finer, read = array("d"), 0, 0
    for index, (row, texts) in enumerate(rows_of(text, delimiter, count)):
        if index == 0 and not set(table.names).isdisjoint(stripped := [cell.strip() for cell in texts]):
            places, cells_in_row = _found(table, stripped), len(texts)
            if unread := [name for name in stripped if name not in table.names]:
                notes.append(f"columns not read: {', '.join(unread[:SHOWN])}")
            continue
        if len(texts) != cells_in_row:
            raise MismatchError(
                f"has {counted(len(texts), 'column')} in row {row}; expected {cells_in_row}. Cells were separated at "
                f"{delimiter!r}; this model reads {', '.join(table.names[:SHOWN])}."
            )
        if read == max_rows:
            raise UnreadableSample(f"has more than {max_rows} rows, the limit; split it or raise max_rows.")
        for column, place in zip(table.columns, places, strict=True):
            value = _value(texts[place], column, row)
            decimals = getattr(column, "decimals", None)
            rounded = value if decimals is None else round(value, decimals)
            finer += abs(rounded - value) > 1e-9 * max(1.0, abs(value))
            values.append(rounded)
        read += 1
    if not read:
        raise UnreadableSample(f"has no row; expected rows of {', '.join(table.names[:SHOWN])}. Export the table anew.")
    if finer:
        notes.append(f"{counted(finer, 'value')} had more decimals than this model writes and were rounded")
    facts = {"format": DELIMITERS[delimiter], "mode": "text", "delimiter": delimiter, "size": [count, read]}
    rows = torch.from_numpy(np.frombuffer(values, dtype=np.float64).reshape(read, count).copy())
    return rows, facts | {"notes": notes}


def write_rows(samples: Tensor, path: str | Path, spec: SampleSpec, delimiter: str = ",") -> None:
    """Encoded rows [n, spec.form.table.width] → a table with a header, as the model's owner writes it, rounded.

    Raises MismatchError where the spec has no table or the rows are of another one.
    """
    if spec.form.table is None:
        raise MismatchError("these samples are no ordinary rows: their head was made without a table.")
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(spec.form.table.names)
    for row in spec.form.table.decode(samples).tolist():
        writer.writerow([_cell(value, column) for value, column in zip(row, spec.form.table.columns, strict=True)])
    replace_file(Path(path), text.getvalue().encode())


def _cell(value: float, column: Column) -> str:
    if isinstance(column, Category):
        return column.values[int(value)]
    return f"{value:.9g}" if column.decimals is None else f"{value:.{column.decimals}f}"


def _found(table: Table, header: list[str]) -> list[int]:
    missing = [name for name in table.names if name not in header]
    if missing:
        raise MismatchError(
            f"has no column {', '.join(map(ascii, missing[:SHOWN]))}; this model reads "
            f"{', '.join(table.names[:SHOWN])}, and the header has {', '.join(map(ascii, header[:SHOWN]))}."
        )
    twice = next((name for name in table.names if header.count(name) > 1), None)
    if twice is not None:
        raise MismatchError(f"has column {twice!r} twice; expected each once. Remove one.")
    return [header.index(name) for name in table.names]


def _value(cell: str, column: Column, row: int) -> float:
    text = cell.strip()
    place = f"in row {row}, column {column.name!r}"
    if isinstance(column, Category):
        if text in column.values:
            return float(column.values.index(text))
        known = ", ".join(map(ascii, column.values[:SHOWN])) + (", …" if len(column.values) > SHOWN else "")
        what = f"has no value {place}" if text.lower() in MISSING else f"has {text[:40]!a} {place}"
        raise UnreadableSample(f"{what}; this model makes {known}. Correct or remove the row.")
    number = number_in(text)
    if number is not None and abs(number) <= LARGEST:
        return number
    if text.lower() in MISSING:
        raise UnreadableSample(f"has no value {place}; expected a number. Fill it, or remove the row.")
    raise UnreadableSample(f"has {text[:40]!a} {place}; expected a finite number like -1.5e3. Correct the row.")
