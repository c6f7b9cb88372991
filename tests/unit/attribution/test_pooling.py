"""Pooling: the p-value of several samples is uniform under the proposition, and small where it is false."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from morelli import Attributor, Outcome, SampleSpec
from morelli.attribution.pooling import DRAWS, mean_p_value, pooled_p_value
from morelli.attribution.report import Verdict
from morelli.detectors.mahalanobis import MahalanobisRecipe
from morelli.errors import TooFewSamples
from morelli.features.baselines import RawValues
from morelli.numerics.calibration import p_values

HELD_OUT = 99


def experiments(count: int, n: int, shift: float = 0.0, seed: int = 1) -> Tensor:
    """[n] pooled p-values, each of a calibration of its own and `count` samples that are `shift` further out."""
    rng, found = torch.Generator().manual_seed(seed), []
    for _ in range(n):
        held_out, scores = torch.randn(HELD_OUT, generator=rng), torch.randn(count, generator=rng) + shift
        found.append(mean_p_value(p_values(held_out, scores), HELD_OUT))
    return torch.tensor(found)


@pytest.mark.parametrize("count", [1, 4, 16])
def test_the_p_value_is_uniform_under_the_proposition(count: int) -> None:
    """Of 2,000 experiments. Three standard deviations of a share of 0.05 are 0.015."""
    found = experiments(count, 2000)
    for rate in (0.05, 0.2, 0.5):
        assert abs((found <= rate).double().mean() - rate) < 3.5 * (rate * (1 - rate) / 2000) ** 0.5
    assert 1 / (DRAWS + 1) <= found.min() <= found.max() <= 1


def test_of_one_sample_it_is_the_samples_own() -> None:
    """All ranks are drawn, so it differs by chance alone: 0.0035 is one standard deviation at 0.5."""
    for p in (0.01, 0.05, 0.5, 1.0):
        assert mean_p_value(torch.tensor([p], dtype=torch.float64), HELD_OUT) == pytest.approx(p, abs=0.012)


def test_more_samples_say_more() -> None:
    """Share rejected at 5 %, samples one deviation further out. Measured: 0.25, 0.63, 0.99."""
    power = [float((experiments(count, 200, 1.0) <= 0.05).double().mean()) for count in (1, 4, 16)]
    assert power[0] < 0.4 < power[1] < 0.85 < power[2]


def test_samples_of_one_calibration_are_not_taken_for_independent() -> None:
    """Fisher's method would reject far too often: the mean −log p of many samples has the calibration's own error."""
    found = experiments(200, 200)
    assert 0.01 < (found <= 0.05).double().mean() < 0.1  # measured: 0.05
    assert mean_p_value(torch.full((200,), 0.3, dtype=torch.float64), HELD_OUT) > 0.01


def test_it_repeats_itself_and_order_does_not_matter() -> None:
    chances = torch.tensor([0.03, 0.4, 0.77, 0.2], dtype=torch.float64)
    assert mean_p_value(chances, HELD_OUT) == mean_p_value(chances.flip(0), HELD_OUT)
    assert mean_p_value(chances, HELD_OUT, seed=1) == pytest.approx(mean_p_value(chances, HELD_OUT), abs=0.02)


def test_verdicts_are_pooled() -> None:
    spec = SampleSpec((6,), -float("inf"), float("inf"))
    rng = torch.Generator().manual_seed(0)
    detector = MahalanobisRecipe().fit(torch.randn(100, 6, generator=rng), None, 0)
    held_out = detector.score(torch.randn(HELD_OUT, 6, generator=rng))
    attributor = Attributor(RawValues(spec), detector, held_out, rate=0.05)
    own, far = torch.randn(12, 6, generator=rng), 1.6 * torch.randn(12, 6, generator=rng)
    assert pooled_p_value(attributor, attributor.judge(own)) > 0.05
    verdicts = attributor.judge(far)
    together = pooled_p_value(attributor, verdicts)
    assert together < min(0.01, sorted(v.p_value for v in verdicts)[1])
    unknown = Verdict(Outcome.INCONCLUSIVE, reason="unreadable")
    assert pooled_p_value(attributor, [*verdicts, unknown]) == together
    with pytest.raises(TooFewSamples, match="not one"):
        pooled_p_value(replace(attributor), [unknown])
