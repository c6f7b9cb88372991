"""Conformal p-values and thresholds, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from morelli.errors import OutOfRange, TooFewSamples
from morelli.numerics.calibration import benjamini_hochberg, p_values, rejection_interval, relative, threshold, usual

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


def share_within(share: float, expected: float, draws: int, each: int, n: int) -> bool:
    """Whether a rejected share is within four standard deviations of its expectation, draws sharing a calibration.

    The rate of one calibration is Beta(k, n + 1 − k), and so has a variance of its own.
    """
    variance = expected * (1 - expected) * (1 / (draws * each) + 1 / (draws * (n + 2)))
    return abs(share - expected) < 4 * variance**0.5


@pytest.mark.parametrize(("n", "rate"), [(199, 0.005), (99, 0.05), (50, 0.1)])
def test_the_promised_false_rejection_rate_holds_over_a_thousand_draws(n: int, rate: float) -> None:
    """Each draw has held-out scores of its own, of a heavy tail, and a hundred new own samples."""
    rng = torch.Generator().manual_seed(n)
    rejected = []
    for _ in range(1000):
        scores = torch.randn(n + 100, generator=rng) / torch.rand(n + 100, generator=rng)
        rejected.append((p_values(scores[:n], scores[n:]) <= rate).double().mean())
    expected = math.floor(rate * (n + 1) + 1e-9) / (n + 1)
    assert expected <= rate
    assert share_within(float(torch.stack(rejected).mean()), expected, 1000, 100, n)


def test_it_holds_in_every_condition_and_not_over_them_where_one_calibrates_for_all() -> None:
    """Mondrian: noise makes scores ten times as large; held-out scores of clean samples do not promise anything."""
    rng, rate, n = torch.Generator().manual_seed(1), 0.05, 99
    found = torch.zeros(3)
    for _ in range(1000):
        clean, noisy = torch.randn(n + 50, generator=rng), 10 * torch.randn(n + 50, generator=rng)
        cells = (clean[:n], clean[n:]), (noisy[:n], noisy[n:]), (clean[:n], noisy[n:])
        found += torch.stack([(p_values(held_out, new) <= rate).double().mean() for held_out, new in cells]) / 1000
    assert share_within(float(found[0]), rate, 1000, 50, n)
    assert share_within(float(found[1]), rate, 1000, 50, n)
    assert found[2] > 0.3


def test_relative_scores_forget_their_scale() -> None:
    rng = torch.Generator().manual_seed(0)
    held_out, new = torch.randn(200, generator=rng), torch.randn(20, generator=rng)
    seen = relative(held_out, new)
    assert torch.allclose(seen, relative(7 * held_out + 3, 7 * new + 3), atol=1e-5)
    assert relative(held_out, held_out.median()[None]).abs() < 0.02
    assert relative(held_out, held_out.double().quantile(0.95)[None]) == pytest.approx(1)
    assert relative(torch.ones(9), torch.tensor([3.0])) == 2.0  # all the same: nothing to divide by


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=30), rates)
def test_benjamini_and_hochberg_by_their_definition(chances: list[float], rate: float) -> None:
    found = benjamini_hochberg(torch.tensor(chances, dtype=torch.float64), rate)
    ordered, m = sorted(chances), len(chances)
    k = max((i + 1 for i, p in enumerate(ordered) if p <= rate * (i + 1) / m * (1 + 1e-12)), default=0)
    assert found.tolist() == [k > 0 and p <= ordered[k - 1] for p in chances]


@pytest.mark.parametrize("foreign", [0, 20])
def test_own_samples_among_those_called_are_as_few_as_promised(foreign: int) -> None:
    """Over 1,000 queues of 40 samples, each with a calibration of its own. The bound is rate × share of own samples."""
    rng, rate, false = torch.Generator().manual_seed(foreign), 0.2, 0.0
    for _ in range(1000):
        held_out, queue = torch.randn(200, generator=rng), torch.randn(40, generator=rng)
        queue[:foreign] += 4
        called = benjamini_hochberg(p_values(held_out, queue), rate)
        false += float(called[foreign:].sum() / called.sum().clamp_min(1)) / 1000
    bound = rate * (40 - foreign) / 40
    assert false < bound + 3 * (bound / 1000) ** 0.5  # measured: 0.20 of 0.2, 0.10 of 0.1
    assert foreign == 0 or false > bound / 2


def test_queues_of_nothing_and_rates_that_are_none() -> None:
    assert benjamini_hochberg(torch.empty(0), 0.1).tolist() == []
    assert not benjamini_hochberg(torch.tensor([0.5, 0.9]), 0.1).any()
    for rate in (0.0, 1.0, math.nan):
        with pytest.raises(OutOfRange, match="false-discovery"):
            benjamini_hochberg(torch.tensor([0.5]), rate)


def test_where_the_rate_of_one_calibration_lies() -> None:
    """Against 4,000 calibrations of uniform scores, whose false-rejection rate is known exactly."""
    draws = torch.rand(4000, 99, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rates = 1 - torch.tensor([threshold(held_out, 0.05) for held_out in draws])
    low, high = rejection_interval(99, 0.05)
    assert abs(float((rates < low).double().mean()) - 0.025) < 0.01
    assert abs(float((rates > high).double().mean()) - 0.025) < 0.01
    assert float(rates.mean()) <= 0.051
    assert rejection_interval(99, 0.05, 0.5)[1] < high


def test_usual_is_what_relative_counts_from() -> None:
    own, new = torch.rand(60, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    centre, reach = usual(own)
    assert torch.allclose(relative(own, new) * reach + centre, new)
    assert usual(torch.ones(3)) == (1.0, 1.0)
