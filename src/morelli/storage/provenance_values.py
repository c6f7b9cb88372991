"""Texts that foreign files carry, made fit to show: decoded, on one line, shortened."""

from __future__ import annotations

from dataclasses import dataclass

LOOKED_AT = 2**16  # bytes of one value; what follows is counted where that costs nothing
SHOWN = 240
ENTRIES = 64  # of a file


@dataclass(frozen=True)
class Value:
    """One entry of metadata: `length` in bytes where the text was cut, None where that is not known."""

    where: str
    name: str
    text: str
    length: int | None = 0

    def shown(self) -> str:
        """At most SHOWN characters, with the whole length where some are missing."""
        short = cleaned(self.text[:SHOWN])
        if self.length is None or self.length > LOOKED_AT:
            told = f"more than {LOOKED_AT}" if self.length is None else f"{self.length}"
            return f"{short} … ({told} bytes)"
        return short if len(self.text) <= SHOWN else f"{short} … ({len(self.text)} characters)"


def as_text(data: bytes) -> str:
    """UTF-8 where it is, else Latin-1. A character cut at the end is dropped."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and error.start >= len(data) - 3:
            return data[: error.start].decode("utf-8")
        return data.decode("latin-1")


def cleaned(text: str) -> str:
    """Without control characters, direction marks and runs of blanks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:SHOWN]).split())
