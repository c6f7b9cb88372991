"""The optimum that accuracy is measured against, and the measuring, in float64 and outside every clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from machine import timed
from torch import Tensor

from morelli.numerics.lasso import LassoProblem, lower_bound, objective
from morelli.numerics.solvers.interior_point import InteriorPoint
from morelli.numerics.solvers.pdhg import Pdhg

LARGE = 20_000  # outputs, beyond which a banded factor is too wide to wait for


@dataclass(frozen=True, eq=False)
class Truth:
    """Brackets of the optimum P* of a few samples, [k] each.

    Attributes:
        by: the solver that found it; tolerance, setup_seconds, seconds, steps (mean): of its run.
    """

    lower: Tensor
    upper: Tensor
    by: str
    tolerance: float
    setup_seconds: float
    seconds: float
    steps: float

    @staticmethod
    def of(problem: LassoProblem, most: int) -> Truth:
        """By the interior point up to LARGE outputs, by a long run of Pdhg beyond."""
        exact: InteriorPoint | Pdhg = InteriorPoint()
        whole = in_double(problem)
        if math.prod(problem.map.out_shape) > LARGE:
            exact, whole = Pdhg(tolerance=1e-3, max_steps=3 * most, slots=len(problem.fidelity)), problem
        setup, prepared = timed(lambda: exact.prepare(whole))
        seconds, found = timed(lambda: exact.solve(prepared))
        upper = exact_objective(problem, found.value)
        name = "interior point" if isinstance(exact, InteriorPoint) else "PDHG"
        steps = float(found.steps.double().mean())
        return Truth(upper * (1 - found.gap.to(upper)), upper, name, exact.tolerance, setup, seconds, steps)

    def first(self, count: int) -> Truth:
        return replace(self, lower=self.lower[:count], upper=self.upper[:count])

    def excess(self, values: Tensor) -> float:
        """Mean (P − P*)/P* with the lower bound for P*: never too small."""
        return float(((values - self.lower) / self.lower).mean())

    @property
    def width(self) -> float:
        """By how much `excess` may be too large."""
        return self.excess(self.upper)


def in_double(problem: LassoProblem) -> LassoProblem:
    device = problem.fidelity.centre.device
    linear, fidelity = problem.map.to(device, torch.float64), problem.fidelity.to(device, torch.float64)
    return replace(problem, map=linear, fidelity=fidelity)


def exact_objective(problem: LassoProblem, u: Tensor) -> Tensor:
    return objective(in_double(problem), u.double())


def dual_bound(problem: LassoProblem, u: Tensor) -> Tensor:
    """[n]; the lower bound on the optimum that the residual of `u` proves."""
    double = in_double(problem)
    rest = double.fidelity.rest(double.map.apply(u.double()))
    return lower_bound(double, rest, double.map.adjoint(rest))
