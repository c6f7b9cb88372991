"""Scorings: higher = less like the model, whatever they compute; distances and PLDA against what they stand for."""

from __future__ import annotations

import pytest
import torch
from prints import models
from scipy.stats import multivariate_normal

from morelli.attribution.scoring import (
    SCORINGS,
    Cosine,
    Distance,
    Neighbours,
    Plda,
    Scoring,
    fit_plda,
    whitening,
    within,
)

KNOWN = models(40, 20, seed=0)
PLAIN = torch.eye(2)


def fitted(name: str) -> Scoring:
    return SCORINGS[name](KNOWN, within(list(KNOWN)))


def score(scoring: Scoring, enrolled: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    return scoring.score(scoring.see(enrolled), scoring.see(queries))


@pytest.mark.parametrize("name", SCORINGS)
@pytest.mark.parametrize("size", [1, 4])
def test_higher_is_less_like_the_model(name: str, size: int) -> None:
    scoring, test = fitted(name), models(30, 14, seed=1)
    own = torch.stack([score(scoring, x[:10], x[None, 10 : 10 + size])[0] for x in test])
    other = torch.stack(
        [score(scoring, x[:10], y[None, 10 : 10 + size])[0] for x, y in zip(test, test.roll(1, 0), strict=True)]
    )
    assert (own < other).double().mean() > 0.85
    assert own.mean() < other.mean() - other.std() / 2


@pytest.mark.parametrize("name", SCORINGS)
def test_neither_order_nor_company_counts(name: str) -> None:
    scoring, enrolled, queries = fitted(name), *models(2, 12, seed=2)
    groups = queries.reshape(4, 3, -1)
    found = score(scoring, enrolled, groups)
    assert found.shape == (4,)
    torch.testing.assert_close(score(scoring, enrolled.flip(0), groups.flip(1)), found, rtol=1e-4, atol=1e-5)
    alone = torch.cat([score(scoring, enrolled, group[None]) for group in groups])
    torch.testing.assert_close(alone, found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["distance", "cosine", "neighbours"])
def test_units_of_the_values_do_not_count(name: str) -> None:
    units = torch.logspace(-2, 2, 16)
    scaled = SCORINGS[name](KNOWN * units, whitening_of(KNOWN * units))
    plain = SCORINGS[name](KNOWN, whitening_of(KNOWN))
    one, other = models(2, 8, seed=3)
    there = score(scaled, one * units, other[None] * units)
    torch.testing.assert_close(there, score(plain, one, other[None]), rtol=1e-2, atol=1e-3)


def whitening_of(values: torch.Tensor) -> torch.Tensor:
    """The plain covariance: shrinking it would depend on the units."""
    return torch.cov((values - values.mean(1, keepdim=True)).flatten(0, 1).T).double()


def test_distance_is_that_of_the_true_means() -> None:
    """Whatever the numbers of samples: two of one model are at 0 on average, two apart by one spread at 1."""
    rng = torch.Generator().manual_seed(0)
    for n, m, apart in ((2, 1, 0.0), (10, 5, 0.0), (3, 1, 1.0)):
        found = [
            Distance(torch.eye(8)).score(torch.randn(n, 8, generator=rng), apart + torch.randn(1, m, 8, generator=rng))
            for _ in range(2000)
        ]
        assert float(torch.cat(found).mean()) == pytest.approx(apart, abs=0.06)


def test_cosine_by_hand() -> None:
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    cosine = Cosine(torch.zeros(2), PLAIN)
    assert cosine.score(x, torch.stack([x, y, -x])).tolist() == pytest.approx([0, 1, 2])
    assert float(cosine.score(torch.cat([x, y]), x[None])) == pytest.approx(1 - 0.5**0.5)


def test_neighbours_by_hand_and_with_fewer_than_k() -> None:
    enrolled = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    query = torch.tensor([[[1.0, 0.0]]])
    for k, expected in ((1, 0.0), (2, 0.5), (9, 1.0)):
        assert float(Neighbours(PLAIN, k).score(enrolled, query)) == pytest.approx(expected, abs=1e-6)


def test_the_covariance_within_a_model() -> None:
    axes = torch.tensor([[1.0, 0.5], [0.0, 2.0]])
    rng = torch.Generator().manual_seed(0)
    groups = [10 * i + torch.randn(5, 2, generator=rng) @ axes for i in range(2000)]
    found = within(groups)
    torch.testing.assert_close(found, (axes.T @ axes).double(), rtol=0.1, atol=0.1)
    seen = torch.cat([(x - x.mean(0)) for x in groups]) @ whitening(found) * (5 / 4) ** 0.5
    torch.testing.assert_close(seen.T @ seen / len(seen), torch.eye(2), rtol=0, atol=0.05)
    assert within([torch.ones(3, 2), torch.ones(1, 2)]).isfinite().all()
    assert whitening(torch.zeros(2, 2)).isfinite().all()


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 2), (5, 1)])
def test_plda_is_the_ratio_of_two_gaussians(n: int, m: int) -> None:
    """All samples of both sides at once, in two dimensions: with one model's mean in common, or with two."""
    spread = torch.tensor([2.0, 0.5])
    plda = Plda(torch.tensor([0.3, -0.2]), torch.tensor([[1.0, 0.5], [0.0, 2.0]]), spread)
    samples = torch.randn(n + m, 2, generator=torch.Generator().manual_seed(n), dtype=torch.float32)
    along = plda.see(samples).double()
    expected = 0.0
    for i in range(2):
        shared = float(spread[i]) * torch.ones(n + m, n + m) + torch.eye(n + m)
        apart = shared.clone()
        apart[:n, n:] = apart[n:, :n] = 0
        one, two = (multivariate_normal(cov=c.numpy()).logpdf(along[:, i].numpy()) for c in (shared, apart))
        expected += two - one
    assert float(score(plda, samples[:n], samples[None, n:])) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_plda_finds_the_variances_it_was_drawn_with() -> None:
    rng = torch.Generator().manual_seed(0)
    spread = torch.tensor([3.0, 1.0, 0.0])
    own = torch.randn(4000, 1, 3, generator=rng) * spread.sqrt()
    drawn = own + torch.randn(4000, 5, 3, generator=rng) + 7
    plda = fit_plda(drawn, within(list(drawn)), dimensions=2)
    torch.testing.assert_close(plda.between, torch.tensor([3.0, 1.0]), rtol=0.1, atol=0.05)
    torch.testing.assert_close(plda.centre, torch.full((3,), 7.0), rtol=0.02, atol=0)


def test_plda_keeps_no_more_than_the_models_span() -> None:
    assert fit_plda(KNOWN[:4], within(list(KNOWN))).between.shape[0] <= 3
    same = fit_plda(KNOWN[:1].expand(5, -1, -1), within(list(KNOWN)))  # models that do not differ: nothing can be told
    assert score(same, KNOWN[0], KNOWN[1:3, :2]).tolist() == [0, 0]
