"""Many samples through an iterative solver, a fixed number of them at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from morelli.numerics.lasso import LassoProblem, Solution, Status

CPU_SLOTS, GPU_SLOTS = 24, 512
GPU_NUMBERS = 2**28
NUMBERS = 2**23  # of all activations in work together, so that they suit a CPU's cache


def slot_count(problem: LassoProblem) -> int:
    """How many samples to work on at a time.

    On a CPU 24, to a multiple of which matrix products are blocked there, or 1 for large images: with another width
    the last slots would be rounded differently from the first.
    """
    size = math.prod(problem.map.in_shape)
    if problem.fidelity.centre.device.type != "cpu":
        return max(1, min(GPU_SLOTS, GPU_NUMBERS // size))
    return CPU_SLOTS if CPU_SLOTS * size <= NUMBERS else 1


class Pace(Protocol):
    """When a sample is done; see the solvers, whose settings these are."""

    @property
    def tolerance(self) -> float: ...
    @property
    def min_steps(self) -> int: ...
    @property
    def max_steps(self) -> int: ...
    @property
    def check_every(self) -> int: ...


class Iterate(Protocol):
    """The state of a solver for as many samples as there are slots; row k of every tensor belongs to slot k."""

    @property
    def value(self) -> Tensor: ...

    def load(self, problem: LassoProblem, fresh: Tensor) -> None:
        """`problem` is of the samples now in the slots; those in `fresh` (boolean) have just come and start anew."""
        ...

    def step(self) -> object: ...

    def checked_step(self) -> Tensor:
        """`step`, then the relative duality gap [slots] of `value`."""
        ...


def solve_in_slots(
    problem: LassoProblem, iterate: Iterate, slots: int, pace: Pace, progress: Callable[[int], None] | None
) -> Solution:
    """A sample that is done leaves its slot to the next one.

    So every array operation sees the same shapes whatever the batch, which makes the result for a sample the same to
    the last bit, and easy samples do not wait for hard ones. An idle slot repeats sample 0.
    """
    n, device = len(problem.fidelity), problem.fidelity.centre.device
    value = problem.fidelity.centre.new_zeros(n, *problem.map.in_shape)
    gap, steps = value.new_zeros(n), torch.zeros(n, dtype=torch.int64)
    status = [Status.CONVERGED] * n
    held = [-1] * slots
    age = torch.zeros(slots, dtype=torch.int64, device=device)
    waiting = iter(range(n))
    free = list(range(slots))
    while n:
        for slot in free:
            held[slot] = next(waiting, -1)
        if max(held) < 0:
            break
        if free:
            index = torch.tensor([max(i, 0) for i in held], device=device)
            fresh = torch.zeros(slots, dtype=torch.bool, device=device)
            fresh[free] = True
            iterate.load(replace(problem, fidelity=problem.fidelity.rows(index)), fresh)
            age[free] = 0
        for _ in range(pace.check_every - 1):
            iterate.step()
        now = iterate.checked_step()
        age += pace.check_every
        finite = now.isfinite()
        solved = (now <= pace.tolerance) & (age >= pace.min_steps)
        done = (solved | (age >= pace.max_steps) | ~finite).tolist()
        free = [slot for slot in range(slots) if done[slot] and held[slot] >= 0]
        for slot in free:
            i = held[slot]
            value[i], gap[i], steps[i] = iterate.value[slot], now[slot], int(age[slot])
            if not finite[slot]:
                status[i], gap[i] = Status.NON_FINITE, 1.0
            elif now[slot] > pace.tolerance:
                status[i] = Status.STEP_LIMIT
        if progress and free:
            progress(len(free))
    return Solution(value, tuple(status), gap, steps)
