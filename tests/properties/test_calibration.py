"""Conformal p-values and thresholds, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from morelli.errors import OutOfRange, TooFewSamples
from morelli.numerics.calibration import p_values, threshold

# few distinct values, so that ties are common
score = st.one_of(st.integers(-4, 4).map(float), st.floats(-1e6, 1e6))
scores = st.lists(score, min_size=1, max_size=60).map(lambda xs: torch.tensor(xs, dtype=torch.float64))
rates = st.integers(1, 999).map(lambda thousandths: thousandths / 1000)


@given(scores, scores)
def test_p_values_are_their_definition(held_out: Tensor, new: Tensor) -> None:
    expected = [(1 + sum(h >= s for h in held_out.tolist())) / (len(held_out) + 1) for s in new.tolist()]
    assert p_values(held_out, new).tolist() == expected


@given(scores, scores)
def test_p_values_stay_in_range_and_fall_with_the_score(held_out: Tensor, new: Tensor) -> None:
    p = p_values(held_out, new.sort().values)
    assert ((p >= 1 / (len(held_out) + 1)) & (p <= 1)).all()
    assert (p.diff() <= 0).all()
    assert p_values(held_out, held_out.max()[None] + 1)[0] == 1 / (len(held_out) + 1)
    assert p_values(held_out, held_out.min()[None])[0] == 1


@given(scores, scores, rates)
def test_attributed_up_to_the_threshold_means_a_p_value_above_the_rate(
    held_out: Tensor, new: Tensor, rate: float
) -> None:
    if rate * (len(held_out) + 1) < 1:
        with pytest.raises(TooFewSamples, match="cannot resolve"):
            threshold(held_out, rate)
        return
    limit = threshold(held_out, rate)
    new = torch.cat([new, held_out])
    assert torch.equal(new <= limit, p_values(held_out, new) > rate)


@given(scores, rates)
def test_the_number_of_samples_asked_for_is_enough_and_not_one_too_many(held_out: Tensor, rate: float) -> None:
    if rate * (len(held_out) + 1) >= 1:
        return
    with pytest.raises(TooFewSamples) as caught:
        threshold(held_out, rate)
    needed = int(str(caught.value).split("Give at least ")[1].split()[0])
    threshold(torch.zeros(needed), rate)
    with pytest.raises(TooFewSamples):
        threshold(torch.zeros(needed - 1), rate)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(OutOfRange, match="between 0 and 1"):
        threshold(torch.zeros(100), rate)


def test_a_score_that_is_no_number_gets_the_smallest_p_value() -> None:
    assert p_values(torch.arange(9.0), torch.tensor([math.nan, math.inf, -math.inf])).tolist() == [0.1, 0.1, 1.0]


def test_single_precision_scores_are_compared_as_they_are() -> None:
    held_out = torch.tensor([0.1, 0.2, 0.3])
    assert p_values(held_out, held_out).tolist() == [1.0, 0.75, 0.5]
