"""Solvers on their way to a goal: the steps each takes, searched on the known samples; then the clock, in turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from contenders import NEVER, PAPER, Contender, Look, fewest_steps, paper_batch, run_paper
from heads import Case, first
from machine import timed
from report import GAPS
from truth import Truth, exact_objective

from morelli.numerics.lasso import LassoProblem, Solution
from morelli.numerics.slots import slot_count

PROBE = 50  # steps that are timed of a solver that does not get there
WORK = 5e8  # activations over which PaperFista is timed, steps times samples times their size
PATIENCE = 30.0  # seconds after which a timing is not repeated
BUDGET = 60.0  # seconds that all samples may take; otherwise fewer are timed


@dataclass(frozen=True, eq=False)
class Attempt:
    """A solver on its way to a goal, not yet timed.

    Attributes:
        reached: on the known samples. Where not, `steps` and the rest are those at the step limit.
        run: what is timed; attempts may share it. Its seconds times `scale` are those of `steps` steps.
        images: that `run` works on.
        suboptimality, gap: mean and largest of the known samples.
        aim: the certified gap that every sample must keep; None where steps are counted.
    """

    solver: str
    goal: str
    reached: bool
    run: Callable[[], Solution | None]
    steps: float
    images: int
    suboptimality: float
    gap: float
    scale: float = 1.0
    aim: float | None = None


def paper_attempts(case: Case, looks: list[Look], ends: Mapping[str, Look]) -> Iterator[Attempt]:
    """Timed over a few of its steps, all of which cost the same. `ends`: its own goals."""
    if not looks:
        return
    last, batch = looks[-1], paper_batch(case.problem)
    steps = min(last.steps, max(10, int(WORK / (batch * math.prod(case.problem.map.in_shape)))))
    run = partial(run_paper, case, steps)
    goals: dict[str, Look | None] = {**ends}
    goals |= {goal: next((look for look in looks if look.gap <= gap), None) for goal, gap in GAPS.items()}
    for goal, reached in goals.items():
        look = reached or last
        quality = look.excess, look.gap
        yield Attempt(PAPER, goal, reached is not None, run, look.steps, batch, *quality, scale=look.steps / steps)


def our_attempts(
    contender: Contender, ready: LassoProblem, case: Case, truth: Truth, ends: Mapping[str, Look]
) -> Iterator[Attempt]:
    """As accurate as PaperFista at its `ends`, and certified. Step limits are searched on the known samples."""
    few, most, n = first(ready, case.known), contender.most or case.most, len(ready.fidelity)
    probe, slots = min(PROBE, most), slot_count(ready)

    def solve(of: LassoProblem, gap: float, limit: int) -> Solution:
        return contender.make(gap, limit, of).solve(of)

    in_vain = partial(solve, ready, NEVER, probe)

    def excess(found: Solution) -> float:
        return truth.excess(exact_objective(few, found.value))

    def attempt(goal: str, gap: float, limit: int, reached: bool | None = None) -> Attempt:
        seconds, found = timed(partial(solve, few, gap, limit))
        steps, worst = float(found.steps.double().mean()), float(found.gap.max())
        quality = excess(found), worst
        if not (worst <= gap if reached is None else reached):
            return Attempt(contender.name, goal, False, in_vain, most, n, *quality, scale=most / probe)
        count = min(n, max(case.known, int(BUDGET / seconds * len(few.fidelity))))
        if slots < count < n:
            count -= count % slots
        run = partial(solve, first(ready, count), gap, limit)
        return Attempt(contender.name, goal, True, run, steps, count, *quality, aim=gap if gap >= 0 else None)

    for goal, look in ends.items():
        least = fewest_steps(lambda limit, end=look.excess: excess(solve(few, NEVER, limit)) <= end, most)  # type: ignore[misc]
        yield attempt(goal, NEVER, least or most, least is not None)
    last = None
    for goal, gap in GAPS.items():  # from the loosest
        last = replace(last, goal=goal) if last and not last.reached else attempt(goal, gap, most)
        yield last


@dataclass(frozen=True, eq=False)
class Times:
    """Seconds of every repeat of a run, and what it found."""

    seconds: list[float]
    found: Solution | None


def take_turns(attempts: list[Attempt], repeats: int, device: str) -> list[Times]:
    """One for each attempt. The solvers take turns, so that a busy machine slows all of them."""
    runs = {id(attempt.run): attempt.run for attempt in attempts}
    seconds: dict[int, list[float]] = {key: [] for key in runs}
    found: dict[int, Solution | None] = {}
    for _ in range(repeats):
        for key, run in runs.items():
            if sum(seconds[key]) < PATIENCE:
                spent, found[key] = timed(run, device)
                seconds[key].append(spent)
    return [Times(seconds[id(attempt.run)], found[id(attempt.run)]) for attempt in attempts]
