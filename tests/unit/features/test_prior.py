"""Priors: what they know must hold for the answer, and nothing else may change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from toys import toy_generator, toy_heads, toy_samples

from morelli import TorchGenerator
from morelli.errors import UnsuitableSolver
from morelli.features.inversion import Inversion
from morelli.features.prior import Gaussian, Sparse
from morelli.numerics.lasso import Status, objective
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.interior_point import InteriorPoint
from morelli.numerics.solvers.least_squares import LeastSquares
from morelli.numerics.solvers.pdhg import Pdhg

TOYS = pytest.mark.parametrize("toy", ["deconvolution", "convolution", "audio"])
WEIGHT = 0.01


@TOYS
@pytest.mark.parametrize("solver", [Pdhg(1e-4, max_steps=20_000), Fista(1e-4, max_steps=50_000)])
def test_activations_after_a_relu_stay_positive(toy: str, solver: Pdhg | Fista) -> None:
    head, samples = toy_heads()[toy].to("cpu", torch.float64), toy_samples(toy, 3).double()
    assert head.nonnegative
    free, bound = (Inversion(head, WEIGHT, 1, solver, prior=Sparse(nonnegative=on)) for on in (False, True))
    assert (free.extract(samples).values + head.anchor).min() < -1e-3
    found = bound.extract(samples)
    assert found.reasons == ("",) * 3
    assert (found.values + head.anchor).min() >= -1e-12
    costs = [objective(one.problem(samples, [{}] * 3), one.extract(samples).values) for one in (free, bound)]
    assert (costs[1] >= (1 - 1e-4) * costs[0]).all()


def test_a_floor_goes_with_dense_images() -> None:
    """A dense layer has other axes before it than after it."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 64), nn.Unflatten(1, (1, 8, 8)), nn.Tanh())
    generator = TorchGenerator(module.requires_grad_(False), (8,), announce=lambda line: None)
    inversion = Inversion(generator.head(64), WEIGHT, 1, Pdhg(0.01), prior=Sparse(nonnegative=True))
    found = inversion.extract(generator.samples(3, 1))
    assert (found.values + inversion.head.anchor).min() >= -1e-6


def test_no_bound_where_activations_were_negative() -> None:
    head, samples = toy_heads()["table"], toy_samples("table", 3)
    assert not head.nonnegative
    plain, bound = (Inversion(head, WEIGHT, prior=Sparse(nonnegative=on)).extract(samples).values for on in (0, 1))
    assert torch.equal(plain, bound)


def test_a_channel_that_varies_more_is_used_more() -> None:
    head = toy_heads()["deconvolution"]
    covariance = torch.eye(16)
    covariance[3, 3] = 100.0
    head = replace(head, covariance=covariance)
    solver = Pdhg(1e-3, max_steps=5_000)
    even = Inversion(head, WEIGHT, 1, solver).extract(toy_samples("deconvolution", 4)).values.abs().sum((0, 2, 3))
    tilted = Inversion(head, WEIGHT, 1, solver, prior=Sparse(per_channel=True))
    assert tilted.extract(toy_samples("deconvolution", 4)).values.abs().sum((0, 2, 3))[3] > even[3]


@pytest.mark.parametrize("toy", ["deconvolution", "convolution", "audio", "skips"])
def test_least_squares_reaches_the_target_with_the_least_norm(toy: str) -> None:
    head, samples = toy_heads()[toy].to("cpu", torch.float64), toy_samples(toy, 4).double()
    inversion = Inversion(head, WEIGHT, 1, LeastSquares(1e-9))
    found = inversion.extract(samples)
    assert found.reasons == ("",) * 4
    target = head.target(samples)
    torch.testing.assert_close(head.map.apply(found.values), target, rtol=0, atol=1e-5 * float(target.abs().max()))
    true = toy_generator(toy).activations(4, 5).double() - head.anchor
    assert (found.values.flatten(1).norm(dim=1) <= 1.001 * true.flatten(1).norm(dim=1)).all()
    assert (found.notes["gap"] < 1).all()


def test_ridge_is_the_regression_of_another_library() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    head, samples = toy_heads()["table"].to("cpu", torch.float64), toy_samples("table", 3).double()
    inversion = Inversion(head, WEIGHT, 1, LeastSquares(0.1))
    problem = inversion.problem(samples, [{}] * 3)
    matrix = head.map.adjoint(torch.eye(6, dtype=torch.float64)).numpy()
    model = linear_model.Ridge(alpha=0.1 * problem.norm, fit_intercept=False).fit(matrix, head.target(samples).T)
    torch.testing.assert_close(inversion.extract(samples).values, torch.from_numpy(model.coef_))


@pytest.mark.parametrize("toy", ["deconvolution", "table", "skips"])
def test_the_gaussian_prior_finds_the_activation_better_than_least_squares(toy: str) -> None:
    head, samples = toy_heads()[toy], toy_samples(toy, 50)
    true = toy_generator(toy).activations(50, 5) - head.anchor
    plain, prior = (
        Inversion(head, 1, solver=LeastSquares(1e-4), prior=p).extract(samples) for p in (Sparse(), Gaussian())
    )
    error = [(found.values - true).square().mean() for found in (plain, prior)]
    assert error[1] < error[0]


def test_a_head_without_covariance_is_refused() -> None:
    head = replace(toy_heads()["table"], covariance=None)
    for prior in (Gaussian(), Sparse(per_channel=True)):
        with pytest.raises(UnsuitableSolver, match="Make it again"):
            Inversion(head, prior=prior).extract(toy_samples("table", 1))


def test_the_interior_point_refuses_a_floor() -> None:
    inversion = Inversion(toy_heads()["deconvolution"], solver=InteriorPoint(), prior=Sparse(nonnegative=True))
    with pytest.raises(UnsuitableSolver, match="floor"):
        inversion.extract(toy_samples("deconvolution", 1))


def test_a_closed_form_is_its_own_status() -> None:
    head = toy_heads()["table"]
    inversion = Inversion(head, solver=LeastSquares())
    solution = LeastSquares().solve(inversion.problem(toy_samples("table", 2), [{}, {}]))
    assert solution.status == (Status.CLOSED_FORM,) * 2
