"""Who runs: our solvers at a tolerance and a step limit, and how the published solver's accuracy grows with its steps.

To add a solver: a line in `contenders`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from heads import Case, first
from truth import Truth, dual_bound, exact_objective

from morelli.numerics.lasso import LassoProblem, Solver
from morelli.numerics.linear import Dense
from morelli.numerics.slots import slot_count
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.interior_point import InteriorPoint
from morelli.numerics.solvers.pdhg import Pdhg

PAPER, FISTA = "PaperFista", "FISTA, step 1/L"
NEVER = -1.0  # a tolerance that is not reached: the step limit decides
EXACT = 30  # step limits up to this are kept exactly, larger ones are rounded up to a multiple of ten
WIDE = 480  # slots of the second PDHG on table rows
LOOKS = 1.2  # PaperFista is looked at after steps that grow by this factor


@dataclass(frozen=True)
class Contender:
    """A solver as `make(tolerance, max_steps, problem)`. `most`: steps after which it gives up, if fewer than usual."""

    name: str
    make: Callable[[float, int, LassoProblem], Solver]
    most: int | None = None


def contenders(problem: LassoProblem) -> list[Contender]:
    found = [Contender(FISTA, _in_slots(Fista)), Contender("PDHG", _in_slots(Pdhg))]
    if isinstance(problem.map, Dense):
        found.append(Contender(f"PDHG, {WIDE} slots", _in_slots(Pdhg, WIDE)))
        found.append(Contender("interior point", lambda gap, steps, _: InteriorPoint(gap, steps), most=60))
    return found


def _in_slots(kind: type[Fista] | type[Pdhg], slots: int | None = None) -> Callable[[float, int, LassoProblem], Solver]:
    """With the default number of slots, but none that is idle from the start."""

    def make(tolerance: float, limit: int, problem: LassoProblem) -> Solver:
        width = min(len(problem.fidelity), slots or slot_count(problem))
        return kind(tolerance=tolerance, max_steps=limit, slots=width, check_every=limit if limit <= EXACT else 10)

    return make


@dataclass(frozen=True)
class Look:
    """PaperFista after some steps.

    Attributes:
        excess: mean (P − P*)/P*.
        gap: the largest of the samples, with the best dual bound of all looks so far.
        stops: whether its own stopping rule holds here for the first time.
    """

    steps: int
    excess: float
    gap: float
    stops: bool


def watch_paper(case: Case, truth: Truth) -> list[Look]:
    """On the known samples, up to its step limit, its stopping rule aside; no clock."""
    problem = first(case.problem, case.known)
    looks: list[Look] = []
    bound, following, running = truth.lower.new_zeros(len(problem.fidelity)), 10, True
    for steps, u, moved in case.paper.iterates(problem):
        stops = running and moved <= case.paper.change
        running = running and not stops
        if steps < following and not stops and steps < case.paper.max_steps:
            continue
        following = max(steps + 1, math.ceil(steps * LOOKS))
        bound, values = torch.maximum(bound, dual_bound(problem, u)), exact_objective(problem, u)
        looks.append(Look(steps, truth.excess(values), float(((values - bound) / values).max()), stops))
    return looks


def paper_batch(problem: LassoProblem) -> int:
    """Samples that PaperFista steps on together: as many as our solvers do, of table rows all."""
    n = len(problem.fidelity)
    return n if isinstance(problem.map, Dense) else min(n, slot_count(problem))


def run_paper(case: Case, steps: int) -> None:
    """So many steps on one batch."""
    problem = first(case.problem, paper_batch(case.problem))
    for _ in replace(case.paper, max_steps=steps).iterates(problem):
        pass


def fewest_steps(reaches: Callable[[int], bool], most: int) -> int | None:
    """The smallest step limit that gets there, to a twentieth: doubled, then bisected."""
    low, high = 0, 1
    while not reaches(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
