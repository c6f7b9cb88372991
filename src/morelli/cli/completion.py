"""What Tab offers where an argument names a bundle: those of the right ending. Elsewhere the shell's own paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def ending(*suffixes: str) -> Callable[[str], list[str]]:
    """A completion of paths that end so. It offers nothing where none fits, and the shell goes on by itself."""

    def complete(incomplete: str) -> list[str]:
        folder, slash, start = incomplete.rpartition("/")
        try:
            names = sorted(each.name for each in Path(folder + slash or ".").expanduser().iterdir())
        except OSError:
            return []
        hidden = start.startswith(".")
        fitting = (name for name in names if name.startswith(start) and name.endswith(suffixes))
        return [folder + slash + name for name in fitting if hidden or not name.startswith(".")]

    return complete


def devices() -> list[str]:
    return ["auto", "cpu", "cuda"]
