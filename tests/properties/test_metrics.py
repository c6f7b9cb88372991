"""AUROC against a double loop and scikit-learn; balanced accuracy against counting."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from morelli.numerics.metrics import auroc, balanced_accuracy, interval_of_mean, oscr

scores = st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-1e3, 1e3)), min_size=1, max_size=25)
flags = st.lists(st.booleans(), min_size=1, max_size=25)


@given(scores, scores)
def test_auroc(own: list[float], foreign: list[float]) -> None:
    wins = sum((f > o) + 0.5 * (f == o) for f in foreign for o in own)
    found = auroc(*(torch.tensor(xs, dtype=torch.float64) for xs in (own, foreign)))
    assert found == pytest.approx(wins / (len(own) * len(foreign)))
    assert found == pytest.approx(roc_auc_score([0] * len(own) + [1] * len(foreign), own + foreign))


@given(scores, scores)
def test_auroc_turns_over_when_the_classes_do(own: list[float], foreign: list[float]) -> None:
    a, b = (torch.tensor(xs, dtype=torch.float64) for xs in (own, foreign))
    assert auroc(a, b) == pytest.approx(1 - auroc(b, a))


@given(flags, flags)
def test_balanced_accuracy(own: list[bool], foreign: list[bool]) -> None:
    found = balanced_accuracy(torch.tensor(own), torch.tensor(foreign))
    truth = [True] * len(own) + [False] * len(foreign)
    assert found == pytest.approx(balanced_accuracy_score(truth, own + foreign))


def test_auroc_can_be_wrong() -> None:
    assert auroc(torch.tensor([0.0, 1.0]), torch.tensor([2.0])) == 1.0
    assert auroc(torch.tensor([0.0, 3.0]), torch.tensor([2.0])) == 0.5


@given(scores, scores, st.randoms(use_true_random=False))
def test_oscr_is_the_auroc_of_what_is_named_rightly(known: list[float], unknown: list[float], random) -> None:  # type: ignore[no-untyped-def]
    right = [random.random() < 0.5 for _ in known]
    mine, theirs = (torch.tensor(xs, dtype=torch.float64) for xs in (known, unknown))
    named = [score for score, correct in zip(known, right, strict=True) if correct]
    area = auroc(torch.tensor(named, dtype=torch.float64), theirs) if named else 0.0
    assert oscr(mine, torch.tensor(right), theirs) == pytest.approx(area * len(named) / len(known))


def test_the_interval_covers_the_mean_of_sources_about_as_often_as_it_says() -> None:
    """400 populations of 30 sources whose shares are between 0 and 1. Percentile intervals are a little too narrow."""
    rng, covered = torch.Generator().manual_seed(0), 0
    for _ in range(400):
        low, high = interval_of_mean(torch.rand(30, generator=rng) ** 2, draws=400)
        covered += low <= 1 / 3 <= high
    assert 0.90 < covered / 400 < 0.98  # measured: 0.94


def test_the_interval_repeats_itself_holds_the_mean_and_is_a_point_for_a_constant() -> None:
    values = torch.tensor([0.0, 0.1, 0.5, 0.9])
    low, high = interval_of_mean(values)
    assert low < float(values.mean()) < high
    assert (low, high) == interval_of_mean(values)
    assert interval_of_mean(values, level=0.5)[0] > low
    assert interval_of_mean(torch.full((5,), 0.25)) == (0.25, 0.25)
