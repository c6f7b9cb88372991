"""Likelihood ratios against those of `lir`, the toolkit of the Netherlands Forensic Institute; see lir_values.py."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from morelli.numerics.bounds import elub
from morelli.numerics.likelihood_ratio import KINDS, Scores, fit_calibrator
from morelli.numerics.validation import cllr, cllr_min, devpav, empirical_cross_entropy

CASES = json.loads(Path(__file__).with_name("lir.json").read_text())["cases"]
CLOSE = 1e-6


def tensor(values: list[Any]) -> Tensor:
    return torch.tensor([float(x) for x in values], dtype=torch.float64)


def sides(case: dict[str, Any]) -> tuple[Scores, Scores]:
    return Scores.single(tensor(case["own"])), Scores.single(tensor(case["foreign"]))


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    """Infinite where theirs is, and else the same."""
    known = theirs.isfinite()
    assert torch.equal(ours[~known], theirs[~known])
    assert bool(((ours - theirs)[known].abs() < CLOSE).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_calibrators(name: str, kind: str) -> None:
    case = CASES[name]
    found = fit_calibrator(kind, *sides(case)).log10_ratio(tensor(case["at"]))
    assert_same(found, tensor(case[kind]))


@pytest.mark.parametrize("which", ["of the scores as they are", "of calibrated ones"])
@pytest.mark.parametrize("name", CASES)
def test_measures(name: str, which: str) -> None:
    case, theirs = CASES[name], CASES[name][which]
    own, foreign = sides(case)
    ratios = [Scores(-x.values, x.units) for x in (own, foreign)]
    if which == "of calibrated ones":
        calibrator = fit_calibrator("logistic", own, foreign)
        ratios = [Scores(calibrator.log10_ratio(x.values), x.units) for x in (own, foreign)]
    assert cllr(*ratios) == pytest.approx(theirs["cllr"], abs=CLOSE)
    assert cllr_min(*ratios) == pytest.approx(theirs["cllr_min"], abs=CLOSE)
    off = devpav(*ratios)
    assert math.isnan(off) if theirs["devpav"] is None else off == pytest.approx(theirs["devpav"], abs=CLOSE)
    assert elub(*ratios) == pytest.approx(theirs["elub"], abs=CLOSE)
    priors = tensor(theirs["priors"])
    found = empirical_cross_entropy(*ratios, (priors / (1 - priors)).log10())
    assert_same(found, tensor(theirs["ece"]))


def test_the_oracle_can_fail() -> None:
    case = CASES["overlapping"]
    own, foreign = sides(case)
    found = fit_calibrator("logistic", Scores.single(own.values + 0.01), foreign).log10_ratio(tensor(case["at"]))
    with pytest.raises(AssertionError):
        assert_same(found, tensor(case["logistic"]))
