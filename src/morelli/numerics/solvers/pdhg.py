"""Primal-dual hybrid gradient, preconditioned by an exact solve in the output space: for a certified gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from morelli.errors import UnsuitableSolver
from morelli.numerics.fidelity import Cells, spread
from morelli.numerics.gram import GramFactor
from morelli.numerics.lasso import (
    LassoProblem,
    Solution,
    best_scale,
    factorised,
    lower_bound,
    relative_gap,
    zero_solution,
)
from morelli.numerics.slots import slot_count, solve_in_slots

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
        stretch: τ over the size of the least-squares activation; less reaches a low objective sooner, more a low gap.
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
    stretch: float = 2.0
    factor: str = "auto"

    def prepare(self, problem: LassoProblem) -> LassoProblem:
        if not isinstance(problem.fidelity, Cells):
            kind = type(problem.fidelity).__name__
            raise UnsuitableSolver(f"Pdhg takes values that are judged one by one (Cells), not {kind}. Use Fista.")
        return factorised(problem, self.shift, self.factor)

    def solve(self, problem: LassoProblem, progress: Callable[[int], None] | None = None) -> Solution:
        problem = self.prepare(problem)
        if not len(problem.fidelity) or not problem.norm:
            return zero_solution(problem)
        slots = self.slots or slot_count(problem)
        return solve_in_slots(problem, _Iterate(problem, slots, self), slots, self, progress)


class _Iterate:
    """See `slots.Iterate`. The activation is kept in units of τ, so that the penalty's threshold is its weight."""

    def __init__(self, problem: LassoProblem, count: int, settings: Pdhg) -> None:
        self.shift, self.stretch = settings.shift * (problem.norm or 0.0), settings.stretch
        self.factor = cast(GramFactor, problem.factor)
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
        self.problem, self.cells = problem, cast(Cells, problem.fidelity)
        for state in (self.z, self.v, self.image):
            state[fresh] = 0.0
        rest = self.cells.rest(torch.zeros_like(self.v))  # at u = 0, where it is the dual up to its scale
        scale, bound = best_scale(problem, rest, self.problem.map.adjoint(rest))
        self.nu = torch.where(spread(fresh, self.nu), spread(scale, rest) * rest, self.nu)
        self.bound = torch.where(fresh, bound, self.bound)
        least = self.problem.map.adjoint(self.factor.solve(self.cells.centre)).flatten(1)  # of least squares
        weight = self.problem.weight
        size = self.stretch * least.square().mean(1).sqrt() / (weight.mean() if isinstance(weight, Tensor) else weight)
        self.tau = torch.where(fresh, torch.where(size > 0, size, 1.0), self.tau)

    def step(self) -> None:
        self._advance(self.problem.map.adjoint(self.nu))

    def checked_step(self) -> Tensor:
        dual = self.cells.admit(self.nu)
        slope = self.problem.map.adjoint(self.nu)
        admitted = slope if dual is self.nu else self.problem.map.adjoint(dual)
        self.bound = torch.maximum(self.bound, lower_bound(self.problem, dual, admitted))
        self._advance(slope)
        missed = self.cells.value(self.cells.rest(self.new_image))
        return relative_gap(missed + self.tau * self.problem.penalty(self.new), self.bound)

    def _advance(self, slope: Tensor) -> None:
        """One step from ν and its `slope`, which is overwritten."""
        tau = spread(self.tau, self.v)
        new = self.problem.shrink(slope.add_(self.z), spread(self.tau, self.z))
        image = self.problem.map.apply(new).mul_(tau)
        v = self.cells.settle(torch.addcmul(self.v, self.nu, tau, value=-self.shift), self.shift * tau)
        away = (v - image).mul_(2).sub_(self.v).add_(self.image)
        self.nu.add_(self.factor.solve(away).div_(tau), alpha=RELAXATION)
        self.z.lerp_(new, RELAXATION)
        self.v.lerp_(v, RELAXATION)
        self.image.lerp_(image, RELAXATION)
        self.new, self.new_image = new, image
