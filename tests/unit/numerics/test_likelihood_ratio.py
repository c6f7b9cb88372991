"""What likelihood ratios must do whatever the numbers: `tests/reference/test_lir.py` says what the numbers are."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morelli.errors import OutOfRange, TooFewSamples
from morelli.numerics.bounds import BoundedRatio, elub
from morelli.numerics.likelihood_ratio import KINDS, Scores, calibrator_from_state, fit_calibrator
from morelli.numerics.validation import (
    best_calibrated,
    cllr,
    cllr_min,
    devpav,
    empirical_cross_entropy,
    misleading,
    tippett,
)

AT = torch.linspace(-4, 7, 30, dtype=torch.float64)


def drawn(n: int, mean: float, seed: int) -> Tensor:
    return mean + torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sides(n: int = 60, m: int = 90, apart: float = 2.0, seed: int = 0) -> tuple[Scores, Scores]:
    return Scores.single(drawn(n, 0, seed)), Scores.single(drawn(m, apart, seed + 1))


def ratios(seed: int = 0) -> tuple[Scores, Scores]:
    """log10 ratios."""
    own, foreign = sides(seed=seed)
    calibrator = fit_calibrator("logistic", own, foreign)
    return tuple(Scores(calibrator.log10_ratio(x.values), x.units) for x in (own, foreign))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", KINDS)
def test_swapping_the_propositions_turns_the_ratio_over(kind: str) -> None:
    own, foreign = sides()
    there = fit_calibrator(kind, own, foreign).log10_ratio(AT)
    negated = [Scores(-x.values, x.units) for x in (foreign, own)]
    back = -fit_calibrator(kind, *negated).log10_ratio(-AT)
    assert torch.allclose(there, back, atol=1e-7)
    one, other = ratios()
    turned = Scores(-other.values, other.units), Scores(-one.values, one.units)
    assert cllr(*turned) == pytest.approx(cllr(one, other))
    assert cllr_min(*turned) == pytest.approx(cllr_min(one, other))
    low, high = elub(one, other)
    assert elub(*turned) == pytest.approx((-high, -low), abs=0.0101)
    assert misleading(*turned) == pytest.approx(misleading(one, other)[::-1])


@pytest.mark.parametrize("kind", ["logistic", "pav"])
def test_the_ratio_falls_as_the_score_grows(kind: str) -> None:
    found = fit_calibrator(kind, *sides()).log10_ratio(AT)
    assert (found[1:] <= found[:-1]).all()
    assert found[0] > 0 > found[-1]


def test_pav_and_what_cannot_be_told_do_not_depend_on_the_scale() -> None:
    own, foreign = sides()
    bent = [Scores(x.values.sinh() + 3, x.units) for x in (own, foreign)]
    for before, after in zip((own, foreign), bent, strict=True):
        first = fit_calibrator("pav", own, foreign).log10_ratio(before.values)
        assert torch.equal(first, fit_calibrator("pav", *bent).log10_ratio(after.values))
    one = [Scores(-x.values, x.units) for x in (own, foreign)]
    other = [Scores(-x.values, x.units) for x in bent]
    assert cllr_min(*one) == pytest.approx(cllr_min(*other))
    assert cllr_min(*one) < cllr(*one)


@pytest.mark.parametrize("kind", KINDS)
def test_no_prior_enters(kind: str) -> None:
    """Ten copies of every foreign score change little: the ridge and the bandwidth know how many scores there are."""
    own, foreign = sides(n=200, m=200)
    units = foreign.units.repeat(10)
    often = Scores(foreign.values.repeat(10), units)
    once = fit_calibrator(kind, own, foreign).log10_ratio(AT[8:20])
    again = fit_calibrator(kind, own, often).log10_ratio(AT[8:20])
    assert float((once - again).nan_to_num().abs().max()) < (0.25 if kind == "kde" else 0.06)
    assert torch.allclose(often.weights.reshape(10, -1).sum(0), foreign.weights)


def test_sources_weigh_the_same() -> None:
    own, _ = sides()
    values = torch.cat([drawn(10, 2, 5), drawn(500, -1, 6)])
    units = torch.cat([torch.zeros(10), torch.ones(500)]).long()
    by_source = fit_calibrator("logistic", own, Scores(values, units)).log10_ratio(AT)
    by_sample = fit_calibrator("logistic", own, Scores.single(values)).log10_ratio(AT)
    assert by_source[0] > by_sample[0]
    assert float(Scores(values, units).weights[:10].sum()) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_states(kind: str) -> None:
    bounded = BoundedRatio.fit(kind, *sides())
    again = BoundedRatio.from_state(bounded.state())
    assert torch.equal(again.log10_ratio(AT), bounded.log10_ratio(AT))
    assert torch.equal(
        calibrator_from_state(bounded.calibrator.state()).log10_ratio(AT), bounded.calibrator.log10_ratio(AT)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_ratios_stay_within_what_was_seen(kind: str) -> None:
    """Far apart or not, k units allow no ratio above k + 1, plus a step of the grid."""
    for apart in (1.0, 30.0):
        bounded = BoundedRatio.fit(kind, *sides(n=40, m=25, apart=apart))
        found = bounded.log10_ratio(torch.tensor([-1e6, *AT.tolist(), 1e6]))
        assert found.isfinite().all()
        assert -math.log10(41) - 0.01 <= found.min() <= found.max() <= math.log10(26) + 0.01
        assert found.max() > 0.2


def test_a_source_is_one_witness() -> None:
    """A hundred samples of each of four sources do not make four hundred sources."""
    own, _ = sides(n=400)
    values = drawn(400, 30, 7)
    by_source = BoundedRatio.fit("logistic", own, Scores(values, torch.arange(400) % 4))
    by_sample = BoundedRatio.fit("logistic", own, Scores.single(values))
    assert by_source.upper <= math.log10(5) + 0.01
    assert by_sample.upper > 2
    assert by_source.lower == pytest.approx(by_sample.lower, abs=0.5)


def test_useless_scores_say_nothing() -> None:
    same = drawn(300, 0, 8)
    bounded = BoundedRatio.fit("logistic", Scores.single(same[:150]), Scores.single(same[150:]))
    assert bounded.log10_ratio(AT).abs().max() < 0.5
    assert elub(*(Scores.single(torch.zeros(50)) for _ in range(2))) == (0.0, 0.0)


def test_measures_by_hand() -> None:
    own, foreign = Scores.single(torch.tensor([1.0, -1.0])), Scores.single(torch.tensor([-1.0, 0.0]))
    bits = (math.log2(1.1) + math.log2(11)) / 2, (math.log2(1.1) + 1) / 2
    assert cllr(own, foreign) == pytest.approx(sum(bits) / 2)
    assert misleading(own, foreign) == (0.5, 0.0)
    mine, theirs = tippett(own, foreign, torch.tensor([-2.0, -0.5, 0.5]))
    assert (mine.tolist(), theirs.tolist()) == ([1.0, 0.5, 0.5], [1.0, 0.5, 0.0])
    assert float(empirical_cross_entropy(own, foreign, torch.zeros(1))) == pytest.approx(cllr(own, foreign))
    silent = [Scores.single(torch.zeros(9)) for _ in range(2)]
    assert cllr(*silent) == cllr_min(*silent) == pytest.approx(1)
    assert devpav(*silent) == 0.0
    assert math.isnan(devpav(Scores.single(torch.ones(3)), Scores.single(-torch.ones(3))))
    misled = Scores.single(torch.tensor([-math.inf, 1.0])), foreign
    assert cllr(*misled) == math.inf


def test_the_best_calibration_is_not_made_better() -> None:
    ideal = best_calibrated(*ratios())
    finite = [Scores(x.values.clamp(-9, 9), x.units) for x in ideal]
    assert cllr_min(*finite) == pytest.approx(cllr(*ideal), abs=1e-6)


def test_what_cannot_be_calibrated_is_refused() -> None:
    own, foreign = sides()
    with pytest.raises(OutOfRange, match="logistic, pav, kde"):
        fit_calibrator("magic", own, foreign)
    with pytest.raises(OutOfRange, match="not finite"):
        fit_calibrator("kde", own, Scores.single(torch.tensor([1.0, math.nan])))
    with pytest.raises(TooFewSamples, match="no scores"):
        Scores.single(torch.empty(0))
    with pytest.raises(OutOfRange, match="one for each"):
        Scores(torch.zeros(3), torch.zeros(2))
