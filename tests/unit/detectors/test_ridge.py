"""Ridge: the closed form against honest refits, and what the penalty does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morelli.detectors.ridge import LEAST, RidgeRecipe
from morelli.errors import MorelliError
from morelli.numerics.metrics import auroc


def drawn(own: int, other: int, width: int, *, shift: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    scale = torch.rand(width, generator=rng) * 3 + 0.01
    one, two = (torch.randn(n, width, generator=rng) * scale + 5 for n in (own, other))
    return one, two + shift * scale * (torch.arange(width) % 3 == 0)


def honest(own: Tensor, other: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Scores [n] of all and of each without itself, by the normal equations.

    Only the sample is left out: what all share, which are scale, weights and penalty, stays; the offset is found anew.
    """
    own, other = own.double(), other.double()
    deviation = own.std(0)
    data = torch.cat([own, other]) / deviation.clamp_min(LEAST * deviation.median())
    n = len(data)
    labels = torch.cat([-torch.ones(len(own)), torch.ones(len(other))]).double()
    weights = torch.cat([x.new_full((len(x),), n / (2 * len(x))) for x in (own, other)])
    data = torch.cat([data - (weights[:, None] * data).sum(0) / n, torch.ones(n, 1).double()], 1)
    absolute = penalty * (weights * data[:, :-1].square().sum(1)).mean() * torch.eye(data.shape[1]).double()
    absolute[-1, -1] = 0  # the offset is free

    def fitted(kept: Tensor) -> Tensor:
        rows, w = data[kept], weights[kept]
        return torch.linalg.solve(rows.T @ (w[:, None] * rows) + absolute, rows.T @ (w * labels[kept]))

    every = torch.arange(n)
    left_out = torch.stack([data[i] @ fitted(every[every != i]) for i in range(n)])
    return data @ fitted(every), left_out


@pytest.mark.parametrize("n", [12, 40])
def test_a_sample_left_out_is_not_given_away_by_what_the_others_sum_to(n: int) -> None:
    """Noise of many dimensions: with a centre that had seen them, left-out scores told the classes apart perfectly."""
    _, left_out = RidgeRecipe().fit_left_out(*drawn(n, n, 2000, shift=0.0))
    assert auroc(left_out[:n], left_out[n:]) < 0.75


@pytest.mark.parametrize(("own", "other", "width"), [(20, 20, 8), (12, 30, 50), (25, 8, 20)])
@pytest.mark.parametrize("penalty", [0.03, 1.0])
def test_left_out_scores_are_those_of_honest_refits(own: int, other: int, width: int, penalty: float) -> None:
    one, two = drawn(own, other, width)
    ridge, left_out = RidgeRecipe((penalty,)).fit_left_out(one, two)
    whole, refitted = honest(one, two, penalty)
    torch.testing.assert_close(left_out.double(), refitted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ridge.score(torch.cat([one, two])).double(), whole, rtol=1e-3, atol=1e-3)
    assert ((left_out[:own] + 1).abs() >= (ridge.score(one) + 1).abs() - 1e-4).all()  # training flatters


def test_the_penalty_is_the_one_that_misses_least() -> None:
    """Noise in many dimensions wants a large penalty, a clear direction in few a small one."""
    for samples in (drawn(40, 40, 400, shift=0.1), drawn(400, 400, 3, shift=3.0)):
        labels = torch.cat([-torch.ones(len(samples[0])), torch.ones(len(samples[1]))])
        each = {p: RidgeRecipe((p,)).fit_left_out(*samples) for p in (1e-4, 10.0)}
        misses = {p: float((left_out - labels).square().mean()) for p, (_, left_out) in each.items()}
        best = min(misses, key=misses.__getitem__)
        assert torch.equal(RidgeRecipe((1e-4, 10.0)).fit(*samples, 0).direction, each[best][0].direction)


def test_left_out_scores_promise_what_fresh_ones_keep() -> None:
    """AUROC measured: left out 0.79, fresh 0.80; in training 1.0."""
    own, other = drawn(1100, 1100, 60, shift=0.4)
    ridge, left_out = RidgeRecipe().fit_left_out(own[:100], other[:100])
    promised = auroc(left_out[:100], left_out[100:])
    assert abs(promised - auroc(ridge.score(own[100:]), ridge.score(other[100:]))) < 0.1
    assert auroc(ridge.score(own[:100]), ridge.score(other[:100])) > promised + 0.1


def test_what_never_varies_among_own_samples_is_neither_blown_up_nor_needed() -> None:
    one, two = drawn(40, 40, 9)
    still = torch.full((40, 20), 0.1)  # more than half of all features
    with_still, _ = RidgeRecipe().fit_left_out(torch.cat([one, still], 1), torch.cat([two, still], 1))
    without, _ = RidgeRecipe().fit_left_out(one, two)
    torch.testing.assert_close(with_still.score(torch.cat([one, still], 1)), without.score(one), rtol=1e-3, atol=1e-3)
    assert with_still.score(torch.cat([one, still + 1e-4], 1)).abs().max() < 3
    with pytest.raises(MorelliError, match="the same"):
        RidgeRecipe().fit(still, two[:, :1].expand(-1, 20), 0)
