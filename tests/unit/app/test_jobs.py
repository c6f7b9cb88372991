"""Long jobs: nothing lost and nothing doubled, whatever the moment of a kill and whatever lies in the folder."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import imprinting_samples, toy_samples

import morelli
from morelli.app import jobs
from morelli.errors import MorelliError, UnreadableBundle, UnreadableSample

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
BUNDLE = ARTEFACTS / "images-1.attributor"
SPEC = morelli.SampleSpec((3, 32, 32))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten images and one that is none; four items are a part."""
    monkeypatch.setattr(jobs, "ITEMS", 4)
    place = tmp_path / "images"
    place.mkdir()
    for i, sample in enumerate(imprinting_samples(10, 7)):
        morelli.write_image(sample, place / f"{i}.png", SPEC)
    (place / "4-torn.png").write_bytes((place / "4.png").read_bytes()[:90])
    return place


def rows(path: Path) -> list[dict[str, Any]]:
    found = parquet.read_table(path).to_pylist()
    nested = ("notes", "likelihood_ratio", "facts")
    return [row | {name: row[name] and json.loads(row[name]) for name in nested} for row in found]


def test_a_job_says_what_a_report_says(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    found = morelli.attribute_to(folder, BUNDLE, out)
    report = morelli.attribute(folder, BUNDLE)
    assert [row for row in rows(out) if row["outcome"] != "refused"] == [each.to_dict() for each in report.judged]
    assert found["summary"] == report.counts()
    assert found["attributor"] == report.attributor
    assert found["items"] == 11
    about = json.loads(parquet.read_metadata(out).metadata[b"morelli"])
    assert about["attributor"] == report.attributor["digest"]
    assert about["schema"] == report.to_dict()["schema"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "s.parquet"]
    before = out.stat()
    assert morelli.attribute_to(folder, BUNDLE, out) == found  # nothing left to do
    assert out.stat().st_mtime_ns == before.st_mtime_ns


def test_another_job_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    morelli.attribute_to(folder, BUNDLE, out)
    for words, call in {
        "another batch": lambda: morelli.attribute_to(folder, BUNDLE, out, batch=7),
        "another source": lambda: morelli.attribute_to(folder / "1.png", BUNDLE, out),
        "another attributor": lambda: morelli.attribute_to(folder, ARTEFACTS / "table-1.attributor", out),
    }.items():
        with pytest.raises(UnreadableBundle, match=words):
            call()
    (folder / "new.png").write_bytes((folder / "1.png").read_bytes())
    with pytest.raises(UnreadableBundle, match="is finished, and since then files came"):
        morelli.attribute_to(folder, BUNDLE, out)
    assert len(rows(out)) == 11
    with pytest.raises(MorelliError, match=r"ends in \.parquet"):
        morelli.attribute_to(folder, BUNDLE, tmp_path / "s.csv")
    with pytest.raises(UnreadableSample, match="does not exist"):
        morelli.attribute_to(tmp_path / "gone", BUNDLE, tmp_path / "t.parquet")
    assert not (tmp_path / ".t.parquet.parts").exists()


def killed(work: Callable[[], object]) -> bool:
    """Run it in a process of its own; whether that was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_before_every_step_to_the_disk(folder: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "s.parquet", tmp_path / "whole.parquet"
    morelli.attribute_to(folder, BUNDLE, whole)
    work = {name: getattr(os, name) for name in ("fsync", "replace", "unlink", "rmdir")}

    def dying(at: int) -> None:
        steps = iter(range(10_000))

        def watch(step: Callable[..., Any]) -> Callable[..., Any]:
            def watched(*given: Any, **named: Any) -> Any:
                if next(steps) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return step(*given, **named)

            return watched

        for name, step in work.items():
            setattr(os, name, watch(step))
        morelli.attribute_to(folder, BUNDLE, out)

    deaths = 0
    while killed(partial(dying, deaths)):
        morelli.attribute_to(folder, BUNDLE, out)
        assert out.read_bytes() == whole.read_bytes(), deaths
        assert not (tmp_path / ".s.parquet.parts").exists()
        out.unlink()
        deaths += 1
    assert deaths >= 15
    assert out.read_bytes() == whole.read_bytes()


def test_killed_at_random_until_it_is_done(folder: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "s.parquet", tmp_path / "whole.parquet"
    start = time.perf_counter()
    morelli.attribute_to(folder, BUNDLE, whole)
    usual, chance, deaths = time.perf_counter() - start, random.Random(0), 0
    for _ in range(8):
        child = os.fork()
        if child == 0:
            try:
                morelli.attribute_to(folder, BUNDLE, out)
            finally:
                os._exit(0)
        time.sleep(usual * chance.uniform(0.05, 0.6))
        os.kill(child, signal.SIGKILL)
        deaths += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    morelli.attribute_to(folder, BUNDLE, out)
    assert deaths
    assert out.read_bytes() == whole.read_bytes()


def test_files_that_change_meanwhile(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"

    def stop(job: jobs.Job, done: frozenset[str]) -> Any:
        yield from list(jobs._here(job, done))[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        morelli.attribute_to(folder, BUNDLE, out, work=stop)
    assert len(list((tmp_path / ".s.parquet.parts").glob("*.parquet"))) == 2
    (folder / "0.png").unlink()
    shutil.copyfile(folder / "9.png", folder / "5.png")
    morelli.attribute_to(folder, BUNDLE, out)
    report = morelli.attribute(folder, BUNDLE)
    assert [row for row in rows(out) if row["outcome"] != "refused"] == [each.to_dict() for each in report.judged]


def test_archives_and_a_hostile_folder(folder: Path, tmp_path: Path) -> None:
    images = {path.name: path.read_bytes() for path in sorted(folder.glob("?.png"))}
    with tarfile.open(folder / "shard.tar", "w") as archive:
        for name, data in [*images.items(), ("../up.png", b"x"), ("note.txt", b"x")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    pictures = [{"bytes": data, "path": name} for name, data in images.items()]
    parquet.write_table(pa.table({"image": pictures}), folder / "rows.parquet", row_group_size=4)
    (folder / "torn.parquet").write_bytes((folder / "rows.parquet").read_bytes()[:-50])
    os.mkfifo(folder / "pipe.png")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "empty.png").touch()
    (folder / "new\nline.png").write_bytes(images["1.png"])
    (folder / os.fsdecode(b"\xff.png")).write_bytes(images["1.png"])
    (folder / "bomb.png").write_bytes(images["1.png"][:16] + b"\x7f\xff\xff\xff" * 2 + images["1.png"][24:])
    out = folder / "s.parquet"  # in the very folder that is judged
    found = morelli.attribute_to(folder, BUNDLE, out)
    judged = {row["file"].removeprefix(f"{folder}/"): row for row in rows(out)}
    assert len(judged) == found["items"] == 10 + 1 + 10 + 1 + 10 + 1 + 4
    refused = {name for name, row in judged.items() if row["outcome"] == "refused"}
    assert refused == {"4-torn.png", "bomb.png", "empty.png", "shard.tar/../up.png", "torn.parquet"}
    for i, name in enumerate(images):
        same = [judged[key]["score"] for key in (name, f"shard.tar/{name}", f"rows.parquet/{i}")]
        assert same[0] == same[1] == same[2]
        assert judged[f"shard.tar/{name}"]["facts"] == judged[name]["facts"]
    assert judged["new\nline.png"]["score"] == judged[r"\udcff.png"]["score"] == judged["1.png"]["score"]
    assert morelli.attribute_to(folder, BUNDLE, out) == found  # the output is no input


def test_another_attributor_at_the_same_path(tmp_path: Path) -> None:
    job = jobs.Job(("x",), str(BUNDLE), "0" * 64, "s.parquet")
    with pytest.raises(UnreadableBundle, match="not the one that this job began with"):
        job.scorer()


def test_a_table_has_a_row_for_each_of_its_rows(tmp_path: Path) -> None:
    for k in range(2):
        lines = "\n".join(",".join(f"{x:.6f}" for x in row) for row in toy_samples("table", 30, k))
        (tmp_path / f"{k}.csv").write_text(lines)
    found = morelli.attribute_to(
        [tmp_path / "1.csv", tmp_path / "0.csv"], ARTEFACTS / "table-1.attributor", tmp_path / "s.parquet"
    )
    assert found["items"] == 2
    table = parquet.read_table(tmp_path / "s.parquet")
    assert table["row"].to_pylist() == [*range(30)] * 2
    assert table["file"].to_pylist() == [str(tmp_path / "1.csv")] * 30 + [str(tmp_path / "0.csv")] * 30


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    """Peaks of Python's memory over 2 and 10 parts. A list of the verdicts would add 8 MB."""
    peaks = []
    (tmp_path / "no.png").write_bytes(b"no image")
    for count in (1_500, 9_500):
        place = tmp_path / f"{count}"
        place.mkdir()
        for i in range(count):
            os.link(tmp_path / "no.png", place / f"{i:06d}.png")
        tracemalloc.start()
        found = morelli.attribute_to(place, BUNDLE, tmp_path / f"{count}.parquet")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found["summary"]["refused"] == count
    assert peaks[1] < peaks[0] + 2e6, peaks  # the names of a folder are sorted: 8,000 of them take 1.1 MB


def test_one_thread_does_the_same(folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    try:
        morelli.attribute_to(folder, BUNDLE, tmp_path / "two.parquet")
    finally:
        torch.set_num_threads(1)
    morelli.attribute_to(folder, BUNDLE, tmp_path / "one.parquet", prefetch=False)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
