"""Errors are one printable line, whatever they quote."""

import os

import pytest

from morelli.errors import LONGEST, MismatchError, MorelliError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, é and 日本", "plain, é and 日本"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\u202eback", "\\u202eback"),
        (os.fsdecode(b"\xff.png"), "\\udcff.png"),
    ],
)
def test_what_a_terminal_must_not_see_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(MorelliError(text)) == str(MismatchError(text)) == shown
    assert str(MorelliError(str(MorelliError(text)))) == shown


def test_the_middle_of_a_very_long_line_is_left_out() -> None:
    said = str(MorelliError("a" * 5000 + "b"))
    assert len(said) < LONGEST
    assert said.startswith("a" * 1000) and said.endswith("ab")
