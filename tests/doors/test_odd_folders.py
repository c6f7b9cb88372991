"""Folders that a user may point at: odd names, links in circles, pipes, sockets; and what reaches a terminal."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from toys import toy_samples

ATTRIBUTOR = Path(__file__).parents[1] / "artefacts" / "table-1.attributor"
NAMES = (b"line\nbreak.csv", b"\x1b[2Jescape.csv", b"\xff\xfe.csv", "\u202eevil.csv".encode(), b"=1+1.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "odd"
    place.mkdir()
    rows = "\n".join(",".join(f"{x:.4f}" for x in row) for row in toy_samples("table", 2).tolist())
    for name in NAMES:
        (place / os.fsdecode(name)).write_text(rows)
    (place / "broken\n\x1b[1m.csv").write_bytes(b"\xff")
    (place / "circle").symlink_to(place)
    (place / "self.csv").symlink_to(place / "self.csv")
    (place / "gone.csv").symlink_to(place / "nowhere.csv")
    (place / "zero.csv").symlink_to("/dev/zero")
    os.mkfifo(place / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.getcwd()
        os.chdir(place)  # a socket's path is short
        bound.bind("socket.csv")
        os.chdir(here)
    return place


def test_all_are_judged_and_nothing_moves_the_cursor(folder: Path, tmp_path: Path, run_in) -> None:
    words = ["attribute", str(folder), "--with", str(ATTRIBUTOR), "--csv", str(tmp_path / "v.csv")]
    said = []
    for more in (["--report", str(tmp_path / "r.html")], [], ["--json"]):  # the second time from the CSV
        code, out, err = run_in(tmp_path)(*words, *more)
        assert (code, err) == (3, "")
        said.append(out)
    assert said[0] == said[1]
    assert all(line.isprintable() for line in said[0].split("\n"))
    assert "line\\nbreak.csv" in said[0] and "\\x1b[2Jescape.csv" in said[0] and "\\udcff\\udcfe.csv" in said[0]
    judged = {os.fsencode(Path(verdict["file"]).name) for verdict in json.loads(said[2])["verdicts"]}
    assert judged == set(NAMES)
    assert b"\xff\xfe.csv" in (tmp_path / "v.csv").read_bytes()
    assert "\\udcff" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["self.csv", "gone.csv", "zero.csv", "pipe.csv", "socket.csv"])
def test_what_is_no_file_is_refused_at_once(folder: Path, name: str, run_in) -> None:
    code, out, _ = run_in(folder)("attribute", folder / name, "--with", ATTRIBUTOR)
    assert code == 3
    assert f"refused: {name} " in out


@pytest.mark.parametrize(("option", "name"), [("--csv", "x.csv"), ("--report", "x.html")])
def test_a_place_that_cannot_be_written(folder: Path, tmp_path: Path, option: str, name: str, run_in) -> None:
    (tmp_path / "file").write_text("mine")
    code, _, err = run_in(tmp_path)("attribute", folder, "--with", ATTRIBUTOR, option, tmp_path / "file" / name)
    assert code == 2
    assert err.count("\n") == 1 and f"{tmp_path}/file" in err and "cannot be written" in err
    assert (tmp_path / "file").read_text() == "mine"
