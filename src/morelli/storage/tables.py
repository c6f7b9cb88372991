"""Tables: text -> rows of numbers, and back. One file holds many samples. Nothing is guessed or filled in."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morelli.errors import MismatchError, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.storage.rows import parse_rows
from morelli.storage.texts import DELIMITERS, LARGEST, counted, delimiter_of, number_in, rows_of, text_of


def parse(data: bytes, spec: SampleSpec, max_rows: int) -> tuple[Tensor, dict[str, Any]]:
    """Reads comma-, semicolon- or tab-separated numbers; a first row without any number is a header.

    Args:
        data: UTF-8 text, with or without a byte order mark.
        spec: of shape (columns,). Its range is not applied: values are kept as written. With a table rows are ordinary
            ones and are encoded: see `parse_rows`.
    Returns:
        Finite float32 [n, columns], and facts: `format`, `mode`, `delimiter`, `size` [columns, rows], `notes`.
    Raises:
        MismatchError: a row has another number of cells.
        UnreadableSample: not text, no rows, too many rows, or a cell that is not a finite number. The texts of
            both start with a verb; the caller puts the file's name in front.
    """
    if spec.form.table is not None:
        return parse_rows(data, spec.form.table, max_rows)
    (columns,) = spec.shape
    text, notes = text_of(data), []
    delimiter = delimiter_of(text, columns)
    cells = array("f")
    count = 0
    for index, (row, texts) in enumerate(rows_of(text, delimiter, columns)):
        if len(texts) != columns:
            raise MismatchError(
                f"has {counted(len(texts), 'column')} in row {row}; this model reads {columns}. "
                f"Cells were separated at {delimiter!r}; give the same columns the model was made for."
            )
        numbers = [number_in(cell) for cell in texts]
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
    rows = np.frombuffer(cells, dtype=np.float32).reshape(count, columns)
    return torch.from_numpy(rows), facts | {"notes": notes}


def _checked(number: float | None, texts: list[str], row: int, at: int) -> float:
    if number is not None and abs(number) <= LARGEST:  # false for NaN and infinity
        return number
    place, cell = f"in row {row}, column {at + 1}", ascii(texts[at][:40])
    if number is None:
        advice = "Write numbers like -1.5e3, with a decimal point, and fill or remove empty cells."
        raise UnreadableSample(f"has {cell} {place}; expected a number. {advice}")
    what = "is not a number" if math.isnan(number) else "is infinite or too large for 32 bits"
    raise UnreadableSample(f"has {cell} {place}, which {what}; expected a finite number. Remove or correct the row.")
