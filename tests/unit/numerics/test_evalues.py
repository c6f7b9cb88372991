"""E-values: on average at most 1 under the proposition, and large where it is false."""

from __future__ import annotations

import pytest
import torch

from morelli.errors import OutOfRange
from morelli.numerics.evalues import BETS, averaged, calibrated, log10_evidence, running_ranks

HELD_OUT = 200


def evidence(rows: int, n: int, shift: float = 0.0, ties: bool = False) -> torch.Tensor:
    rng, found = torch.Generator().manual_seed(rows), []
    for _ in range(n):
        held, scores = torch.randn(HELD_OUT, generator=rng), torch.randn(rows, generator=rng) + shift
        found.append(log10_evidence(held.round(), scores.round()) if ties else log10_evidence(held, scores))
    return torch.tensor(found)


def test_calibrators_integrate_to_one() -> None:
    """By the right ends of 10⁵ steps; a small κ has much of its integral near 0, where steps are coarse."""
    p = torch.arange(1, 10**5 + 1, dtype=torch.float64) / 10**5
    for bet in BETS:
        assert float(calibrated(p, bet).mean()) <= 1
        if bet > 0.5:
            assert float(calibrated(p, bet).mean()) == pytest.approx(1, abs=1e-2)


def test_running_ranks_by_hand() -> None:
    held = torch.tensor([1.0, 2.0, 3.0])
    found = running_ranks(held, torch.tensor([2.5, 2.5, 9.0, float("nan")]))
    assert found.tolist() == pytest.approx([2 / 4, 3 / 5, 1 / 6, 1 / 7])


@pytest.mark.parametrize("ties", [False, True])
def test_own_rows_seldom_make_evidence(ties: bool) -> None:
    """Of 300 experiments. The mean e-value of 1,000 was 0.35 and, with ties, 0.08; none reached 20."""
    found = evidence(30, 300, ties=ties)
    assert float((found >= torch.tensor(20.0).log10()).double().mean()) <= 0.05
    assert float((10 ** found.double()).mean()) < 1.5


def test_more_foreign_rows_make_more_evidence() -> None:
    few, many = evidence(5, 50, 1.0).median(), evidence(60, 50, 1.0).median()
    assert few < many
    assert many > 3  # measured: 7.5


def test_averages() -> None:
    assert averaged(torch.ones(5)) < 1
    assert averaged(torch.full((5,), 1e-4)) > 20


def test_a_bet_lies_between_zero_and_one() -> None:
    for bet in (0.0, 1.0):
        with pytest.raises(OutOfRange, match="between 0 and 1"):
            calibrated(torch.ones(1), bet)
