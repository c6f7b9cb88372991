"""Turning: the rate of upright samples is kept, that of turned ones bounded, foreign ones get fewer chances."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from morelli.attribution.attributor import Attributor
from morelli.attribution.pooling import pooled_evidence, pooled_p_value
from morelli.attribution.turning import FREE, Turning, fit_turning
from morelli.detectors.ridge import RidgeRecipe
from morelli.errors import OutOfRange
from morelli.features.imprint import Imprint, orientations
from morelli.features.protocol import SampleSpec
from morelli.numerics.calibration import p_values, threshold

RATE, KEPT = 0.005, 1999
SPEC = SampleSpec((1, 16, 16))


def scores(apart: float, n: int, seed: int, upright: int = 0) -> torch.Tensor:
    """[8, n], normal ones of own samples; in the wrong orientations `apart` higher."""
    found = torch.randn(8, n, generator=torch.Generator().manual_seed(seed)) + apart
    found[upright] -= apart
    return found


def test_what_never_passes_costs_nothing() -> None:
    every = scores(30.0, KEPT, 0)
    assert fit_turning(every, every[0], RATE) == FREE


def test_nothing_to_turn_costs_nothing() -> None:
    assert fit_turning(scores(0, KEPT, 0)[:1], scores(0, KEPT, 0)[0], RATE) == FREE


@pytest.mark.parametrize("apart", [0.0, 2.0, 4.0])
def test_upright_ones_keep_the_rate_and_turned_ones_a_bound(apart: float) -> None:
    calibrating = scores(apart, KEPT, 1)
    turning = fit_turning(calibrating, calibrating[0], RATE)
    held_out, _ = turning.least(calibrating)
    rejected = [
        float((p_values(held_out, turning.least(scores(apart, 20_000, 2, upright))[0]) <= RATE).double().mean())
        for upright in (0, 3)
    ]
    assert 1 < turning.looks <= 8
    assert rejected[0] == pytest.approx(RATE, abs=0.004)
    assert rejected[1] <= turning.looks * RATE + 0.01


def test_foreign_samples_get_fewer_chances() -> None:
    """Those that look three deviations off in every orientation alike."""
    calibrating = scores(2.0, KEPT, 1)
    turning = fit_turning(calibrating, calibrating[0], RATE)
    foreign = scores(0.0, 5000, 3) + 3.0

    def passing(one: Turning) -> float:
        held_out, _ = one.least(calibrating)
        return float((one.least(foreign)[0] <= threshold(held_out, RATE)).double().mean())

    assert passing(turning) < 0.85 * passing(FREE)


def test_a_large_rate_is_not_multiplied() -> None:
    every = scores(0.0, KEPT, 1)
    assert fit_turning(every, every[0], 0.05) == FREE
    assert fit_turning(every, every[0], 0.01).looks == pytest.approx(4.0)


class Template:
    """Scores maps by how far they are from one."""

    def __init__(self, template: torch.Tensor) -> None:
        self.template = template

    def score(self, features: torch.Tensor) -> torch.Tensor:
        return (features[:, : len(self.template)] - self.template).norm(dim=1)


def test_a_set_of_turned_samples_pays_once() -> None:
    """Of 300 sets of eight mirrored own images."""
    rng = torch.Generator().manual_seed(0)
    pattern = torch.rand(1, 16, 16, generator=rng) * 0.2

    def images(n: int) -> torch.Tensor:
        return (pattern + torch.rand(n, 1, 16, 16, generator=rng)).clamp(-1, 1)

    extractor = Imprint(SPEC)
    detector = Template(extractor.extract(images(2000)).values[:, :256].mean(0))
    values = extractor.extract(images(399)).values
    every = torch.stack([detector.score(values[:, turn]) for turn in extractor.turns])
    turning = fit_turning(every, every[0], RATE)
    assert turning.looks > 4
    held_out, _ = turning.least(every)
    turning = replace(turning, unpaid=every.min(0).values)
    attributor = Attributor(extractor, detector, held_out, RATE, any_orientation=True, turning=turning)  # type: ignore[arg-type]
    mirrored = torch.stack(orientations(images(2400), True))[7]
    verdicts = attributor.judge(mirrored)
    paying = [replace(verdict, notes={}) for verdict in verdicts]
    once, each = (
        sum(pooled_p_value(attributor, found[start : start + 8]) <= RATE for start in range(0, 2400, 8)) / 300
        for found in (verdicts, paying)
    )
    assert once <= turning.looks * RATE + 0.02
    assert each > 2 * once + 0.02
    assert pooled_evidence(attributor, verdicts) is None, "scores that paid are not like held-out ones"


def test_a_set_is_held_against_scores_that_did_not_pay_either() -> None:
    """p-values as if turning were free are uniform, however own samples lie."""
    calibrating, judged = scores(2.0, KEPT, 1), scores(2.0, 20_000, 2, upright=5)
    turning = fit_turning(calibrating, calibrating[0], RATE)
    assert turning.handicap > 0.5
    turning = replace(turning, unpaid=calibrating.min(0).values)
    p = turning.free(turning.least(calibrating)[0], judged.min(0).values)
    assert [float((p <= level).double().mean()) for level in (0.05, 0.3, 0.7)] == pytest.approx(
        [0.05, 0.3, 0.7], abs=0.03
    )


def test_it_is_stored() -> None:
    values = torch.rand(40, sum(Imprint(SPEC).blocks))
    detector = RidgeRecipe().fit(values[:20], values[20:], 0)
    turning = Turning(3.0, 0.25, torch.rand(399))
    attributor = Attributor(Imprint(SPEC), detector, torch.rand(399), RATE, turning=turning)
    again = Attributor.from_state(attributor.state())
    assert again.turning == turning
    assert again.turning.unpaid is not None and torch.equal(again.turning.unpaid, turning.unpaid)
    state = attributor.state()
    del state.settings["turning"]  # as older bundles are
    assert Attributor.from_state(state).turning == FREE


@pytest.mark.parametrize("settings", [{"looks": 0.0}, {"looks": math.inf}, {"handicap": -1.0}, {"handicap": math.nan}])
def test_what_makes_no_sense_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(OutOfRange, match="expected 1 and 0 or more"):
        Turning(**settings)
