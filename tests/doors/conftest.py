"""For every door on the command line: run a command as a user does, in a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from morelli.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run_in(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], Run]:
    """Call it with a folder, and what it gives with the words of a command: exit code, output, errors."""

    def run_in(place: Path) -> Run:
        def run(*words: object) -> tuple[int, str, str]:
            monkeypatch.chdir(place)
            monkeypatch.setattr(sys, "argv", ["morelli", *map(str, words)])
            with pytest.raises(SystemExit) as stop:
                main()
            out, err = capsys.readouterr()
            return int(stop.value.code or 0), out, err

        return run

    return run_in
