"""Bundles that earlier versions wrote are read as they were meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import imprinting_samples, toy_samples

import morelli
from morelli import Attributor
from morelli.errors import UnreadableBundle

PLACE = Path(__file__).parents[2] / "artefacts"
OLD = {  # written by 0.1.0 before attributors had populations, and what own and foreign samples were judged there
    "table-1": (lambda n, k: toy_samples("table", n, 7, generator_seed=k), "flipad"),
    "images-1": (lambda n, k: imprinting_samples(n, 7, generator_seed=k), "imprint"),
}


@pytest.mark.parametrize("name", OLD)
def test_attributors_without_a_population(name: str) -> None:
    samples, method = OLD[name]
    attributor = morelli.load(PLACE / f"{name}.attributor")
    assert isinstance(attributor, Attributor)
    assert attributor.card["method"] == method
    assert attributor.population is None
    assert len(attributor.seen) == 0
    verdicts = attributor.judge(samples(8, 0))
    assert sum(v.outcome.value == "attributed" for v in verdicts) >= 6
    assert all(v.likelihood_ratio is None for v in verdicts)
    assert sum(v.outcome.value == "attributed" for v in attributor.judge(samples(8, 1))) <= 4
    assert morelli.inspect(PLACE / f"{name}.attributor")["population"] is None


def test_a_changed_line_in_a_csv_of_verdicts(tmp_path: Path) -> None:
    """Found by fuzzing: an outcome that is none."""
    rows = "\n".join(",".join(f"{x:.4f}" for x in row) for row in toy_samples("table", 2).tolist())
    (tmp_path / "rows.csv").write_text(rows)
    verdicts = tmp_path / "v.csv"
    morelli.attribute(tmp_path / "rows.csv", PLACE / "table-1.attributor", csv=verdicts)
    text = verdicts.read_text()
    assert "attributed" in text
    header, rest = text.split("\n", 1)  # the header has a column of that name
    verdicts.write_text(header + "\n" + rest.replace("attributed", "perhaps"))
    with pytest.raises(UnreadableBundle, match="was changed"):
        morelli.attribute(tmp_path / "rows.csv", PLACE / "table-1.attributor", csv=verdicts)
