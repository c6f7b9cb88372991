"""Coordinate descent of scikit-learn and celer on table rows, in float64 and on one core."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import sklearn.linear_model
import torch
from machine import timed
from report import GAPS, Row
from torch import Tensor
from truth import Truth, exact_objective

from morelli.numerics.lasso import LassoProblem
from morelli.numerics.linear import Dense

TOLERANCES = [10 ** (-k / 2) for k in range(2, 15)]
Fit = Callable[[float], Tensor]  # tolerance → u [n, inputs]


def coordinate_descent(case: str, problem: LassoProblem, truth: Truth, ends: dict[str, float]) -> list[Row]:
    """Rows of a dense head. Each is the fit with the loosest tolerance that reaches the goal.

    The goals ask less than of our solvers: "gap 1 %" is met where the true suboptimality of every sample is below it.
    `ends`: further goals, mean suboptimalities.
    """
    rows = []
    solvers = {"scikit-learn Lasso": _sklearn}
    if find_spec("celer"):  # comes with the extra "dev"
        solvers["celer Lasso"] = _celer
    for name, bind in solvers.items():
        fit = bind(problem)
        fit(TOLERANCES[0])  # loads and compiles
        tried = []
        for tolerance in TOLERANCES:
            seconds, u = timed(partial(fit, tolerance))
            values = exact_objective(problem, u)
            worst = float(((values - truth.lower) / values).max())
            tried.append((seconds, truth.excess(values), worst))
            if worst <= min(GAPS.values()) and tried[-1][1] <= min(ends.values(), default=math.inf):
                break
        goals = {goal: [run for run in tried if run[1] <= end] for goal, end in ends.items()}
        goals |= {goal: [run for run in tried if run[2] <= gap] for goal, gap in GAPS.items()}
        n = len(problem.fidelity)
        for goal, enough in goals.items():
            seconds, excess, worst = enough[0] if enough else tried[-1]
            rows.append(Row(case, name, goal, bool(enough), n, [seconds], seconds / n, suboptimality=excess, gap=worst))
    return rows


def _arrays(problem: LassoProblem) -> tuple[Any, Any, float]:
    """Their objective is ours over the number of outputs."""
    assert isinstance(problem.map, Dense)
    weight, target = problem.map.weight.double().cpu(), problem.fidelity.centre.flatten(1).double().cpu()
    matrix = weight.T.contiguous().T.numpy()  # in Fortran order, which both want
    return matrix, target.T.contiguous().T.numpy(), float(problem.weight) / len(weight)


def _sklearn(problem: LassoProblem) -> Fit:
    """All rows in one call, which loops over them."""
    matrix, target, alpha = _arrays(problem)

    def fit(tolerance: float) -> Tensor:
        model = sklearn.linear_model.Lasso(alpha, fit_intercept=False, tol=tolerance, max_iter=100_000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(matrix, target.T)
        return torch.as_tensor(model.coef_).reshape(-1, *problem.map.in_shape).to(problem.fidelity.centre.device)

    return fit


def _celer(problem: LassoProblem) -> Fit:
    import celer

    matrix, target, alpha = _arrays(problem)

    def fit(tolerance: float) -> Tensor:
        model = celer.Lasso(alpha, fit_intercept=False, tol=tolerance)
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for row in target:
                found.append(torch.as_tensor(model.fit(matrix, row).coef_))
        return torch.stack(found).reshape(-1, *problem.map.in_shape).to(problem.fidelity.centre.device)

    return fit
