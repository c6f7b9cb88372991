"""Experts: who judges what, that own samples keep their rate whatever happened to them, and what the bundle says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from toys import changed, imprinting_generator, imprinting_samples

from morelli import Attributor, Outcome, SampleSpec
from morelli.app.imprinting import fit_imprint
from morelli.app.sources import silent
from morelli.attribution.experts import Expert, Experts
from morelli.attribution.kinds import METHODS
from morelli.errors import MismatchError, OutOfRange, TooFewSamples
from morelli.features.imprint import Imprint
from morelli.numerics.state import State

SPEC = SampleSpec((3, 32, 32))
CONDITIONS = ("none", "jpeg:80", "noise:0.1", "blur:3")
RATE = 0.05


def fitted(own: int, held_out: int, conditions: tuple[str, ...], *, seed: int = 0, side: int = 32) -> Attributor:
    samples = imprinting_samples(own + held_out, 11 + seed, side=side)
    extractor = METHODS["imprint"].extractor(imprinting_generator(0, side).head(100))
    assert isinstance(extractor, Imprint)
    given = {"rate": RATE, "any_orientation": True, "seed": seed, "device": "cpu", "stage": silent}
    return fit_imprint(extractor, samples[:own], samples[own:], None, conditions=conditions, turned=True, **given)


@pytest.fixture(scope="module")
def attributor() -> Attributor:
    return fitted(80, 60, CONDITIONS)


def rejected(attributor: Attributor, samples: torch.Tensor) -> float:
    verdicts = attributor.judge(samples)
    return sum(verdict.outcome is Outcome.NOT_ATTRIBUTED for verdict in verdicts) / len(verdicts)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_pixels_say_who_judges_and_the_rate_is_kept(attributor: Attributor, condition: str) -> None:
    """At 5 %, 60 held-out samples; three deviations of calibration and chance are 0.09. Measured: 0.01 to 0.05."""
    own = changed(imprinting_samples(150, 21), SPEC, condition)
    notes = [verdict.notes for verdict in attributor.judge(own)]
    assert sum(note["condition"] == condition for note in notes) > 140
    assert rejected(attributor, own) < 0.14
    assert rejected(attributor, own.flip(3)) < 0.14
    assert rejected(attributor, changed(imprinting_samples(60, 21, generator_seed=1), SPEC, condition)) > 0.8


def test_a_lossy_file_says_it_itself(attributor: Attributor) -> None:
    samples = imprinting_samples(3, 22)
    facts = [{"coding": "jpeg:77"}, {"coding": "none"}, {}]
    assert attributor.experts is not None
    found = attributor.experts.plausible(samples, SPEC, facts)
    assert found[0] == ["jpeg:80"]
    assert found[1] == found[2]
    assert found[1][0] == "none"
    assert [verdict.notes["condition"] for verdict in attributor.judge(samples, facts)] == ["jpeg:80", "none", "none"]


def test_the_most_favourable_of_the_plausible_experts_counts(attributor: Attributor) -> None:
    features = attributor.extractor.extract(imprinting_samples(8, 23))
    alone = [[v.p_value for v in attributor.judge_features(features, [[name]] * 8)] for name in CONDITIONS[:2]]
    both = attributor.judge_features(features, [["jpeg:80", "none"]] * 8)
    assert [v.p_value for v in both] == [max(pair) for pair in zip(*alone, strict=True)]
    kinder = ["none" if nothing > jpeg else "jpeg:80" for nothing, jpeg in zip(*alone, strict=True)]
    assert [v.notes["condition"] for v in both] == kinder  # of two alike the likeliest


def test_orientation_is_what_makes_a_sample_upright(attributor: Attributor) -> None:
    samples = imprinting_samples(20, 24)
    for turned, name in (
        (samples, "as it is"),
        (samples.flip(3), "mirrored"),
        (samples.rot90(1, (2, 3)), "turned right"),
    ):
        found = [verdict.notes["orientation"] for verdict in attributor.judge(turned)]
        assert found.count(name) >= 18
    upright = replace(attributor, any_orientation=False)
    assert rejected(upright, samples.flip(3)) > 0.9
    assert "orientation" not in upright.judge(samples[:1])[0].notes


def test_a_batch_is_its_samples_one_by_one(attributor: Attributor) -> None:
    samples = torch.cat([changed(imprinting_samples(2, 25), SPEC, condition) for condition in CONDITIONS])
    together = attributor.judge(samples)
    for sample, verdict in zip(samples, together, strict=True):
        (alone,) = attributor.judge(sample[None])
        assert (alone.outcome, alone.notes) == (verdict.outcome, verdict.notes)
        assert alone.score == pytest.approx(verdict.score, rel=1e-3, abs=1e-3)


def test_numbers_that_are_none_are_inconclusive_and_leave_the_others_alone(attributor: Attributor) -> None:
    samples = imprinting_samples(3, 26)
    sound = attributor.judge(samples)
    samples[1, 0, 4, 4] = float("nan")
    found = attributor.judge(samples)
    assert [v.outcome for v in found] == [sound[0].outcome, Outcome.INCONCLUSIVE, sound[2].outcome]
    assert "NaN" in found[1].reason
    assert {v.outcome for v in attributor.judge(samples[2:] * 255)} == {Outcome.INCONCLUSIVE}


def test_state_goes_through_json(attributor: Attributor) -> None:
    state = attributor.state()
    again = Attributor.from_state(State.rebuild(json.loads(json.dumps(state.describe())), state.flatten()))
    samples = torch.cat([imprinting_samples(4, 27), changed(imprinting_samples(4, 28), SPEC, "noise:0.1").flip(2)])
    assert again.judge(samples) == attributor.judge(samples)
    assert again.state().describe() == state.describe()


def test_experts_that_do_not_fit_together_are_refused(attributor: Attributor) -> None:
    experts = attributor.experts
    assert experts is not None
    with pytest.raises(MismatchError, match="one for each of none, jpeg:80"):
        Experts(experts.corruptions, {name: experts.of[name] for name in CONDITIONS[::-1]})
    short = dict(experts.of) | {"blur:3": Expert(experts.of["blur:3"].detector, torch.rand(7))}
    with pytest.raises(MismatchError, match=r"\[7, 60\] held-out scores"):
        Experts(experts.corruptions, short)
    spoilt = {name: replace(expert, held_out=expert.held_out * float("nan")) for name, expert in experts.of.items()}
    with pytest.raises(OutOfRange, match="not finite"):
        replace(attributor, experts=Experts(experts.corruptions, spoilt))
    few = {name: replace(expert, held_out=expert.held_out[:9]) for name, expert in experts.of.items()}
    with pytest.raises(TooFewSamples, match="9 held-out"):
        replace(attributor, experts=Experts(experts.corruptions, few))


@pytest.mark.parametrize("held_out", [40, 0])
def test_over_seeds_own_samples_keep_their_rate(held_out: int) -> None:
    """Mean over six trainings at 5 %, upright and mirrored. Expected of held-out ones: 2/41 = 0.049.

    Measured: 0.056 held out; 0.021 left out in turn, as the least of eight scores meets calibration by one.
    """
    shares = []
    for seed in range(6):
        one = fitted(60, held_out, ("none",), seed=seed, side=16)
        assert len(one.held_out) == (held_out or 60)
        fresh = imprinting_samples(120, 100 + seed, side=16)
        shares += [rejected(one, fresh[:60]), rejected(one, fresh[60:].flip(3))]
    assert sum(shares) / 12 < 0.085
    if held_out:
        assert sum(shares) / 12 > 0.01
