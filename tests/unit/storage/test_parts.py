"""Parts: whole or not there, of one job, by one process."""

import errno
import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import pytest

from morelli.errors import UnreadableBundle
from morelli.storage import parts as storage_parts
from morelli.storage.parts import Parts, encode

parquet = pytest.importorskip("pyarrow.parquet")
JOB = {"attributor": "a" * 64, "batch": 64}


def rows(start: int, count: int) -> list[dict[str, Any]]:
    common = {
        "row": None,
        "outcome": "attributed",
        "score": 0.1,
        "p_value": 1.0,
        "reason": "",
        "notes": {"b": 1, "a": 2},
    }
    return [common | {"file": f"{i}", "likelihood_ratio": None, "facts": {}} for i in range(start, start + count)]


def name(start: int, stop: int) -> str:
    return f"{start:012d}-{stop:012d}-x.parquet"


def test_parts_become_one_file(tmp_path: Path) -> None:
    out = tmp_path / "new" / "s.parquet"
    with Parts(out, JOB) as parts:
        parts.add(name(3, 5), encode(rows(3, 2)))
        parts.add(name(0, 3), encode(rows(0, 3)))
        assert parts.names() == {name(0, 3), name(3, 5)}
        about = parts.finish([name(3, 5), name(0, 3)])
        assert about == parts.about()
    assert about["items"] == 5
    assert about["summary"] == {"attributed": 5}
    assert [p.name for p in out.parent.iterdir()] == ["s.parquet"]
    table = parquet.read_table(out)
    assert table["file"].to_pylist() == list("01234")
    assert table["notes"][0].as_py() == '{"a": 2, "b": 1}'
    assert json.loads(parquet.read_metadata(out).metadata[b"morelli"])["attributor"] == "a" * 64


def test_names_that_are_no_text(tmp_path: Path) -> None:
    content = encode([rows(0, 1)[0] | {"file": os.fsdecode(b"\xff.png")}])
    assert content == encode([rows(0, 1)[0] | {"file": os.fsdecode(b"\xff.png")}])
    (tmp_path / "p").write_bytes(content)
    assert parquet.read_table(tmp_path / "p")["file"].to_pylist() == [r"\udcff.png"]


def test_parts_of_another_job_are_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    with Parts(out, JOB) as parts:
        parts.add(name(0, 1), encode(rows(0, 1)))
    for other in (JOB | {"batch": 7}, JOB | {"new": 1}):
        with (
            pytest.raises(UnreadableBundle, match=f"another {'batch' if 'new' not in other else 'new'}"),
            Parts(out, other),
        ):
            pass
    claim = tmp_path / ".s.parquet.parts" / "job.json"
    kept = claim.read_bytes()
    for damaged in (b"", b"\xff", b"3"):
        claim.write_bytes(damaged)
        with pytest.raises(UnreadableBundle, match=r"job\.json is damaged"), Parts(out, JOB):
            pass
    claim.write_bytes(kept)
    with Parts(out, JOB) as parts:
        assert parts.names() == {name(0, 1)}
        parts.finish([name(0, 1)])
    before = out.read_bytes()
    with pytest.raises(UnreadableBundle, match="another batch"), Parts(out, JOB | {"batch": 7}):
        pass
    assert out.read_bytes() == before
    out.write_text("mine")
    with pytest.raises(UnreadableBundle, match="no verdicts"), Parts(out, JOB):
        pass
    assert out.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Parts(tmp_path / "s.parquet", JOB) as parts:
        parts.add(name(0, 1), encode(rows(0, 1)))
        with pytest.raises(UnreadableBundle, match="another process"), Parts(tmp_path / "s.parquet", JOB):
            pass
        assert parts.names()


def test_gaps_and_damage_are_noticed(tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    for wrong in ([name(1, 2)], [name(0, 1), name(2, 3)], [name(0, 2), name(1, 3)]):
        with pytest.raises(UnreadableBundle, match="do not follow"), Parts(out, JOB) as parts:
            parts.finish(wrong)
    with pytest.raises(UnreadableBundle, match="is damaged"), Parts(out, JOB) as parts:
        parts.add(name(0, 1), encode(rows(0, 1))[:-20])
        parts.finish([name(0, 1)])
    assert not out.exists()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "s.parquet"
    with Parts(out, JOB) as parts:
        parts.add(name(0, 1), encode(rows(0, 1)))

        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", full)
            for step in (lambda: parts.add(name(1, 2), encode(rows(1, 1))), lambda: parts.finish([name(0, 1)])):
                with pytest.raises(UnreadableBundle, match="No space left"):
                    step()
        assert not out.exists()
        assert parts.names() == {name(0, 1)}
        assert parts.finish([name(0, 1)])["items"] == 1


def test_a_job_that_finished_between_look_and_lock_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "s.parquet"
    real = storage_parts.alone

    def later(file: IO[bytes], path: Path) -> AbstractContextManager[None]:
        monkeypatch.undo()
        with Parts(out, JOB) as theirs:
            theirs.finish([])
        return real(file, path)

    monkeypatch.setattr(storage_parts, "alone", later)
    with pytest.raises(UnreadableBundle, match="another batch"), Parts(out, JOB | {"batch": 7}):
        pass
    assert Parts(out, JOB).about()["batch"] == 64


def test_a_folder_that_was_deleted_does_not_hide_what_ended_the_job(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Parts(tmp_path / "s.parquet", JOB) as parts:
        parts.discard()
        raise KeyboardInterrupt


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl", reason="there are no locks here")

    def none(handle: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with Parts(tmp_path / "s.parquet", JOB) as parts:
        assert parts.finish([])["items"] == 0
