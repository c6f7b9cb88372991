"""Fréchet distance and diversity, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.covariance import ledoit_wolf

from morelli.errors import TooFewSamples
from morelli.numerics.frechet import bootstrap, coverage, frechet_distance, spread


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_two_gaussians_with_known_parameters() -> None:
    """Diagonal covariances: Σ (μ₁ − μ₂)² + Σ (σ₁ − σ₂)². Differing ones, so that shrinkage to a sphere is small."""
    first = normal(60_000, 3, 0) * torch.tensor([1.0, 2.0, 0.5]) + torch.tensor([0.0, 1.0, -1.0])
    second = normal(60_000, 3, 1) * torch.tensor([3.0, 2.0, 1.0]) + torch.tensor([2.0, 1.0, 0.0])
    expected = (4 + 0 + 1) + (4 + 0 + 0.25)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=0.03)


def test_covariances_that_do_not_commute() -> None:
    first, second = (
        normal(40, 4, 2) @ normal(4, 4, 3),
        normal(50, 4, 4) @ normal(4, 4, 5) + 0.5,
    )
    a, b = (ledoit_wolf(x.numpy())[0] for x in (first, second))
    gap = np.square(first.mean(0).numpy() - second.mean(0).numpy()).sum()
    expected = gap + np.trace(a + b - 2 * sqrtm(a @ b)).real
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-8)


def test_nothing_is_at_distance_zero_but_itself() -> None:
    rows = normal(20, 5, 0)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(rows, rows + 0.5) == pytest.approx(5 * 0.25, rel=1e-6)


def test_rows_that_are_all_alike_have_no_covariance_and_no_warning() -> None:
    same = torch.ones(3, 4)
    assert frechet_distance(same, same + 2) == pytest.approx(16)
    rows = normal(200, 1, 0)
    assert frechet_distance(rows, torch.zeros(5, 1)) == pytest.approx(float(rows.square().mean()), rel=0.02)


def test_the_bootstrap_holds_the_distance_and_repeats_itself() -> None:
    first, second = normal(30, 3, 0), normal(30, 3, 1) + 2
    low, high = bootstrap(first, second, draws=30)
    assert low < frechet_distance(first, second) < high
    assert (low, high) == bootstrap(first, second, draws=30)
    wide = bootstrap(first, second, draws=30, level=0.99)
    assert wide[0] < low < high < wide[1]


def test_spread_is_the_mean_distance_of_pairs() -> None:
    assert spread(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])) == pytest.approx(10 / 3)


def test_coverage_by_hand() -> None:
    bank = torch.tensor([[0.0], [1.0], [10.0]])  # reaches for k = 1: 1, 1, 9
    assert coverage(torch.tensor([[-1.0], [2.0], [1.0], [-1.1], [19.0], [19.5]]), bank, k=1) == pytest.approx(4 / 6)
    assert coverage(torch.tensor([[-1.1]]), bank, k=1) == 0
    assert coverage(torch.tensor([[-9.9]]), bank, k=2) == 1  # the first row reaches 10


def test_copies_cover_themselves_and_nothing_else() -> None:
    """With many rows, distances by matrix products would not be zero."""
    rows = normal(40, 8, 0) + 100
    bank = rows.repeat_interleave(6, 0)
    assert coverage(rows, bank, k=5) == 1
    assert coverage(rows + 1e-6, bank, k=5) == 0


def test_too_few_rows() -> None:
    with pytest.raises(TooFewSamples, match="1 and 5 spectra"):
        frechet_distance(torch.zeros(1, 2), torch.zeros(5, 2))
    with pytest.raises(TooFewSamples, match="needs more than 5"):
        coverage(torch.zeros(3, 2), torch.zeros(5, 2))
    with pytest.raises(TooFewSamples, match="no real row"):
        coverage(torch.zeros(0, 2), torch.zeros(6, 2))
    with pytest.raises(TooFewSamples, match="at least two"):
        spread(torch.zeros(1, 2))
