"""The form in which files hold what a generator makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from morelli.errors import OutOfRange
from morelli.numerics.columns import Table

LEVELS, MOST_LEVELS = 256, 65536  # values of a stored pixel: of 8 bits, which is usual, and of 16
ANY = 0  # levels: files of every depth are read; for images to learn from, which are not judged


@dataclass(frozen=True)
class FileForm:
    """How samples are stored, where that is not as usual.

    Attributes:
        levels: how many values a pixel of a stored image can take: 256 of 8 bits, 65,536 of 16; see docs/medical.md.
        window: (centre, width) in which DICOM files are read, in their rescaled units; None: each file's own.
        grid: of windows of larger images, pixels: they begin at a multiple, and at least as far from every border, as
            generators pad there. 0: samples are whole images.
        rate: of sound, samples a second; None where any will do.
        table: of rows in a file: how they are encoded as what the generator makes. None where they are that already.
    Raises:
        OutOfRange: levels that no file has, or a window without width.
    """

    levels: int = LEVELS
    window: tuple[float, float] | None = None
    grid: int = 0
    rate: int | None = None
    table: Table | None = None

    def __post_init__(self) -> None:
        if self.levels != ANY and not LEVELS <= self.levels <= MOST_LEVELS:
            raise OutOfRange(
                f"the number of levels is {self.levels}; files hold {LEVELS} to {MOST_LEVELS}, as 4096 in 12 bits."
            )
        if self.window is not None and not (all(map(math.isfinite, self.window)) and self.window[1] > 1):
            raise OutOfRange(f"the window is {self.window}; expected a centre and a width above 1, as (300, 1500).")

    def settings(self) -> dict[str, Any]:
        """What is not as usual, JSON-able."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        found = {name: value for name, value in found.items() if value != getattr(USUAL, name)}
        return found if self.table is None else found | {"table": self.table.settings()}

    @staticmethod
    def from_settings(settings: Mapping[str, Any]) -> FileForm:
        """Reads what `settings` wrote; other entries are left alone."""
        read: dict[str, Callable[[Any], Any]] = {
            "levels": int,
            "window": lambda pair: (float(pair[0]), float(pair[1])),
            "grid": int,
            "rate": int,
            "table": Table.from_settings,
        }
        return FileForm(**{name: make(settings[name]) for name, make in read.items() if name in settings})


USUAL = FileForm()
