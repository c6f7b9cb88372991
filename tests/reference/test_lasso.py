"""Fista against scikit-learn's Lasso and celer, on the dense matrix of small maps."""

from __future__ import annotations

import math
from functools import cache

import celer
import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor
from toys import toy_heads, toy_samples

from morelli.numerics.fidelity import Cells
from morelli.numerics.lasso import LassoProblem, Solution, Status, objective
from morelli.numerics.linear import LinearMap
from morelli.numerics.solvers.fista import Fista

TOYS = pytest.mark.parametrize("toy", ["deconvolution", "convolution", "table", "audio", "skips"])
WEIGHTS = pytest.mark.parametrize("weight", [0.02, 0.3])
SOLVER = Fista(tolerance=1e-8, max_steps=50_000)


def matrix(linear: LinearMap) -> np.ndarray:
    """[outputs, inputs], column by column."""
    eye = torch.eye(math.prod(linear.in_shape), dtype=torch.float64).reshape(-1, *linear.in_shape)
    return linear.apply(eye).flatten(1).T.numpy()


@cache
def problem(toy: str, weight: float) -> LassoProblem:
    head = toy_heads()[toy].to("cpu", torch.float64)
    samples = torch.cat([toy_samples(toy, 2), toy_samples(toy, 1, generator_seed=3)]).double()
    return LassoProblem(head.map, Cells.at(head.target(samples)), weight)


def assert_same_solution(given: LassoProblem, solution: Solution, other: Tensor) -> None:
    torch.testing.assert_close(objective(given, solution.value), objective(given, other), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(solution.value, other, rtol=0, atol=2e-3)


@cache
def solved(toy: str, weight: float) -> Solution:
    return SOLVER.solve(problem(toy, weight))


def by_library(given: LassoProblem, library: str) -> Tensor:
    """Both minimise ‖·‖²/(2·outputs) + alpha·‖·‖₁, so alpha = weight/outputs."""
    dense = matrix(given.map)
    settings = {"alpha": given.weight / len(dense), "fit_intercept": False, "max_iter": 100_000, "tol": 1e-12}
    if library == "celer":
        settings |= {"max_iter": 200, "tol": 1e-10}
    rows = []
    for target in given.fidelity.centre.flatten(1).numpy():
        model = (Lasso if library == "scikit-learn" else celer.Lasso)(**settings)
        rows.append(model.fit(np.asfortranarray(dense), target).coef_)
    return torch.from_numpy(np.stack(rows)).reshape(-1, *given.map.in_shape)


@TOYS
@WEIGHTS
@pytest.mark.parametrize("library", ["scikit-learn", "celer"])
def test_same_solution(toy: str, weight: float, library: str) -> None:
    given = problem(toy, weight)
    solution = solved(toy, weight)
    assert set(solution.status) == {Status.CONVERGED}
    assert solution.value.any()
    assert_same_solution(given, solution, by_library(given, library))


@TOYS
def test_optimality_conditions(toy: str) -> None:
    """Gᵀ(target − Gu) = weight·sign(u) where u ≠ 0, and no larger than the weight elsewhere."""
    given = problem(toy, 0.1)
    u = SOLVER.solve(given).value
    slope = given.map.adjoint(given.fidelity.centre - given.map.apply(u))
    used = u.abs() > 1e-3
    torch.testing.assert_close(slope[used], 0.1 * u[used].sign(), rtol=0, atol=1e-3)
    assert (slope.abs() <= 0.1 + 1e-3).all()


def test_the_oracle_can_fail() -> None:
    given = problem("table", 0.02)
    right = by_library(given, "scikit-learn")
    with pytest.raises(AssertionError):
        assert_same_solution(given, SOLVER.solve(given), right + 1e-2)
    with pytest.raises(AssertionError):
        assert_same_solution(given, SOLVER.solve(problem("table", 0.04)), right)  # the ½ forgotten
