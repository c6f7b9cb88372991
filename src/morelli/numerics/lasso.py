"""The lasso: the problem, how good an answer is, and what a solver returns. Solvers are in `solvers/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor

from morelli.errors import MismatchError, OutOfRange
from morelli.numerics.fidelity import Fidelity, spread, total
from morelli.numerics.gram import GramFactor, factorise
from morelli.numerics.linear import LinearMap, squared_norm
from morelli.numerics.normal import Normal

TINY = 1e-30


@dataclass(frozen=True, eq=False)
class LassoProblem:
    """Per sample: minimise φ(map(u)) + Σ weight·|u| over u ≥ floor.

    Attributes:
        fidelity: φ, of n samples; `Cells.at(target)` is ½‖map(u) − target‖².
        weight: α > 0, a number or a tensor that broadcasts over map.in_shape. The paper's eq. (5) has no ½, so its
            λ is 2α; its printed values are the α used here.
        floor: [*map.in_shape], at most 0; None for no bound. −anchor says that the activation is not negative.
        norm: `squared_norm(map)`, and
        factor: what else a solver works out once for a map, where they are known; see `Solver.prepare`.
    """

    map: LinearMap
    fidelity: Fidelity
    weight: float | Tensor
    floor: Tensor | None = None
    norm: float | None = None
    factor: GramFactor | Normal | None = None

    def __post_init__(self) -> None:
        if tuple(self.fidelity.centre.shape[1:]) != self.map.out_shape:
            raise MismatchError(
                f"targets are {tuple(self.fidelity.centre.shape[1:])}; the map gives {self.map.out_shape}."
            )
        lightest = self.weight.min() if isinstance(self.weight, Tensor) else self.weight
        if not lightest > 0:
            raise OutOfRange(f"the lasso weight is {lightest}; it must be positive.")
        if self.floor is not None and self.floor.max() > 0:
            raise OutOfRange(f"the floor reaches {self.floor.max():.4g}; zero must be allowed.")

    def shrink(self, z: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """The proximal map of the penalty times `step`, for z in units of `step`; in place."""
        if isinstance(self.weight, Tensor):
            shrunk = z.sub_(torch.minimum(torch.maximum(z, -self.weight), self.weight))
        else:
            shrunk = torch.ops.aten.softshrink.out(z, self.weight, out=z)
        return shrunk if self.floor is None else torch.maximum(shrunk, self.floor / step)

    def penalty(self, u: Tensor) -> Tensor:
        """[n]: Σ weight·|u|."""
        return total(self.weight * u.abs()) if isinstance(self.weight, Tensor) else self.weight * total(u.abs())


class Status(Enum):
    CONVERGED = "The duality gap is below the tolerance."
    STEP_LIMIT = "The step limit was reached; raise `max_steps` or loosen `tolerance`."
    CLOSED_FORM = "A closed form; the gap says how far it is from the lasso's optimum."
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


def factorised(problem: LassoProblem, shift: float, kind: str) -> LassoProblem:
    """With its norm, and the factor of map·adjoint shifted by this share of it; see `gram.factorise` for kinds."""
    norm = squared_norm(problem.map) if problem.norm is None else problem.norm
    factor = problem.factor
    if factor is None and norm > 0:
        factor = factorise(problem.map, shift * norm, problem.fidelity.centre, kind)
    return replace(problem, norm=norm, factor=factor)


def zero_solution(problem: LassoProblem) -> Solution:
    """Of no samples, or of a map of zeros."""
    n, centre = len(problem.fidelity), problem.fidelity.centre
    zero = centre.new_zeros(n, *problem.map.in_shape)
    return Solution(zero, (Status.CONVERGED,) * n, centre.new_zeros(n), torch.zeros(n, dtype=torch.int64))


class Solver(Protocol):
    """Never raises for non-convergence: that is a status. `progress` is told how many samples just finished."""

    def prepare(self, problem: LassoProblem) -> LassoProblem:
        """The problem with all that depends on its map alone worked out, for many calls of `solve` with other samples.

        Raises UnsuitableSolver where the solver does not take the problem.
        """
        ...

    def solve(self, problem: LassoProblem, progress: Callable[[int], None] | None = None) -> Solution: ...


def objective(problem: LassoProblem, u: Tensor) -> Tensor:
    """[n]; the value to be minimised."""
    return problem.fidelity.value(problem.fidelity.rest(problem.map.apply(u))) + problem.penalty(u)


def best_scale(problem: LassoProblem, rest: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """[n], [n]: the s ≥ 0 for which s·rest is the best dual point, and the lower bound on the optimum that it proves.

    Any `rest` of finite price will do, with `slope` = adjoint(pull(rest)). Dual points have s·slope ≤ weight, and
    ≥ −weight where nothing bounds u from below. Where a floor does, a steeper slope costs what it would gain there.
    """
    weight, floor = problem.weight, problem.floor
    steep = (slope.abs() if floor is None else slope.clamp_min(0)) / weight
    linear, quadratic = problem.fidelity.price(rest)
    limit = 1 / steep.flatten(1).amax(1).clamp_min(TINY)
    scale = torch.minimum((linear / quadratic.clamp_min(TINY)).clamp_min(0), limit)
    bound = scale * linear - 0.5 * scale.square() * quadratic
    if floor is None:
        return scale, bound
    deep = (-slope * spread(scale, slope) - weight).clamp_min(0)
    return scale, (bound + total(deep * floor)).clamp_min(0)


def lower_bound(problem: LassoProblem, rest: Tensor, slope: Tensor) -> Tensor:
    """[n]; no more than the optimum; see `best_scale`."""
    return best_scale(problem, rest, slope)[1]


def relative_gap(primal: Tensor, dual: Tensor) -> Tensor:
    """(primal − dual)/primal in [0, 1]; 0 where the objective is 0."""
    return ((primal - dual) / primal.clamp_min(TINY)).clamp(0.0, 1.0)


def duality_gap(problem: LassoProblem, u: Tensor) -> Tensor:
    """[n], relative; a proof, from `u` alone, of how far the objective at `u` is from the optimum at most."""
    fidelity = problem.fidelity
    rest = fidelity.rest(problem.map.apply(u))
    dual = lower_bound(problem, rest, problem.map.adjoint(fidelity.pull(rest)))
    return relative_gap(fidelity.value(rest) + problem.penalty(u), dual)
