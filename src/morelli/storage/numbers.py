"""A table to train on: its columns' names, numbers, and the decimals they are written with."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from torch import Tensor

from morelli.errors import UnreadableSample
from morelli.numerics.columns import Number, Table
from morelli.storage.rows import read_values
from morelli.storage.samples import LIMITS
from morelli.storage.texts import delimiter_of, number_in, rows_of, text_of

USUAL = 0.95  # share of a column's values that its decimals write in full; a few may have more
MOST = 9


def read_numbers(path: str | Path, without: Collection[str] = ()) -> tuple[list[str], Tensor, list[int]]:
    """Names of all columns but `without`, their numbers [n, c] in float64, and of each how many decimals it has.

    Raises UnreadableSample: no file, no header, or a cell that is no number; MismatchError: rows of other lengths.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableSample(f"{path} cannot be read ({error.strerror}); expected a table as CSV.") from None
    try:
        text = text_of(data)
        header = [cell.strip() for cell in next(rows_of(text, delimiter_of(text, 1), 1), (0, []))[1]]
        unknown = [name for name in without if name not in header]
        if unknown:
            raise UnreadableSample(f"has no column {unknown[0]!r} to leave out; the header has {', '.join(header)}.")
        names = [name for name in header if name not in without]
        if not names or any(number_in(name) is not None for name in names):
            raise UnreadableSample(f"has no header with names but {', '.join(names[:8])}. Put one above the numbers.")
        exact, _ = read_values(data, Table(tuple(Number(name) for name in names)), LIMITS.max_rows)
    except UnreadableSample as error:
        raise UnreadableSample(f"{path.name} {error}") from error
    return names, exact, [_decimals(exact[:, i]) for i in range(len(names))]


def _decimals(values: Tensor) -> int:
    for places in range(MOST):
        rounded = (values * 10**places).round() / 10**places
        near = (rounded - values).abs() <= 1e-9 * values.abs().clamp_min(1.0)
        if near.double().mean() >= USUAL:
            return places
    return MOST
