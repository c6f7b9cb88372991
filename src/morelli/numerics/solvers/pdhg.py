"""Primal-dual hybrid gradient, preconditioned by an exact solve in the output space: the default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from morelli.errors import UnsuitableSolver
from morelli.numerics.fidelity import Cells
from morelli.numerics.gram import GramFactor, factorise
from morelli.numerics.lasso import LassoProblem, Solution, Status, best_scale, lower_bound, relative_gap
from morelli.numerics.linear import squared_norm
from morelli.numerics.slots import slot_count, solve_in_slots, spread

RELAXATION = 1.8


@dataclass(frozen=True)
class Pdhg:
    """Saddle point of penalty(u) + φ(v) + ⟨ν, v − map(u)⟩, with a dual step of (1/τ)(shift·I + map·adjoint)⁻¹.

    That step is an exact solve (`numerics.gram`), one factor for all samples, so the number of steps hardly depends on
    how badly the map is conditioned. Each sample has its own step τ, from the size of its least-squares activation.
    Like `Fista` it works in slots and starts from zero. It needs a fidelity that is separable: `Cells`.

    Attributes:
        tolerance, min_steps, max_steps, slots, check_every: as in `Fista`.
        shift: of the factor, as a share of the squared norm of the map.
        factor: "dense", "torus" or "cg"; "auto" takes the fastest that is exact for the map's size, see `factorise`.

    Sources: Chambolle & Pock 2011; Pock & Chambolle 2011 (preconditioning); Parikh & Boyd 2014 (graph form: with
    v as a variable of its own any separable φ costs the same); over-relaxation 1.8 as in Condat 2013.
    """

    tolerance: float = 0.02
    min_steps: int = 0
    max_steps: int = 1_000
    slots: int | None = None
    check_every: int = 10
    shift: float = 1e-3
    factor: str = "auto"

    def solve(self, problem: LassoProblem, progress: Callable[[int], None] | None = None) -> Solution:
        cells = problem.fidelity
        if not isinstance(cells, Cells):
            raise UnsuitableSolver(
                f"Pdhg takes values that are judged one by one (Cells), not {type(cells).__name__}. Use Fista."
            )
        norm = squared_norm(problem.map) if problem.norm is None else problem.norm
        centre, n = cells.centre, len(cells)
        if n == 0 or norm == 0.0:
            zero = centre.new_zeros(n, *problem.map.in_shape)
            return Solution(zero, (Status.CONVERGED,) * n, centre.new_zeros(n), torch.zeros(n, dtype=torch.int64))
        slots = self.slots or slot_count(problem)
        factor = factorise(problem.map, self.shift * norm, centre, self.factor)
        iterate = _Iterate(problem, cells, slots, factor, self.shift * norm)
        return solve_in_slots(problem, iterate, slots, self, progress)


class _Iterate:
    """See `slots.Iterate`. The activation is kept in units of τ, so that the penalty's threshold is its weight."""

    def __init__(self, problem: LassoProblem, cells: Cells, count: int, factor: GramFactor, shift: float) -> None:
        self.problem, self.cells, self.factor, self.shift = problem, cells, factor, shift
        like = problem.fidelity.centre
        self.z = like.new_zeros(count, *problem.map.in_shape)
        self.v = like.new_zeros(count, *problem.map.out_shape)
        self.image, self.nu = torch.zeros_like(self.v), torch.zeros_like(self.v)  # map(τz), and the dual
        self.tau, self.bound = like.new_ones(count), like.new_zeros(count)
        self.new, self.new_image = self.z, self.image  # the last proximal point, which obeys the floor

    @property
    def value(self) -> Tensor:
        return spread(self.tau, self.new) * self.new

    def load(self, problem: LassoProblem, fresh: Tensor) -> None:
        assert isinstance(problem.fidelity, Cells)  # `solve` has seen to it
        self.problem, self.cells = problem, problem.fidelity
        for state in (self.z, self.v, self.image):
            state[fresh] = 0.0
        rest = self.cells.rest(torch.zeros_like(self.v))  # at u = 0, where it is the dual up to its scale
        scale, bound = best_scale(problem, rest, self.problem.map.adjoint(rest))
        self.nu = torch.where(spread(fresh, self.nu), spread(scale, rest) * rest, self.nu)
        self.bound = torch.where(fresh, bound, self.bound)
        least = self.problem.map.adjoint(self.factor.solve(self.cells.centre)).flatten(1)  # of least squares
        weight = self.problem.weight
        size = least.square().mean(1).sqrt() / (weight.mean() if isinstance(weight, Tensor) else weight)
        self.tau = torch.where(fresh, torch.where(size > 0, size, 1.0), self.tau)

    def step(self) -> Tensor:
        """Returns the slope, adjoint(ν) before the step."""
        linear, tau = self.problem.map, spread(self.tau, self.v)
        slope = linear.adjoint(self.nu)
        new = self.problem.shrink(self.z + slope, tau)
        image = linear.apply(new).mul_(tau)
        v = self.cells.settle(torch.addcmul(self.v, self.nu, tau, value=-self.shift), self.shift * tau)
        away = (v - image).mul_(2).sub_(self.v).add_(self.image)
        climb = self.factor.solve(away).div_(tau)
        self.nu.add_(climb, alpha=RELAXATION)
        self.z.lerp_(new, RELAXATION)
        self.v.lerp_(v, RELAXATION)
        self.image.lerp_(image, RELAXATION)
        self.new, self.new_image = new, image
        return slope

    def checked_step(self) -> Tensor:
        dual = self.nu.clone()
        slope = self.step()
        admitted = self.cells.admit(dual)
        if admitted is not dual:
            slope = self.problem.map.adjoint(admitted)
        self.bound = torch.maximum(self.bound, lower_bound(self.problem, admitted, slope))
        rest = self.cells.rest(self.new_image)
        return relative_gap(self.cells.value(rest) + self.problem.penalty(self.value), self.bound)
