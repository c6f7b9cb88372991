"""Attributor: outcomes, their reasons, the promised rate, and its state."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import toy_heads, toy_samples

from morelli import Attributor, Outcome, SampleSpec
from morelli.attribution.attributor import fit_attributor
from morelli.detectors.lda import LdaRecipe
from morelli.detectors.mahalanobis import MahalanobisRecipe
from morelli.errors import MismatchError, OutOfRange, TooFewSamples
from morelli.features.baselines import RawValues
from morelli.features.inversion import Inversion
from morelli.features.protocol import Features
from morelli.numerics.solvers.fista import Fista

TOY = "deconvolution"
RATE = 0.1


def extractor(**changes: object) -> Inversion:
    return Inversion(toy_heads()[TOY], weight=0.02, solver=replace(Fista(tolerance=0.1), **changes))


@pytest.fixture(scope="module")
def attributor() -> Attributor:
    """Of the toy with seed 0, against the one with seed 1."""
    one = extractor()
    own, held_out = (one.extract(toy_samples(TOY, n, seed)) for n, seed in ((128, 11), (60, 12)))
    other = one.extract(toy_samples(TOY, 128, 11, generator_seed=1))
    return fit_attributor(one, LdaRecipe(), own, other, held_out, rate=RATE, card={"made": "here"})


def outcomes(attributor: Attributor, samples: torch.Tensor) -> list[Outcome]:
    return [verdict.outcome for verdict in attributor.judge(samples)]


def test_own_samples_are_attributed_and_foreign_ones_are_not(attributor: Attributor) -> None:
    """Measured: 34 of 40 own samples attributed, 40 of 40 foreign ones not attributed."""
    own = outcomes(attributor, toy_samples(TOY, 40, 13))
    foreign = outcomes(attributor, toy_samples(TOY, 40, 13, generator_seed=1))
    assert own.count(Outcome.ATTRIBUTED) > 28
    assert foreign.count(Outcome.NOT_ATTRIBUTED) > 34


def test_outcome_p_value_and_threshold_say_the_same(attributor: Attributor) -> None:
    samples = torch.cat([toy_samples(TOY, 20, 14), toy_samples(TOY, 20, 14, generator_seed=1)])
    verdicts = attributor.judge(samples)
    assert {verdict.outcome for verdict in verdicts} == {Outcome.ATTRIBUTED, Outcome.NOT_ATTRIBUTED}
    for verdict in verdicts:
        attributed = verdict.outcome is Outcome.ATTRIBUTED
        assert attributed == (verdict.p_value > RATE) == (verdict.score <= attributor.threshold)
        assert verdict.reason == ""
        assert set(verdict.notes) == {"saturated", "gap", "steps"}


def test_a_batch_is_its_samples_one_by_one(attributor: Attributor) -> None:
    samples = toy_samples(TOY, 6, 15)
    for alone, together in zip([attributor.judge(s[None])[0] for s in samples], attributor.judge(samples), strict=True):
        assert (alone.outcome, alone.notes) == (together.outcome, together.notes)
        assert alone.score == pytest.approx(together.score, rel=1e-4, abs=1e-4)
    assert attributor.judge(samples[:0]) == []


def test_saturated_samples_are_inconclusive(attributor: Attributor) -> None:
    samples = toy_samples(TOY, 3, 16)
    samples[1] = 1.0
    verdicts = attributor.judge(samples)
    assert [verdict.outcome is Outcome.INCONCLUSIVE for verdict in verdicts] == [False, True, False]
    assert "100% of the values are saturated" in verdicts[1].reason
    assert verdicts[1].score is not None
    patient = replace(attributor, saturated_limit=1.0)
    assert patient.judge(samples)[1].outcome is not Outcome.INCONCLUSIVE


def test_unconverged_inversions_are_inconclusive(attributor: Attributor) -> None:
    hasty = replace(attributor, extractor=extractor(tolerance=1e-9, max_steps=10))
    verdicts = hasty.judge(toy_samples(TOY, 3, 16))
    assert {verdict.outcome for verdict in verdicts} == {Outcome.INCONCLUSIVE}
    assert all("step limit" in verdict.reason and verdict.p_value is not None for verdict in verdicts)


def test_samples_that_are_no_numbers_are_inconclusive(attributor: Attributor) -> None:
    samples = toy_samples(TOY, 2, 16)
    samples[0, 0, 0, 0] = float("nan")
    spoilt, sound = attributor.judge(samples)
    assert spoilt.outcome is Outcome.INCONCLUSIVE
    assert "NaN" in spoilt.reason
    assert sound.outcome is attributor.judge(samples[1:])[0].outcome is not Outcome.INCONCLUSIVE


def test_a_score_that_is_no_number_is_inconclusive(attributor: Attributor) -> None:
    values = torch.full((1, 16, 4, 4), float("nan"))
    (verdict,) = attributor.judge_features(Features(values, {}, ("",)))
    assert (verdict.outcome, verdict.score, verdict.p_value) == (Outcome.INCONCLUSIVE, None, None)
    assert "not finite" in verdict.reason


def test_unsuitable_samples(attributor: Attributor) -> None:
    with pytest.raises(MismatchError):
        attributor.judge(torch.zeros(1, 3, 9, 8))
    (verdict,) = attributor.judge(torch.full((1, 3, 8, 8), 255.0))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "range" in verdict.reason


def test_a_rate_that_cannot_be_resolved_is_refused(attributor: Attributor) -> None:
    replace(attributor, rate=1 / 61)
    with pytest.raises(TooFewSamples, match="60 held-out"):
        replace(attributor, rate=1 / 62)
    with pytest.raises(OutOfRange, match="not finite"):
        replace(attributor, held_out=torch.tensor([1.0, float("inf")] * 20))


def test_the_rate_can_be_moved_later(attributor: Attributor) -> None:
    rates = (0.02, 0.1, 0.5)
    limits = [replace(attributor, rate=rate).threshold for rate in rates]
    assert limits == sorted(limits, reverse=True)
    shares = [(attributor.held_out > limit).double().mean().item() for limit in limits]
    assert all(share <= rate for share, rate in zip(shares, rates, strict=True))
    assert shares[2] > 0.4


def test_state_round_trip(attributor: Attributor) -> None:
    again = Attributor.from_state(attributor.state())
    samples = toy_samples(TOY, 5, 17)
    assert again.judge(samples) == attributor.judge(samples)
    assert again.state().describe() == attributor.state().describe()
    assert again.card == {"made": "here"}


def test_the_false_rejection_rate_holds() -> None:
    """Over 200 redraws of the held-out samples, own samples are rejected 10 % of the time at most, and nearly so.

    Exact expectation: floor(0.1·(19 + 1))/(19 + 1) = 0.1. Measured: 0.102.
    """
    spec = SampleSpec((6,), -float("inf"), float("inf"))
    own = RawValues(spec).extract(toy_samples("table", 60, 1)).values
    detector = MahalanobisRecipe().fit(own, None, 0)
    pool = toy_samples("table", 200 * 39, 2)
    rejected = []
    for part in pool.split(39):
        one = Attributor(RawValues(spec), detector, detector.score(part[:19]), rate=RATE)
        rejected += [outcome is Outcome.NOT_ATTRIBUTED for outcome in outcomes(one, part[19:])]
    share = sum(rejected) / len(rejected)
    assert 0.075 < share < 0.125
