"""A declared population: what is calibrated on what, what is left out, and what its error rates mean."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from morelli.attribution.population import ALL, GIVEN, Judged, Population, fit_population, ratios_left_out
from morelli.attribution.propositions import sentence, support
from morelli.errors import MismatchError, TooFewSamples
from morelli.numerics.bounds import BoundedRatio
from morelli.numerics.calibration import p_values, relative
from morelli.numerics.likelihood_ratio import Scores

CONDITIONS = ("none", "jpeg:80", "blur:3")
HELD_OUT = torch.randn(199, generator=torch.Generator().manual_seed(0)).double()


def judged(sources: int = 6, each: int = 30, apart: tuple[float, ...] = (4.0, 1.5), seed: int = 1) -> Judged:
    """`each` samples of every source in each of the first conditions, `apart` from own ones there."""
    rng = torch.Generator().manual_seed(seed)
    parts = []
    for k in range(sources):
        for c, far in enumerate(apart):
            raw = far + 0.3 * k + torch.randn(each, generator=rng).double()
            parts.append((k, c, raw))
    raw = torch.cat([part[2] for part in parts])
    source, condition = (torch.tensor([part[i] for part in parts]).repeat_interleave(each) for i in (0, 1))
    names = tuple(f"source-{k}" for k in range(sources))
    return Judged(names, source, relative(HELD_OUT, raw), p_values(HELD_OUT, raw), condition, condition > 0)


def own() -> dict[str, Tensor]:
    return {name: relative(HELD_OUT, HELD_OUT + 0.0) for name in CONDITIONS}


@pytest.fixture(scope="module")
def population() -> Population:
    return fit_population(own(), judged(), leave_source_out=True, card={"calibrator": "logistic", "made": "now"})


def test_conditions_with_enough_samples_have_their_own_calibrator(population: Population) -> None:
    assert set(population.ratios) == {ALL, "none", "jpeg:80"}
    assert population.calibrated_in("blur:3") == population.calibrated_in("") == ALL
    assert population.calibrated_in("jpeg:80") == "jpeg:80"
    few = fit_population(own(), judged(sources=2, each=20))
    assert set(few.ratios) == {ALL}  # two sources are too few for conditions
    alone = fit_population({"": own()["none"]}, judged(apart=(3.0,)))
    assert set(alone.ratios) == {ALL}


def test_ratios_are_larger_where_sources_are_further_away(population: Population) -> None:
    usual, above = (population.weighed(0.0, where)["log10"] for where in ("none", "jpeg:80"))
    assert usual > above > 0
    far = population.weighed(5.0, "none")
    assert far["log10"] == pytest.approx(population.ratios["none"].lower, abs=1e-4) != 0
    assert far["condition"] == "none"
    assert "if made by another source of the declared population than if made by this model" in far["words"]


def test_false_attribution_is_counted_by_sources(population: Population) -> None:
    rate = 0.05
    found = population.false_attribution(rate, "jpeg:80")
    seen = population.judged
    chosen = seen.condition == 1
    shares = [
        float((seen.p_value[chosen & (seen.source == k)] > rate).double().mean()) for k in range(len(seen.sources))
    ]
    assert found["rate"] == pytest.approx(sum(shares) / 6, abs=1e-6)
    assert found["low"] < found["rate"] < found["high"]
    assert (found["sources"], found["samples"]) == (6, 180)
    assert found["unseen"] == pytest.approx(1 - 0.05 ** (1 / 6), abs=1e-6)
    given = population.false_attribution(rate, GIVEN)
    assert given["samples"] == 180
    assert given["rate"] < found["rate"]
    assert population.false_attribution(rate, ALL)["samples"] == 360
    assert population.false_attribution(0.3, "jpeg:80")["rate"] < found["rate"]  # another rate needs no new judging


def test_one_large_source_does_not_outweigh_the_others() -> None:
    seen = judged(sources=3, apart=(6.0,))
    many = torch.full((1000,), 0)
    grown = Judged(
        seen.sources,
        *(torch.cat([getattr(seen, n), v]) for n, v in (("source", many), ("score", torch.zeros(1000).double()))),
        torch.cat([seen.p_value, torch.ones(1000).double()]),
        torch.cat([seen.condition, many]),
        torch.cat([seen.made, many.bool()]),
    )
    found = fit_population({"": own()["none"]}, grown).false_attribution(0.05)
    assert found["rate"] == pytest.approx(1000 / 1030 / 3, abs=0.01)


def test_a_left_out_source_has_no_say() -> None:
    """Moving one source moves the ratios of all others, and its own only as its scores moved."""
    mine, first = Scores.single(own()["none"]), judged(apart=(2.0,))
    score = first.score.clone()
    score[first.source == 2] = 0.0
    _, before = ratios_left_out("logistic", mine, Scores(first.score, first.source))
    _, after = ratios_left_out("logistic", mine, Scores(score, first.source))
    others = first.source != 2
    assert not torch.isclose(before[others], after[others]).any()
    # those that moved are judged by the same calibrator as before: equal scores, equal ratios
    same = torch.zeros(3, dtype=torch.float64)
    rest = Scores(first.score[others], first.source[others])
    held = mine.units % 6 == 2
    expected = BoundedRatio.fit("logistic", mine.some(~held), rest).log10_ratio(same)
    assert torch.allclose(after[~others][:3], expected)


def test_validation(population: Population) -> None:
    about = population.about(0.05)
    json.dumps(about, allow_nan=False)
    easy, hard = (about["conditions"][name] for name in ("none", "jpeg:80"))
    assert 0 < easy["cllr"] < hard["cllr"] < 1
    assert easy["cllr_min"] <= easy["cllr"]
    assert hard["misleading_foreign"] > easy["misleading_foreign"]
    assert about["propositions"] == ["made by this model", "made by another source of the declared population"]
    everything, foreign = population.validated(ALL)
    assert (len(everything.values), len(foreign.values)) == (3 * 199, 360)
    assert everything.count == 199
    without = fit_population(own(), judged()).about(0.05)
    assert without["validated"] is None
    assert "cllr" not in without["conditions"][ALL]


@pytest.mark.parametrize("kind", ["logistic", "pav", "kde"])
def test_state(kind: str) -> None:
    made = fit_population(own(), judged(each=12), kind, leave_source_out=True, card={"calibrator": kind})
    again = Population.from_state(made.state())
    assert again.about(0.05) == made.about(0.05)
    for where in made.ratios:
        assert again.weighed(0.7, where) == made.weighed(0.7, where)
    assert all(tensor.isfinite().all() for tensor in made.state().flatten().values())


def test_too_few_sources_are_refused() -> None:
    one, two = judged(sources=1), judged(sources=2)
    with pytest.raises(TooFewSamples, match="of 1 source; it takes at least 2"):
        fit_population(own(), one)
    with pytest.raises(TooFewSamples, match="at least 3"):
        fit_population(own(), two, leave_source_out=True)
    fit_population(own(), two)


def test_parts_that_do_not_fit_are_refused(population: Population) -> None:
    seen = judged()
    with pytest.raises(MismatchError, match=r"\[7, 360\] values, of 6 sources"):
        replace(seen, score=seen.score[:7])
    with pytest.raises(MismatchError, match="of 2 sources"):
        replace(seen, sources=("a", "b"))
    with pytest.raises(MismatchError, match="no calibrator for all samples"):
        replace(population, ratios={"none": population.ratios["none"]})


@pytest.mark.parametrize(
    ("log10", "words"),
    [
        (0.0, "no support"),
        (-0.3, "no support"),
        (0.5, "weak support for 'made by this model'"),
        (1.0, "moderate support"),
        (-2.5, "moderately strong support for 'made by another source"),
        (3.0, "strong support"),
        (5.9, "very strong support"),
        (6.0, "extremely strong support"),
    ],
)
def test_the_verbal_scale(log10: float, words: str) -> None:
    assert support(log10).startswith(words)
    assert log10 == 0 or sentence(log10) != sentence(-log10) or abs(log10) <= 0.3
