"""`morelli attribute --out`: what it prints, its exit codes, and options that do not go together."""

import json
import sys
from pathlib import Path

import pytest
from toys import imprinting_samples

import morelli

parquet = pytest.importorskip("pyarrow.parquet")
BUNDLE = Path(__file__).parents[1] / "artefacts" / "images-1.attributor"


@pytest.fixture
def run(tmp_path: Path, run_in):
    (tmp_path / "images").mkdir()
    for i, sample in enumerate(imprinting_samples(3, 7)):
        morelli.write_image(sample, tmp_path / "images" / f"{i}.png", morelli.SampleSpec((3, 32, 32)))

    run = run_in(tmp_path)
    return lambda *words: run("attribute", *words, "--with", BUNDLE)


def test_a_long_job(run, tmp_path: Path) -> None:
    code, out, _ = run("images", "--out", "s.parquet")
    assert code == 0
    assert "written: s.parquet" in out
    assert "3 attributed. Own samples are rejected in about" in out
    code, out, _ = run("images", "--out", "s.parquet", "--json")
    assert json.loads(out)["summary"] == {"attributed": 3, "not attributed": 0, "inconclusive": 0, "refused": 0}
    (tmp_path / "images" / "torn.png").write_bytes(b"torn")
    code, out, _ = run("images", "--out", "t.parquet", "--batch", 1)
    assert code == 3
    assert "1 refused" in out
    assert parquet.read_table(tmp_path / "t.parquet")["outcome"].to_pylist() == ["attributed"] * 3 + ["refused"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "s.csv"], "ends in .parquet"),
        (["--out", "s.parquet", "--report", "r.html"], "--report given with --out"),
        (["--out", "s.parquet", "--csv", "s.csv", "--fdr", "0.1"], "--csv, --fdr given with --out"),
        (["--actors", "2"], "Add --out"),
        (["--column", "png"], "Add --out"),
        (["--out", "s.parquet", "--actors", "2", "--device", "cuda"], "--device cuda says nothing to actors"),
    ],
)
def test_what_does_not_go_together(run, tmp_path: Path, words: list[str], said: str) -> None:
    code, _, err = run("images", *words)
    assert code == 2
    assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_without_pyarrow(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run("images", "--out", "s.parquet")
    assert code == 2
    assert "pip install 'morelli[jobs]'" in err
