"""Progress bars on standard error, so that standard output stays clean for results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

errors = Console(stderr=True, highlight=False)


@contextmanager
def bars() -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Inside, call it with a name and a total, 0 if unknown, for a bar; call what it returns with how much is done
    more."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=errors, disable=not errors.is_terminal) as progress:

        def stage(what: str, count: int) -> Callable[[int], None]:
            task = progress.add_task(what, total=count or None)
            return lambda done: progress.advance(task, done)

        yield stage
