"""One model or two: the answer, and how often it may be wrong."""

from __future__ import annotations

import json

import pytest
import torch
from prints import models, world

from morelli.attribution.scoring import SCORINGS
from morelli.attribution.verification import Answer, Verification, between, known_pairs, missed, verify
from morelli.errors import OutOfRange, TooFewSamples
from morelli.numerics.calibration import p_values

KNOWN = world(models(60, 12, seed=0))


def test_the_plain_cases() -> None:
    one, other = models(2, 24, seed=7, within=0.5)
    same, different = verify(one[:12], one[12:], KNOWN), verify(one, other, KNOWN)
    assert same.answer is Answer.ONE
    assert different.answer is Answer.TWO
    assert same.score < different.score
    assert same.models == 30
    found = json.loads(json.dumps(different.to_dict()))
    assert (found["answer"], found["refused"]) == ("two models", [])
    assert found["missed"] == list(different.missed)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 5)])
def test_two_models_are_called_one_no_more_often_than_promised(scoring: str, n: int, m: int) -> None:
    """Fresh pairs from where strangers come from. Where these taught the scoring too, rates up to 0.56 were seen."""
    rate, found, missing, total = 0.1, 0, 0, 0
    for seed in range(8):
        values = models(60 + 40, 12, seed=200 + seed, d=32)
        here = world(values[:60], scoring)
        same, different = known_pairs(here, n, m)
        first, second = values[60:, :n], values[60:, -m:]
        apart = torch.stack([between(x, y, here) for x, y in zip(first, second.roll(1, 0), strict=True)])
        alike = torch.stack([between(x, y, here) for x, y in zip(first, second, strict=True)])
        found += int((p_values(-different.flatten(), -apart) <= rate).sum())
        missing += int((p_values(same, alike) <= rate).sum())
        total += len(apart)
    noise = (rate / 31 / 8) ** 0.5  # of what thirty strangers promise, over eight worlds
    assert found / total < rate + 3.5 * noise
    assert missing / total < rate + 3.5 * noise


def test_evidence_against_both_answers_is_none() -> None:
    rest = (0.05, (0.1, 0.0, 0.2), 25)
    answers = [Verification(0.0, p_one, p_two, *rest).answer for p_one in (0.01, 0.5) for p_two in (0.01, 0.5)]
    assert answers == [Answer.INCONCLUSIVE, Answer.TWO, Answer.ONE, Answer.INCONCLUSIVE]


def test_it_does_not_matter_which_is_first() -> None:
    one, other = models(2, 9, seed=3)
    there, back = verify(one[:4], other, KNOWN), verify(other, one[:4], KNOWN)
    assert there.score == pytest.approx(back.score, abs=1e-5)


def test_the_share_that_is_missed_by_hand() -> None:
    different = torch.linspace(0, 1, 101).repeat(4, 1)
    assert missed(torch.tensor([0.0, 0.04, 0.06, 2.0]), different, 0.05)[0] == 0.5
    value, low, high = missed(torch.rand(50, generator=torch.Generator().manual_seed(0)), torch.rand(50, 49), 0.5)
    assert low < value < high


def test_pairs_of_the_world() -> None:
    same, different = known_pairs(KNOWN, 99, 99)
    assert (same.shape, different.shape) == ((30,), (30, 29))
    assert same.mean() < different.mean() - 1
    halves = known_pairs(KNOWN, 6, 6)  # half the images of a model is the most
    assert torch.equal(halves[0], same)


def test_refusals() -> None:
    one, other = models(2, 9, seed=3)
    for rate in (0.0, 1.0, float("nan")):
        with pytest.raises(OutOfRange, match="between 0 and 1"):
            verify(one, other, KNOWN, rate)
    with pytest.raises(TooFewSamples, match="30 known models cannot resolve"):
        verify(one, other, KNOWN, 0.02)
    for first, second in ((one[:0], other), (one, other[:0])):
        with pytest.raises(TooFewSamples, match="empty"):
            verify(first, second, KNOWN)
