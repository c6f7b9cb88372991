"""`morelli calibrate`, as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from toys import toy_samples

from morelli.cli.calibrating import Calibrator
from morelli.numerics.likelihood_ratio import KINDS

ARTEFACTS = Path(__file__).parents[1] / "artefacts"


@pytest.fixture
def run(tmp_path: Path, run_in):
    shutil.copytree(ARTEFACTS / "table-1.attributor", tmp_path / "my.attributor")
    for k in range(4):
        rows = toy_samples("table", 30, 3, generator_seed=k).tolist()
        place = tmp_path / ("own" if k == 0 else f"others/table-{k}")
        place.mkdir(parents=True)
        (place / "rows.csv").write_text("\n".join(",".join(f"{x:.6f}" for x in row) for row in rows) + "\n")

    return run_in(tmp_path)


def test_calibrators_have_one_list() -> None:
    assert tuple(Calibrator) == KINDS


def test_from_a_population_to_a_verdict_in_words(run, tmp_path: Path) -> None:
    text = run("attribute", "own", "--with", "my.attributor")[1]
    assert "No population is declared" in text
    assert "LR" not in text
    code, out, err = run("calibrate", "my.attributor", "--population", "others", "--leave-source-out", "--out", "c")
    assert code == 0, err
    assert "warning: the population has 3 sources" in err
    assert "table-2" in out
    assert "Cllr" in out and "made by this model" in out and "written: c" in out
    code, out, err = run("attribute", "own", "--with", "c", "--fdr", 0.1)
    assert code == 0, err
    assert "LR: how many times more probable" in out
    assert "queue: " in out and "at a false-discovery rate of 10.0%" in out
    assert "3 sources, 90 samples" in out
    (tmp_path / "one.csv").write_text((tmp_path / "own" / "rows.csv").read_text().splitlines()[0] + "\n")
    assert "The score is " in run("attribute", "one.csv", "--with", "c")[1]
    assert "3 sources: table-1, table-2, table-3" in run("inspect", "c")[1]
    report = json.loads(run("attribute", "own", "--with", "c", "--json")[1])
    assert report["schema"] == 3
    assert {"log10", "words", "condition", "false_attribution"} == set(report["verdicts"][0]["likelihood_ratio"])
    code, out, _ = run("calibrate", "c", "--population", "others", "--calibrator", "pav", "--json")
    assert code == 0
    assert json.loads(out)["validated"] is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("calibrate my.attributor --population nowhere --out new", "no folder"),
        ("calibrate my.attributor --population own --out new", "beside the sources' folders"),
        ("calibrate nothing --population others --out new", "does not exist"),
        ("calibrate my.attributor --population others --out my.attributor/..", "exists. Choose another name"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path: Path, words: str, says: str) -> None:
    code, out, err = run(*words.split())
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert out == ""
    assert not (tmp_path / "new").exists()
