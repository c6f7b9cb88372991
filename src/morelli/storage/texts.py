"""A table's text: delimiters, rows and cells. What the cells mean is decided next door."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from contextlib import suppress

import torch

from morelli.errors import UnreadableSample

DELIMITERS = {"\t": "TSV", ";": "CSV", ",": "CSV"}  # in order of trust: a comma may also be a decimal mark
LARGEST = torch.finfo(torch.float32).max
BLOCK = 2**20  # bytes that are checked at once
LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
MOST_BLANK = 100_000
LONGEST_LINE = 2**20  # characters; keeps one endless line from being split into millions of cells


def text_of(data: bytes) -> bytes:
    """The file without its byte order mark, known to be UTF-8. It is decoded line by line: whole, it may be four times
    the size.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), BLOCK):
        kept = len(decoder.getstate()[0])
        try:
            decoder.decode(data[start : start + BLOCK], start + BLOCK >= len(data))
        except UnicodeDecodeError as error:
            at = start - kept + error.start
            raise UnreadableSample(
                f"is not UTF-8 text (byte 0x{data[at]:02x} at offset {at}); expected a table of numbers as CSV or TSV. "
                "Export it as UTF-8 text."
            ) from error
    return data.removeprefix(codecs.BOM_UTF8)


def delimiter_of(text: bytes, columns: int) -> str:
    """The first delimiter, in order of trust, that splits the first row; a comma where none does."""
    for delimiter in DELIMITERS:
        with suppress(UnreadableSample):  # quoted cells end at their own delimiter alone
            if len(next(rows_of(text, delimiter, columns), (0, []))[1]) > 1:
                return delimiter
    return ","


def rows_of(text: bytes, delimiter: str, columns: int) -> Iterator[tuple[int, list[str]]]:
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


def _lines(text: bytes, columns: int) -> Iterator[str]:
    longest = max(LONGEST_LINE, 1024 * columns)
    blank = 0
    for row, found in enumerate(LINE.finditer(text), start=1):
        size = found.end() - found.start()
        blank = blank + 1 if size < 3 and not found[0].strip() else 0
        if blank > MOST_BLANK:
            raise UnreadableSample(
                f"has more than {MOST_BLANK} empty lines in a row; expected a table. Export it anew."
            )
        line = "" if size > 4 * longest else found[0].decode()  # four bytes a character at most
        if size > 4 * longest or len(line) > longest:
            raise UnreadableSample(
                f"has {len(line) or size} characters in row {row}; a row of {columns} columns has at most {longest}. "
                "Export it as one row per line."
            )
        yield line


def number_in(cell: str) -> float | None:
    text = cell.strip()
    if "_" in text or not text.isascii():  # float() would take 1_000 and digits of other scripts
        return None
    try:
        return float(text)
    except ValueError:
        return None


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
