"""One head: its optimum, set-ups, every solver to every goal, memory, and the floor of this machine."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attempts import Attempt, Times, our_attempts, paper_attempts, take_turns
from contenders import FISTA, NEVER, PAPER, Contender, Look, contenders, run_paper, watch_paper
from coordinate_descent import coordinate_descent
from heads import Case, Plan, first
from machine import Cost, cost, floor
from paper_fista import NotApplicable
from report import END, STOP, Row, with_ratios
from truth import Truth

from morelli.numerics.conditioning import Conditioning
from morelli.numerics.lasso import LassoProblem
from morelli.numerics.linear import Dense

LARGE = 20_000  # outputs up to which the smallest eigenvalue is computed

Say = Callable[[str], None]


def measure(name: str, case: Case, plan: Plan, device: str, say: Say) -> tuple[dict[str, Any], list[Row]]:
    """What is known of the head, and its rows."""
    problem = case.problem
    say(f"optimum of {min(case.known, len(problem.fidelity))} samples")
    truth = Truth.of(first(problem, case.known), case.most)
    say("set-up")
    made = contenders(problem)
    ready = {contender.name: _set_up(contender, problem, device) for contender in made}
    paper, looks = _published(case, ready[FISTA].value, truth, say)
    ends = _ends(looks)
    attempts = list(paper_attempts(case, looks, ends))
    for contender in made:
        say(f"{contender.name}: how many steps")
        attempts += our_attempts(contender, ready[contender.name].value, case, truth, ends)
    say("timing")
    times = take_turns(attempts, plan.repeats, device)
    say("memory")
    peaks = {contender.name: _peak(contender, ready[contender.name].value, device) for contender in made}
    peaks |= {PAPER: cost(lambda: run_paper(case, 3), device).bytes} if looks else {}
    say("floor and conditioning")
    least = floor(problem.map, device)
    sums = _Sums(name, ready, peaks, max(least["arithmetic_seconds"], least["bandwidth_seconds"]))
    rows = [*map(sums.row, attempts, times), _truth_row(name, truth)]
    if isinstance(problem.map, Dense):
        say("coordinate descent")
        few = first(problem, min(case.known, plan.descent_rows))
        wanted = {goal: look.excess for goal, look in ends.items()}
        rows += coordinate_descent(name, few, truth.first(len(few.fidelity)), wanted)
    facts = {
        "case": name,
        "title": case.title,
        "origin": case.origin,
        "weight": problem.weight,
        "images": len(problem.fidelity),
        "known": len(truth.lower),
        "conditioning": _conditioning(ready[FISTA].value),
        "truth": {"by": truth.by, "seconds": truth.seconds, "width": truth.width},
        "paper": paper,
        "floor": least,
    }
    return facts, with_ratios(rows)


def _set_up(contender: Contender, problem: LassoProblem, device: str) -> Cost[LassoProblem]:
    return cost(lambda: contender.make(NEVER, 1, problem).prepare(problem), device)


def _peak(contender: Contender, ready: LassoProblem, device: str) -> int | None:
    """Bytes; they do not depend on the number of steps."""
    return cost(lambda: contender.make(NEVER, 2, ready).solve(ready), device).bytes


def _published(case: Case, ready: LassoProblem, truth: Truth, say: Say) -> tuple[dict[str, Any], list[Look]]:
    facts: dict[str, Any] = {"step": case.paper.step, "step_1_over_L": 1 / (ready.norm or math.inf)}
    try:
        case.paper.check(ready)
    except NotApplicable as reason:
        return facts | {"not_applicable": str(reason)}, []
    say(f"{PAPER}, {case.paper.max_steps} steps on them")
    looks = watch_paper(case, truth)
    stop = next(({"steps": look.steps, "suboptimality": look.excess} for look in looks if look.stops), None)
    return facts | {"steps": looks[-1].steps, "published_steps": case.published, "own_rule": stop}, looks


def _ends(looks: list[Look]) -> dict[str, Look]:
    """Where PaperFista's accuracy becomes a goal: after its last step, and where its own rule stops it before."""
    goals = {STOP: next((look for look in looks[:-1] if look.stops), None), END: looks[-1] if looks else None}
    return {goal: look for goal, look in goals.items() if look is not None}


def _conditioning(ready: LassoProblem) -> dict[str, float | None]:
    """Eigenvalues of map·adjoint; the largest from above by up to a percent."""
    if math.prod(ready.map.out_shape) > LARGE:
        return {"largest": ready.norm, "smallest": None}
    found = Conditioning.of(ready.map)
    return {"largest": found.largest, "smallest": found.smallest}


@dataclass(frozen=True, eq=False)
class _Sums:
    """From times to rows. `least`: the higher floor, in seconds a step and image."""

    case: str
    ready: dict[str, Cost[LassoProblem]]
    peaks: dict[str, int | None]
    least: float

    def row(self, attempt: Attempt, times: Times) -> Row:
        steps, gap, middle = attempt.steps, attempt.gap, None
        if times.found is not None and attempt.reached:
            found = times.found
            steps, gap = float(found.steps.double().mean()), float(found.gap.max())
            middle = float(found.gap.median())
        each = statistics.median(times.seconds) * attempt.scale / attempt.images
        setup = self.ready.get(attempt.solver)
        return Row(
            case=self.case,
            solver=attempt.solver,
            goal=attempt.goal,
            reached=attempt.reached and (attempt.aim is None or gap <= attempt.aim),
            images=attempt.images,
            steps=steps,
            seconds=times.seconds,
            scale=attempt.scale,
            seconds_per_image=each,
            seconds_per_step_and_image=each / steps,
            times_floor=each / steps / self.least,
            setup_seconds=setup.seconds if setup else 0.0,
            suboptimality=attempt.suboptimality,
            gap=gap,
            gap_median=middle,
            setup_peak_bytes=setup.bytes if setup else None,
            peak_bytes=self.peaks.get(attempt.solver),
        )


def _truth_row(name: str, truth: Truth) -> Row:
    n = len(truth.lower)
    return Row(
        case=name,
        solver=truth.by,
        goal=f"gap {truth.tolerance:.0e}",
        reached=truth.width <= 2 * truth.tolerance,
        images=n,
        steps=truth.steps,
        seconds=[truth.seconds],
        seconds_per_image=truth.seconds / n,
        seconds_per_step_and_image=truth.seconds / n / truth.steps,
        setup_seconds=truth.setup_seconds,
        suboptimality=truth.width,
        gap=truth.width,
    )
