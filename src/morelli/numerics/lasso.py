"""The lasso: the problem, how good an answer is, and what a solver returns. Solvers are in `solvers/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from torch import Tensor

from morelli.errors import MismatchError, OutOfRange
from morelli.numerics.linear import LinearMap

TINY = 1e-30


@dataclass(frozen=True, eq=False)
class LassoProblem:
    """Per sample: minimise ½‖map(u) − target‖² + weight·‖u‖₁ over u.

    Attributes:
        target: [n, *map.out_shape].
        weight: α > 0. The paper's eq. (5) has no ½, so its λ is 2α; its printed values are the α used here.
        norm: `squared_norm(map)` where it is known; measuring it takes longer than inverting a few samples.
    """

    map: LinearMap
    target: Tensor
    weight: float
    norm: float | None = None

    def __post_init__(self) -> None:
        if tuple(self.target.shape[1:]) != self.map.out_shape:
            raise MismatchError(f"targets are {tuple(self.target.shape[1:])}; the map gives {self.map.out_shape}.")
        if not self.weight > 0:
            raise OutOfRange(f"the lasso weight is {self.weight}; it must be positive.")


class Status(Enum):
    CONVERGED = "The duality gap is below the tolerance."
    STEP_LIMIT = "The step limit was reached; raise `max_steps` or loosen `tolerance`."
    NON_FINITE = "The iterate became NaN or infinite; check the range of the samples."


@dataclass(frozen=True, eq=False)
class Solution:
    """Per sample: the minimiser found, and how far from the optimum it can be at most.

    Attributes:
        value: u, [n, *map.in_shape].
        status: n of them.
        gap: [n], (objective − best dual bound)/objective, in [0, 1]. 0.01: at most one percent too high.
        steps: [n], int64.
    """

    value: Tensor
    status: tuple[Status, ...]
    gap: Tensor
    steps: Tensor


class Solver(Protocol):
    """Never raises for non-convergence: that is a status. `progress` is told how many samples just finished."""

    def solve(self, problem: LassoProblem, progress: Callable[[int], None] | None = None) -> Solution: ...


def total(x: Tensor) -> Tensor:
    """Sum over everything but the batch."""
    return x.flatten(1).sum(1)


def objective(problem: LassoProblem, u: Tensor) -> Tensor:
    """[n]; the value to be minimised."""
    rest = problem.target - problem.map.apply(u)
    return 0.5 * total(rest.square()) + problem.weight * total(u.abs())


def dual_objective(target: Tensor, rest: Tensor, slope: Tensor, weight: float) -> Tensor:
    """[n]; a lower bound on the optimum from any residual `rest` with `slope` = adjoint(rest).

    The residual is scaled to the best multiple s for which |s·slope| ≤ weight everywhere.
    """
    largest = slope.flatten(1).abs().amax(1).clamp_min(TINY)
    along, length = total(target * rest), total(rest.square()).clamp_min(TINY)
    scale = (along / length).clamp(-weight / largest, weight / largest)
    return scale * along - 0.5 * scale.square() * length


def relative_gap(primal: Tensor, dual: Tensor) -> Tensor:
    """(primal − dual)/primal in [0, 1]; 0 where the objective is 0."""
    return ((primal - dual) / primal.clamp_min(TINY)).clamp(0.0, 1.0)


def duality_gap(problem: LassoProblem, u: Tensor) -> Tensor:
    """[n], relative; a proof, from `u` alone, of how far the objective at `u` is from the optimum at most."""
    rest = problem.target - problem.map.apply(u)
    dual = dual_objective(problem.target, rest, problem.map.adjoint(rest), problem.weight)
    primal = 0.5 * total(rest.square()) + problem.weight * total(u.abs())
    return relative_gap(primal, dual)
