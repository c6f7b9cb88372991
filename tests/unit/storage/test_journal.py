"""Journals: whatever the moment of an interruption, what was whole stays and nothing is doubled."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morelli.errors import MorelliError, UnreadableBundle
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
    records = [{"file": text, "row": 0, "value": number}]
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


def test_names_that_are_no_unicode_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.png")
    write(tmp_path / "j.csv", [[{"file": name, "row": None, "value": 0}]])
    assert read(tmp_path / "j.csv")[0]["file"] == name
    assert b"\xff\xfe.png" in (tmp_path / "j.csv").read_bytes()


def test_a_quote_without_its_end(tmp_path: Path) -> None:
    """Found by fuzzing: what follows it became one cell, longer than csv takes."""
    path = tmp_path / "j.csv"
    write(path, FILES)
    whole = path.read_bytes()
    path.write_bytes(whole + b'b.png,0,"torn' + b",x\r\n" * 40_000)
    assert read(path) == flat(FILES)
    assert path.read_bytes() == whole


def test_a_cell_of_deep_brackets_is_text(tmp_path: Path) -> None:
    path = tmp_path / "j.csv"
    write(path, FILES)
    path.write_bytes(path.read_bytes() + b"[" * 100_000 + b",null,0,owner,.\r\n")
    assert read(path)[-1]["file"] == "[" * 100_000


def test_what_could_not_be_read_again_is_refused(tmp_path: Path) -> None:
    """csv takes no longer cell: all that follows one would be cut off when the journal is opened again."""
    path = tmp_path / "j.csv"
    write(path, FILES)
    with pytest.raises(UnreadableBundle, match="a value of 140009 characters"):
        write(path, [[{"file": "a.png", "row": None, "value": {"x": "y" * 140_000}}]])
    assert read(path) == flat(FILES)


def test_opening_again_takes_time_in_proportion(tmp_path: Path) -> None:
    path = tmp_path / "j.csv"
    write(path, FILES)
    with path.open("ab") as file:
        file.writelines(b"%d,null,0,owner,.\r\n" % i for i in range(60_000))
    begun = time.process_time()
    assert len(read(path)) == len(flat(FILES)) + 60_000
    assert time.process_time() - begun < 5  # it took 10 s or more where every file copied the list


def test_a_whole_record_without_its_line_end_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "j.csv"
    write(path, FILES)
    path.write_bytes(path.read_bytes()[:-2])
    write(path, FILES[-1:])
    assert read(path) == flat(FILES)


def test_links_are_followed_and_devices_refused(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "j.csv")
    write(tmp_path / "link.csv", FILES)
    assert (tmp_path / "link.csv").is_symlink()
    assert read(tmp_path / "j.csv") == flat(FILES)
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (Path("/dev/full"), tmp_path / "pipe.csv"):
        with pytest.raises(UnreadableBundle, match="is a pipe or device"):
            Journal(path, "owner", COLUMNS)


WRITER = """
import sys, time
from pathlib import Path
from morelli.storage.journal import Journal
with Journal(Path(sys.argv[1]), "owner", ("file", "row", "value")) as journal:
    journal.append([{"file": "theirs", "row": None, "value": 1}])
    print("inside", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="there are no locks here")
    path = tmp_path / "j.csv"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"inside\n"
        with pytest.raises(MorelliError, match=r"another process is writing .*j\.csv"):
            Journal(path, "owner", COLUMNS)
        first.kill()
    write(path, FILES)
    assert [record["file"] for record in read(path)][:2] == ["theirs", "a.csv"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits are set for a process")
@pytest.mark.parametrize("room", [0, 30, 200])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, room: int) -> None:
    """The limit stops a write in its midst, as a full disk does."""
    path = tmp_path / "j.csv"
    write(path, FILES[1:2])
    before = path.read_bytes()
    code = f"""
import resource
from pathlib import Path
from test_journal_files import FILES, write
from morelli.errors import UnreadableBundle
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + room}, -1))
try:
    write(Path({str(path)!r}), FILES[2:])
except UnreadableBundle as error:
    print(error)
"""
    (tmp_path / "test_journal_files.py").write_text(Path(__file__).read_text())
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    assert (f"{path} cannot be written (File too large)" in done.stdout) == (read(path) != flat(FILES[1:]))
    assert flat(FILES[1:])[: len(read(path))] == read(path)
    assert path.read_bytes().startswith(before)
