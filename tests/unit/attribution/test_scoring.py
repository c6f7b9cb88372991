"""Scorings: higher = less like the model, whatever they compute; PLDA against the Gaussians it stands for."""

from __future__ import annotations

import pytest
import torch
from prints import models
from scipy.stats import multivariate_normal

from morelli.attribution.scoring import SCORINGS, Cosine, Neighbours, Plda, fit_plda
from morelli.errors import TooFewSamples

KNOWN = models(40, 20, seed=0)


@pytest.mark.parametrize("name", SCORINGS)
@pytest.mark.parametrize("size", [1, 4])
def test_higher_is_less_like_the_model(name: str, size: int) -> None:
    scoring, test = SCORINGS[name](KNOWN), models(30, 14, seed=1)
    own = torch.stack([scoring.score(x[:10], x[None, 10 : 10 + size])[0] for x in test])
    other = torch.stack(
        [scoring.score(x[:10], y[None, 10 : 10 + size])[0] for x, y in zip(test, test.roll(1, 0), strict=True)]
    )
    assert (own < other).double().mean() > 0.85
    assert own.mean() < other.mean() - other.std() / 2


@pytest.mark.parametrize("name", SCORINGS)
def test_neither_order_nor_company_counts(name: str) -> None:
    scoring, enrolled, queries = SCORINGS[name](KNOWN), *models(2, 12, seed=2)
    groups = queries.reshape(4, 3, -1)
    found = scoring.score(enrolled, groups)
    assert found.shape == (4,)
    torch.testing.assert_close(scoring.score(enrolled.flip(0), groups.flip(1)), found, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        torch.cat([scoring.score(enrolled, group[None]) for group in groups]), found, rtol=1e-4, atol=1e-5
    )


def test_cosine_by_hand() -> None:
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert Cosine().score(x, torch.stack([x, y, -x])).tolist() == pytest.approx([0, 1, 2])
    both = torch.cat([x, y])
    assert float(Cosine().score(both, x[None])) == pytest.approx(1 - 0.5**0.5)


def test_neighbours_by_hand_and_with_fewer_than_k() -> None:
    enrolled = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    query = torch.tensor([[[1.0, 0.0]]])
    assert float(Neighbours(1).score(enrolled, query)) == pytest.approx(0)
    assert float(Neighbours(2).score(enrolled, query)) == pytest.approx(0.5)
    assert float(Neighbours(9).score(enrolled, query)) == pytest.approx(1)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 2), (5, 1)])
def test_plda_is_the_ratio_of_two_gaussians(n: int, m: int) -> None:
    """All samples of both sides at once, in two dimensions: with one model's mean in common, or with two."""
    spread = torch.tensor([2.0, 0.5])
    plda = Plda(torch.tensor([0.3, -0.2]), torch.tensor([[1.0, 0.5], [0.0, 2.0]]), spread)
    samples = torch.randn(n + m, 2, generator=torch.Generator().manual_seed(n), dtype=torch.float32)
    along = ((samples - plda.centre) @ plda.axes).double()
    expected = 0.0
    for i in range(2):
        shared = float(spread[i]) * torch.ones(n + m, n + m) + torch.eye(n + m)
        apart = shared.clone()
        apart[:n, n:] = apart[n:, :n] = 0
        one, two = (multivariate_normal(cov=c.numpy()).logpdf(along[:, i].numpy()) for c in (shared, apart))
        expected += two - one
    assert float(plda.score(samples[:n], samples[None, n:])) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_plda_finds_the_variances_it_was_drawn_with() -> None:
    rng = torch.Generator().manual_seed(0)
    spread = torch.tensor([3.0, 1.0, 0.0])
    own = torch.randn(4000, 1, 3, generator=rng) * spread.sqrt()
    drawn = own + torch.randn(4000, 5, 3, generator=rng) + 7
    plda = fit_plda(drawn, dimensions=2)
    torch.testing.assert_close(plda.between, torch.tensor([3.0, 1.0]), rtol=0.1, atol=0.05)
    torch.testing.assert_close(plda.centre, torch.full((3,), 7.0), rtol=0.02, atol=0)
    within = (drawn - drawn.mean(1, keepdim=True)).flatten(0, 1) @ plda.axes
    torch.testing.assert_close(within.T @ within / (4000 * 4), torch.eye(2), rtol=0, atol=0.05)


def test_plda_needs_models_and_keeps_no_more_than_they_span() -> None:
    assert fit_plda(KNOWN[:4]).between.shape[0] <= 3
    for few in (KNOWN[:2], KNOWN[:, :1]):
        with pytest.raises(TooFewSamples, match="needs three of two"):
            fit_plda(few)
    same = fit_plda(KNOWN[:1].expand(5, -1, -1))  # models that do not differ: nothing can be told
    assert SCORINGS["plda"](KNOWN).score(KNOWN[0], KNOWN[1:3, :2]).isfinite().all()
    assert same.score(KNOWN[0], KNOWN[1:3, :2]).tolist() == [0, 0]
