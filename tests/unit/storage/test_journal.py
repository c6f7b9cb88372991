"""Journals: whatever the moment of an interruption, what was whole stays and nothing is doubled."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morelli.errors import UnreadableBundle
from morelli.storage.journal import Journal

COLUMNS = ("file", "row", "value")
FILES = [
    [{"file": "a.csv", "row": i, "value": {"x": [1, None], "y": 'quote " comma , end'}} for i in range(3)],
    [{"file": "123", "row": None, "value": -0.5}],
    [{"file": "null", "row": None, "value": "[not json"}],
    [{"file": "line\nbreak.png", "row": None, "value": 1e-300}],
]


def flat(files: list) -> list:
    return [record for records in files for record in records]


def write(path: Path, files: list) -> None:
    with Journal(path, "owner", COLUMNS) as journal:
        for records in files:
            journal.append(records)


def read(path: Path) -> list:
    with Journal(path, "owner", COLUMNS) as journal:
        return journal.records


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path / "j.csv", FILES)
    assert read(tmp_path / "j.csv") == flat(FILES)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10_000))
def test_cut_anywhere(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "j.csv"
    write(path, FILES)
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    path.write_bytes(whole[: header + cut % (len(whole) - header + 1)])
    kept = read(path)
    complete = [n for n in range(len(FILES) + 1) if kept == flat(FILES[:n])]
    assert complete, kept  # whole files, in order, or nothing
    write(path, FILES[complete[0] :])
    assert path.read_bytes() == whole


@given(text=st.text(), number=st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=60, deadline=None)
def test_any_text_and_number(tmp_path_factory: pytest.TempPathFactory, text: str, number: float) -> None:
    path = tmp_path_factory.mktemp("journal") / "j.csv"
    records = [{"file": text.replace("\0", ""), "row": 0, "value": number}]
    try:
        records[0]["file"].encode()
    except UnicodeEncodeError:
        return
    write(path, [records])
    assert read(path) == records


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.csv"
    path.write_text("name,price\napple,3\n")
    with pytest.raises(UnreadableBundle, match="left alone"):
        Journal(path, "owner", COLUMNS)
    assert path.read_text() == "name,price\napple,3\n"
    path.unlink()
    write(path, FILES)
    with pytest.raises(UnreadableBundle, match="another attributor"):
        Journal(path, "somebody else", COLUMNS)
