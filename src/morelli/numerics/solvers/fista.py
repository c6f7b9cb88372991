"""FISTA with an exact step size, adaptive restart, and a duality gap for every sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from morelli.numerics.fidelity import spread, total
from morelli.numerics.lasso import LassoProblem, Solution, lower_bound, relative_gap, zero_solution
from morelli.numerics.linear import squared_norm
from morelli.numerics.slots import slot_count, solve_in_slots


@dataclass(frozen=True)
class Fista:
    """Accelerated proximal gradient descent from zero. It only applies the map, and takes every fidelity.

    Attributes:
        tolerance: a sample is done when its relative duality gap is below this,
        min_steps: but not before so many steps; where the tolerance is loose, they keep the number of steps, and
            with it the features, the same from sample to sample,
        max_steps: and given up after this many steps, with `Status.STEP_LIMIT`.
        slots: samples worked on at a time; None takes as many as suit the machine.
        check_every: steps between two looks at the gap; rounded up to a multiple of it, `steps` says when.

    Sources: Beck & Teboulle 2009 (the method); O'Donoghue & Candès 2015 (restart by gradient).
    Differs: the dual bound is the best one seen so far, which only makes the gap smaller, never wrong.
    """

    tolerance: float = 0.05
    min_steps: int = 0
    max_steps: int = 2_000
    slots: int | None = None
    check_every: int = 10

    def prepare(self, problem: LassoProblem) -> LassoProblem:
        return replace(problem, norm=squared_norm(problem.map)) if problem.norm is None else problem

    def solve(self, problem: LassoProblem, progress: Callable[[int], None] | None = None) -> Solution:
        problem = self.prepare(problem)
        if not len(problem.fidelity) or not problem.norm:
            return zero_solution(problem)
        slots = self.slots or slot_count(problem)
        return solve_in_slots(problem, _Iterate(problem, slots, 1 / problem.norm), slots, self, progress)


class _Iterate:
    """See `slots.Iterate`. Iterates are kept in units of the step size, so the penalty's threshold is its weight."""

    def __init__(self, problem: LassoProblem, count: int, step: float) -> None:
        self.problem, self.size = problem, step
        like = problem.fidelity.centre
        self.z = like.new_zeros(count, *problem.map.in_shape)  # the iterate
        self.ahead = torch.zeros_like(self.z)  # where the gradient is taken
        self.image = like.new_zeros(count, *problem.map.out_shape)  # map(z), in its own units
        self.carried = torch.zeros_like(self.image)  # map(ahead)
        self.momentum, self.bound = like.new_ones(count), like.new_zeros(count)

    @property
    def value(self) -> Tensor:
        return self.size * self.z

    def load(self, problem: LassoProblem, fresh: Tensor) -> None:
        self.problem = problem
        for state in (self.z, self.ahead, self.image, self.carried, self.bound):
            state[fresh] = 0.0
        self.momentum[fresh] = 1.0

    def step(self) -> tuple[Tensor, Tensor]:
        """Returns the rest before the step and its slope, from which a lower bound follows."""
        fidelity = self.problem.fidelity
        rest = fidelity.rest(self.carried)
        slope = self.problem.map.adjoint(fidelity.pull(rest))
        new = self.problem.shrink(self.ahead + slope, self.size)
        moved = torch.sub(new, self.z, out=self.z)
        back = torch.sub(self.ahead, new, out=self.ahead)
        uphill = total(back.mul_(moved)) > 0
        before = torch.where(uphill, 1.0, self.momentum)
        self.momentum = (1 + (1 + 4 * before.square()).sqrt()) / 2
        beta = (before - 1) / self.momentum
        image = self.problem.map.apply(new).mul_(self.size)
        self.carried = torch.lerp(self.image, image, 1 + spread(beta, image))
        torch.addcmul(new, spread(beta, new), moved, out=self.ahead)
        self.z, self.image = new, image
        return rest, slope

    def checked_step(self) -> Tensor:
        rest, slope = self.step()
        self.bound = torch.maximum(self.bound, lower_bound(self.problem, rest, slope))
        fidelity = self.problem.fidelity
        missed = fidelity.value(fidelity.rest(self.image))
        return relative_gap(missed + self.problem.penalty(self.value), self.bound)
