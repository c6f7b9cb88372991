"""FISTA with an exact step size, adaptive restart, and a duality gap for every sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from morelli.numerics.lasso import (
    LassoProblem,
    Solution,
    Status,
    dual_objective,
    relative_gap,
    total,
)
from morelli.numerics.linear import squared_norm

CPU_SLOTS, GPU_SLOTS = 16, 512


@dataclass(frozen=True)
class Fista:
    """Accelerated proximal gradient descent from zero.

    A fixed number of slots is worked on at a time: a sample that is done leaves its slot to the next one, so
    every array operation sees the same shapes whatever the batch, and easy samples do not wait for hard ones.

    Attributes:
        tolerance: a sample is done when its relative duality gap is below this,
        min_steps: but not before so many steps; where the tolerance is loose, they keep the number of steps, and
            with it the features, the same from sample to sample,
        max_steps: and given up after this many steps, with `Status.STEP_LIMIT`.
        slots: samples worked on at a time; None takes 16 on a CPU, to suit its cache, and 512 elsewhere.
        check_every: steps between two looks at the gap; rounded up to a multiple of it, `steps` says when.

    Sources: Beck & Teboulle 2009 (the method); O'Donoghue & Candès 2015 (restart by gradient).
    Differs: the dual bound is the best one seen so far, which only makes the gap smaller, never wrong.
    """

    tolerance: float = 0.05
    min_steps: int = 0
    max_steps: int = 2_000
    slots: int | None = None
    check_every: int = 10

    def solve(self, problem: LassoProblem, progress: Callable[[int], None] | None = None) -> Solution:
        target, n = problem.target, len(problem.target)
        norm = squared_norm(problem.map) if problem.norm is None else problem.norm
        value = target.new_zeros(n, *problem.map.in_shape)
        gap, steps = target.new_zeros(n), torch.zeros(n, dtype=torch.int64)
        status = [Status.CONVERGED] * n
        if n == 0 or norm == 0.0:
            return Solution(value, tuple(status), gap, steps)
        count = self.slots or (CPU_SLOTS if target.device.type == "cpu" else GPU_SLOTS)
        slots = _Slots(problem, count, 1.0 / norm)
        waiting = iter(range(n))
        slots.fill(range(count), waiting)
        while slots.busy():
            for _ in range(self.check_every - 1):
                slots.step()
            now = slots.checked_step()
            finite = now.isfinite()
            solved = (now <= self.tolerance) & (slots.steps >= self.min_steps)
            done = solved | (slots.steps >= self.max_steps) | ~finite
            free = [slot for slot in done.nonzero().flatten().tolist() if slots.sample[slot] >= 0]
            for slot in free:
                i = slots.sample[slot]
                value[i], gap[i], steps[i] = slots.z[slot], now[slot], int(slots.steps[slot])
                if not finite[slot]:
                    status[i], gap[i] = Status.NON_FINITE, 1.0
                elif now[slot] > self.tolerance:
                    status[i] = Status.STEP_LIMIT
            slots.fill(free, waiting)
            if progress and free:
                progress(len(free))
        return Solution(value, tuple(status), gap, steps)


class _Slots:
    """The samples being worked on. Row k of every tensor belongs to slot k; `sample[k]` is −1 when it is idle."""

    def __init__(self, problem: LassoProblem, count: int, step: float) -> None:
        self.problem, self.size = problem, step
        like = problem.target
        self.sample = [-1] * count
        self.target = like.new_zeros(count, *problem.map.out_shape)
        self.z = like.new_zeros(count, *problem.map.in_shape)  # the iterate
        self.ahead = torch.zeros_like(self.z)  # where the gradient is taken
        self.image = torch.zeros_like(self.target)  # map(z)
        self.rest = torch.zeros_like(self.target)  # target − map(ahead)
        self.momentum, self.bound = like.new_ones(count), like.new_zeros(count)
        self.steps = torch.zeros(count, dtype=torch.int64, device=like.device)

    def busy(self) -> bool:
        return max(self.sample) >= 0

    def fill(self, free: range | list[int], waiting: object) -> None:
        """Give each free slot the next waiting sample, or none."""
        for slot in free:
            self.sample[slot] = next(waiting, -1)  # type: ignore[call-overload]
            fresh = self.problem.target[self.sample[slot]] if self.sample[slot] >= 0 else 0.0
            self.target[slot] = self.rest[slot] = fresh
            self.z[slot] = self.ahead[slot] = self.image[slot] = 0.0
            self.momentum[slot], self.bound[slot], self.steps[slot] = 1.0, 0.0, 0

    def step(self) -> Tensor:
        """One step for all; returns the slope, adjoint(rest) before the step, from which a dual bound follows."""
        slope = self.problem.map.adjoint(self.rest)
        new = softshrink(torch.add(self.ahead, slope, alpha=self.size), self.size * self.problem.weight)
        moved = torch.sub(new, self.z, out=self.z)
        back = torch.sub(self.ahead, new, out=self.ahead)
        uphill = total(back.mul_(moved)) > 0
        before = torch.where(uphill, 1.0, self.momentum)
        self.momentum = (1 + (1 + 4 * before.square()).sqrt()) / 2
        beta = (before - 1) / self.momentum
        image = self.problem.map.apply(new)
        carried = torch.lerp(self.image, image, 1 + _spread(beta, image))
        torch.addcmul(new, _spread(beta, new), moved, out=self.ahead)
        torch.sub(self.target, carried, out=self.rest)
        self.z, self.image = new, image
        self.steps += 1
        return slope

    def checked_step(self) -> Tensor:
        """`step`, then the relative duality gap [slots] at the new iterate."""
        rest_before = self.rest.clone()
        slope = self.step()
        dual = dual_objective(self.target, rest_before, slope, self.problem.weight)
        self.bound = torch.maximum(self.bound, dual)
        missed = total((self.target - self.image).square())
        primal = 0.5 * missed + self.problem.weight * total(self.z.abs())
        return relative_gap(primal, self.bound)


def _spread(per_sample: Tensor, like: Tensor) -> Tensor:
    return per_sample.reshape(-1, *[1] * (like.ndim - 1))
