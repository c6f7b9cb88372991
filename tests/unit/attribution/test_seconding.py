"""Seconding: only what both attribute is attributed, own samples keep the rate, and the second hears what it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch

from morelli import Attributor, Outcome, SampleSpec
from morelli.attribution.seconding import FIRST, SECOND, Seconded
from morelli.errors import MismatchError, TooFewSamples
from morelli.features.imprint import SQUARE, orientations
from morelli.features.protocol import Facts, Features, Progress

SPEC, RATE, KEPT = SampleSpec((1, 8, 8)), 0.05, 399


@dataclass(frozen=True)
class Pixel:
    """Scores an image by its first pixel in `row`; of a file that lost something it can say nothing."""

    row: int
    spec: SampleSpec = SPEC
    bears: tuple[str, ...] = ("noise", "jpeg")

    def extract(
        self, samples: torch.Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        reasons = ("not so" if each.get("lossless") is False else "" for each in facts or [{}] * len(samples))
        return Features(samples[:, :, self.row, 0], {}, tuple(reasons))


class Sided(Pixel):
    turns, orientations = torch.zeros(8, 1), SQUARE


class Itself:
    def score(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, 0]


def images(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def attributor(row: int, kept: int = KEPT) -> Attributor:
    held_out = images(kept, 100 + row)[:, 0, row, 0]
    return Attributor(Pixel(row), Itself(), held_out, RATE)  # type: ignore[arg-type]


@pytest.fixture
def pair() -> Seconded:
    return Seconded(attributor(0), attributor(1))


def noted(pair: Seconded, **notes: str) -> Seconded:
    """The first says so of every sample."""

    class Noting:
        extractor, population, rate = pair.first.extractor, None, RATE
        own_scores = pair.first.own_scores

        def judge(self, samples: torch.Tensor, facts: object = None) -> list:
            return [replace(v, notes=dict(v.notes) | notes) for v in pair.first.judge(samples)]

    return Seconded(Noting(), pair.second)  # type: ignore[arg-type]


def test_own_samples_keep_the_rate(pair: Seconded) -> None:
    found = [verdict.outcome for verdict in pair.judge(images(20_000, 1))]
    assert set(found) == {Outcome.ATTRIBUTED, Outcome.NOT_ATTRIBUTED}
    assert found.count(Outcome.NOT_ATTRIBUTED) / len(found) == pytest.approx(RATE, abs=0.015)


def test_either_objects_and_the_second_is_asked_only_what_the_first_attributes(pair: Seconded) -> None:
    samples = torch.zeros(3, 1, 8, 8)
    samples[1, 0, 0, 0] = samples[2, 0, 1, 0] = 5.0
    usual, first, second = pair.judge(samples)
    assert [each.outcome.value for each in (usual, first, second)] == ["attributed", "not attributed", "not attributed"]
    assert usual.p_value == pytest.approx(2 * min(usual.notes[FIRST], usual.notes[SECOND]))
    assert (first.p_value, SECOND in first.notes) == (pytest.approx(2 / (KEPT + 1)), False)
    assert second.notes[SECOND] == pytest.approx(1 / (KEPT + 1))
    assert second.score == usual.score


@pytest.mark.parametrize(
    ("condition", "coding", "outcome"),
    [
        ("noise:0.05..0.12", "none", "not attributed"),
        ("jpeg:70..86", "jpeg:80", "not attributed"),
        ("jpeg:70..86", "none", "inconclusive"),
        ("crop:52..62", "none", "inconclusive"),
    ],
)
def test_an_objection_counts_where_the_second_knows_the_condition(
    pair: Seconded, condition: str, coding: str, outcome: str
) -> None:
    samples = torch.zeros(2, 1, 8, 8)
    samples[1, 0, 1, 0] = 5.0
    usual, strange = noted(pair, condition=condition).judge(samples, [{"coding": coding}] * 2)
    assert usual.outcome is Outcome.ATTRIBUTED
    assert strange.outcome.value == outcome
    assert (condition in strange.reason) == (outcome == "inconclusive")


@pytest.mark.parametrize("place", range(8))
def test_the_second_sees_what_was_turned_both_ways_and_the_kinder_counts(pair: Seconded, place: int) -> None:
    """The first says that everything was turned; the second objects to a pixel that turning moves away."""

    first = replace(pair.first, extractor=Sided(0))  # type: ignore[arg-type]
    turning = noted(Seconded(first, pair.second), orientation=SQUARE[place])
    strange = torch.zeros(1, 1, 8, 8)
    strange[0, 0, 1, 0] = 5.0
    objected = Outcome.ATTRIBUTED if place else Outcome.NOT_ATTRIBUTED
    assert turning.judge(strange)[0].outcome is objected
    (elsewhere,) = [
        each for each in orientations(strange, True) if torch.equal(orientations(each, True)[place], strange)
    ]
    assert turning.judge(elsewhere)[0].outcome is objected
    (verdict,) = turning.judge(strange, [{"coding": "jpeg:80"}])
    assert (verdict.outcome is Outcome.INCONCLUSIVE) == (place != 0), "of a turned JPEG the file says nothing"


def test_own_samples_that_seem_turned_keep_the_rate(pair: Seconded) -> None:
    """The first takes one in five for a mirrored one, of which the second knows nothing."""

    class Mistaken:
        extractor, population, rate = Sided(0), None, RATE
        own_scores = pair.first.own_scores

        def judge(self, samples: torch.Tensor, facts: object = None) -> list:
            found = pair.first.judge(samples)
            ways = [SQUARE[1 if i % 5 == 0 else 0] for i in range(len(found))]
            return [replace(v, notes=dict(v.notes) | {"orientation": w}) for v, w in zip(found, ways, strict=True)]

    samples = images(20_000, 1)
    samples[:, :, :, 1:] = 3.0  # what turning brings to the place where the second looks
    found = [verdict.outcome for verdict in Seconded(Mistaken(), pair.second).judge(samples)]  # type: ignore[arg-type]
    assert found.count(Outcome.NOT_ATTRIBUTED) / len(found) == pytest.approx(RATE, abs=0.015)


def test_two_that_do_not_go_together() -> None:
    with pytest.raises(TooFewSamples, match="second"):
        Seconded(attributor(0), attributor(1, kept=30))
    other = replace(attributor(1), extractor=Pixel(1, spec=SampleSpec((1, 9, 9))))  # type: ignore[arg-type]
    with pytest.raises(MismatchError, match="one model"):
        Seconded(attributor(0), other)
