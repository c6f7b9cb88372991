"""The inversion solvers against the published one, on the same problems, maps and threads. See README.md.

python benchmarks/inversion.py [--quick] [--json FILE] [--images N] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from heads import QUICK, Case, Plan, cases
from machine import copy_rate, describe, flop_per_step, gemm_rate, memory
from paper_fista import NotApplicable, PaperFista
from report import sentences, table
from rich.console import Console
from torch import Tensor

from morelli.numerics.fidelity import Cells
from morelli.numerics.lasso import LassoProblem, Solution, Solver, lower_bound, objective
from morelli.numerics.linear import Dense, LinearMap, map_from_state, squared_norm
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.state import State
from morelli.storage import bundle

PAPER = "PaperFista"
END = "PaperFista's end"  # the goal: at least as accurate as PaperFista when it stops
GAP_GOALS = {"gap 0.5": 0.5, "gap 0.1": 0.1}  # certified goals, for every image
LOOKS = 1.1  # PaperFista is looked at after steps that grow by this factor
PEAK_STEPS = 10  # memory does not depend on the number of steps
WIDE = 512  # slots of the second Fista on table rows


@dataclass(frozen=True)
class Contender:
    """A solver as `make(tolerance, max_steps, samples)`. To add one: a line in `contenders`."""

    name: str
    make: Callable[[float, int, int], Solver]


def contenders(linear: LinearMap) -> list[Contender]:
    found = [Contender("Fista", lambda gap, steps, n: Fista(tolerance=gap, max_steps=steps, slots=min(n, 24)))]
    if isinstance(linear, Dense):
        found.append(
            Contender(
                f"Fista, {WIDE} slots", lambda gap, steps, n: Fista(tolerance=gap, max_steps=steps, slots=min(n, WIDE))
            )
        )
    return found


# Accuracy, always outside the clock


@dataclass(frozen=True, eq=False)
class Reference:
    """Brackets of the optimum, [n] each: its best certified lower bound, and the best objective of the long run."""

    lower: Tensor
    upper: Tensor

    @staticmethod
    def of(problem: LassoProblem, steps: int) -> Reference:
        found = Fista(tolerance=1e-4, max_steps=steps, slots=min(len(problem.fidelity.centre), WIDE)).solve(problem)
        upper = exact_objective(problem, found.value)
        lower = torch.maximum(upper * (1 - found.gap.double()), dual_bound(problem, found.value))
        return Reference(lower, upper)

    def excess(self, values: Tensor) -> float:
        """Mean (P − P*)/P* with the lower bound for P*: an upper bound on the suboptimality."""
        return float(((values - self.lower) / self.lower).mean())

    def excess_at_least(self, values: Tensor) -> float:
        """The same against the best objective known, so a lower bound; 0 where `values` are the best known."""
        return float(((values - self.upper) / self.upper).clamp_min(0).mean())

    @property
    def width(self) -> float:
        return self.excess(self.upper)


def in_double(problem: LassoProblem) -> LassoProblem:
    device = problem.fidelity.centre.device
    return replace(
        problem,
        map=problem.map.to(device, torch.float64),
        fidelity=problem.fidelity.to(device, torch.float64),
    )


def exact_objective(problem: LassoProblem, u: Tensor) -> Tensor:
    return objective(in_double(problem), u.double())


def dual_bound(problem: LassoProblem, u: Tensor) -> Tensor:
    """[n]; the lower bound on the optimum that the residual of `u` proves."""
    double = in_double(problem)
    rest = double.fidelity.rest(double.map.apply(u.double()))
    return lower_bound(double, rest, double.map.adjoint(rest))


# Timing


@dataclass(frozen=True)
class Look:
    """PaperFista after some steps. `gap`: the largest of the batch, from the best dual bound of all looks so far."""

    steps: int
    excess: float
    at_least: float
    gap: float
    seconds: float
    done: bool


def watch_paper(case: Case, reference: Reference) -> list[Look]:
    """One pass; the clock stands still during a look."""
    looks, bound, following, seconds, started = [], None, 10, 0.0, time.perf_counter()
    for steps, u, done in case.paper.iterates(case.problem):
        if steps < following and not done and steps < case.paper.max_steps:
            continue
        seconds += time.perf_counter() - started
        following = max(steps + 1, math.ceil(steps * LOOKS))
        dual, values = dual_bound(case.problem, u), exact_objective(case.problem, u)
        bound = dual if bound is None else torch.maximum(bound, dual)
        gap = float(((values - bound) / values).max())
        looks.append(Look(steps, reference.excess(values), reference.excess_at_least(values), gap, seconds, done))
        started = time.perf_counter()
    return looks


def time_paper(case: Case, marks: set[int]) -> dict[int, float]:
    """Seconds until each of these step counts, in another pass, without looks."""
    seconds, started = {}, time.perf_counter()
    for steps, _, _ in replace(case.paper, max_steps=max(marks)).iterates(case.problem):
        if steps in marks:
            seconds[steps] = time.perf_counter() - started
    return seconds


def timed(solver: Solver, problem: LassoProblem) -> tuple[float, Solution]:
    started = time.perf_counter()
    found = solver.solve(problem)
    return time.perf_counter() - started, found


def setup_seconds(contender: Contender, problem: LassoProblem, norm: float, repeats: int) -> float:
    """What a solver spends on L in a call, whatever the number of samples: a call without samples, with and without."""
    solver, empty = contender.make(0.0, PEAK_STEPS, 1), replace(problem, target=problem.fidelity.centre[:0])
    whole = statistics.median(timed(solver, empty)[0] for _ in range(repeats))
    with known_norm(norm):
        return max(0.0, whole - timed(solver, empty)[0])


@contextmanager
def known_norm(norm: float) -> Iterator[None]:
    """Solvers take L as known inside: its power iteration is timed once, apart, instead of in every solve."""

    def known(*_: object) -> float:
        return norm

    with patch("morelli.numerics.solvers.fista.squared_norm", known), patch("paper_fista.squared_norm", known):
        yield


def limit_for(case: Case, contender: Contender, reference: Reference, excess: float, most: int) -> int | None:
    """The smallest step limit, to about a tenth, at which a contender is at least this accurate."""

    def reaches(limit: int) -> bool:
        found = contender.make(0.0, limit, len(case.problem.fidelity.centre)).solve(case.problem)
        return reference.excess(exact_objective(case.problem, found.value)) <= excess

    low, high = 0, 10
    while not reaches(high):
        low, high = high, 2 * high
        if high > most:
            return None
    while high - low > max(10, high // 10):
        middle = (low + high) // 20 * 10
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def peak_bytes(case: Case, norm: float) -> dict[str, int]:
    """Solver → growth of the resident memory's high-water mark in a short solve, in a fresh process; Linux only."""
    if not Path("/proc/self/clear_refs").exists():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        tensors = {"target": case.problem.fidelity.centre}
        if case.paper.start is not None:
            tensors["start"] = case.paper.start
        settings = {"weight": case.problem.weight, "step": case.paper.step, "norm": norm}
        bundle.write(Path(folder) / "case", "benchmark", State(settings, tensors, {"map": case.problem.map.state()}))
        command = [sys.executable, __file__, "--peak-of", folder + "/case", "--threads", str(torch.get_num_threads())]
        returning = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # freed arrays are given back, so none is hidden
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, env=returning, check=True).stdout)


def print_peaks(folder: Path) -> None:
    """The child's side of `peak_bytes`."""
    state = bundle.read(folder, "benchmark").state
    linear, target = map_from_state(state.parts["map"]), state.tensors["target"]
    problem = LassoProblem(linear, Cells.at(target), state.settings["weight"])
    solvers = {entry.name: entry.make(0.0, PEAK_STEPS, len(target)) for entry in contenders(linear)}
    solvers[PAPER] = PaperFista(state.settings["step"], state.tensors.get("start"), max_steps=PEAK_STEPS)
    peaks = {}
    with known_norm(state.settings["norm"]):
        for name, solver in solvers.items():
            with suppress(NotApplicable):
                solver.solve(replace(problem, target=target[:1]))  # loads libraries and starts threads
                Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
                before = memory("VmRSS")
                solver.solve(problem)
                peaks[name] = max(0, memory("VmHWM") - before)
    print(json.dumps(peaks))


# One head


@dataclass(frozen=True)
class Entry:
    """A solver on its way to a goal, before it is timed. `limit` is the step limit that it runs with."""

    solver: str
    goal: str
    solve: Solver | int | None  # a step count of PaperFista, or a contender ready to run, or nothing got there
    excess: float | None = None
    at_least: float | None = None
    gap: float | None = None
    steps: float | None = None
    first: float | None = None  # seconds of the first run, from which the accuracy is


def paper_entries(looks: list[Look], name: str) -> list[Entry]:
    goals: list[tuple[str, Look | None]] = [(goal, first(looks, gap)) for goal, gap in GAP_GOALS.items()]
    entries = []
    for goal, look in [(END, looks[-1]), *goals]:
        if look is None:
            entries.append(Entry(name, goal, None))
        else:
            entries.append(
                Entry(name, goal, look.steps, look.excess, look.at_least, look.gap, look.steps, look.seconds)
            )
    return entries


def first(looks: list[Look], gap: float) -> Look | None:
    return next((look for look in looks if look.gap <= gap), None)


def contender_entry(case: Case, name: str, goal: str, solver: Solver | None, reference: Reference) -> Entry:
    if solver is None:
        return Entry(name, goal, None)
    seconds, found = timed(solver, case.problem)
    if goal in GAP_GOALS and float(found.gap.max()) > GAP_GOALS[goal]:
        solver = None  # the step limit came first: its numbers are shown, its time would mean nothing
    values, steps = exact_objective(case.problem, found.value), float(found.steps.double().mean())
    accuracy = reference.excess(values), reference.excess_at_least(values), float(found.gap.max())
    return Entry(name, goal, solver, *accuracy, steps, seconds if solver else None)


def measure(case: Case, plan: Plan, say: Callable[[str], None] = lambda _: None) -> tuple[list[dict], dict]:
    """Rows, and what is known of the head."""
    problem = case.problem
    say(f"{case.name}: L")
    norm = squared_norm(problem.map)
    made = contenders(problem.map)
    setup = {contender.name: setup_seconds(contender, problem, norm, plan.paper_repeats) for contender in made}
    facts: dict[str, Any] = {"head": case.name, "origin": case.origin, "step_1_over_L": 1 / norm}
    with known_norm(norm):
        entries, known = prepare(case, made, plan, say)
        say(f"{case.name}: timing")
        times = time_all(case, entries, plan)
    facts |= known | {"setup_seconds": setup} | floors(case, entries, times)
    say(f"{case.name}: memory")
    peaks = peak_bytes(case, norm) if plan.peak else {}
    return [row(case, i, entries, times, setup, peaks) for i in range(len(entries))], facts


def prepare(case: Case, made: list[Contender], plan: Plan, say: Callable[[str], None]) -> tuple[list[Entry], dict]:
    """What is to be timed, with the accuracy that each reaches."""
    problem, n = case.problem, len(case.problem.fidelity.centre)
    say(f"{case.name}: reference")
    reference = Reference.of(problem, plan.reference_steps)
    entries, looks = [], []
    try:
        case.paper.check(problem)
        say(f"{case.name}: PaperFista")
        looks = watch_paper(case, reference)
        paper = {"step": case.paper.step, "own_rule_held": looks[-1].done}
        entries += paper_entries(looks, f"{PAPER}, at most {case.paper.max_steps} steps")
    except NotApplicable as reason:
        paper = {"step": case.paper.step, "not_applicable": str(reason)}
    for contender in made:
        say(f"{case.name}: {contender.name}")
        wanted = [(goal, contender.make(gap, plan.reference_steps, n)) for goal, gap in GAP_GOALS.items()]
        if looks:
            limit = limit_for(case, contender, reference, looks[-1].excess, plan.reference_steps)
            wanted.insert(0, (END, contender.make(0.0, limit, n) if limit else None))
        entries += [contender_entry(case, contender.name, goal, solver, reference) for goal, solver in wanted]
    return entries, {"reference_width": reference.width, "paper": paper}


def time_all(case: Case, entries: list[Entry], plan: Plan) -> list[list[float]]:
    """Seconds of every repeat. After the first, the solvers take turns: a busy machine slows all of them."""
    times = [[] if entry.first is None else [entry.first] for entry in entries]
    marks = {entry.solve for entry in entries if isinstance(entry.solve, int)}
    for repeat in range(1, max(plan.paper_repeats, plan.repeats)):
        paper = time_paper(case, marks) if marks and repeat < plan.paper_repeats else {}
        for own, entry in zip(times, entries, strict=True):
            if isinstance(entry.solve, int):
                own += [paper[entry.solve]] if paper else []
            elif entry.solve is not None and repeat < plan.repeats:
                own.append(timed(entry.solve, case.problem)[0])
    return times


def row(
    case: Case,
    index: int,
    entries: list[Entry],
    times: list[list[float]],
    setup: dict[str, float],
    peaks: dict[str, int],
) -> dict[str, Any]:
    entry, bare = entries[index], times[index]
    once = setup.get(entry.solver, 0.0)  # PaperFista's step is given
    own = [once + seconds for seconds in bare]
    ours = next((times[i] for i, e in enumerate(entries) if e.goal == entry.goal and isinstance(e.solve, int)), [])
    both = bool(own and ours)
    return {
        "head": case.name,
        "solver": entry.solver,
        "goal": entry.goal,
        "seconds": statistics.median(own) if own else None,
        "seconds_min": min(own) if own else None,
        "repeats": len(own),
        "setup_seconds": once,
        "images": len(case.problem.fidelity.centre),
        "suboptimality": entry.excess,
        "suboptimality_at_least": entry.at_least,
        "gap": entry.gap,
        "steps": entry.steps,
        "peak_bytes": peaks.get(entry.solver.split(", at most")[0]),
        "ratio_to_paper": statistics.median(ours) / statistics.median(own) if both else None,
        "ratio_to_paper_without_setup": statistics.median(ours) / statistics.median(bare) if both else None,
        "ratio_to_paper_of_minima": min(ours) / min(own) if both else None,
    }


# What the machine could do


def floors(case: Case, entries: list[Entry], times: list[list[float]]) -> dict[str, Any]:
    """Least seconds per step and sample by arithmetic and by two passes over u, and what the solvers take."""
    linear, n = case.problem.map, len(case.problem.fidelity.centre)
    flop, rate, bandwidth = flop_per_step(linear), gemm_rate(), copy_rate()
    arithmetic, memory_bound = flop / rate, 2 * 4 * math.prod(linear.in_shape) / bandwidth
    per_step = {
        entry.solver: statistics.median(own) / entry.steps / n
        for entry, own in zip(reversed(entries), reversed(times), strict=True)  # the first row of a solver stays
        if own and entry.steps
    }
    return {
        "flop_per_step": flop,
        "gemm_flop_per_second": rate,
        "copy_bytes_per_second": bandwidth,
        "arithmetic_floor_seconds": arithmetic,
        "bandwidth_floor_seconds": memory_bound,
        "seconds_per_step_and_image": per_step,
        "times_above_floor": {name: seconds / max(arithmetic, memory_bound) for name, seconds in per_step.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="few images, a lower limit for PaperFista, one repeat of it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    parser.add_argument("--images", type=int, metavar="N", help="images per head (the table keeps its rows)")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch; its own choice by default")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.peak_of:
        print_peaks(given.peak_of)
        return
    plan = QUICK if given.quick else Plan()
    plan = replace(plan, images=given.images or plan.images)
    screen = Console(width=max(170, Console().width))
    header, rows, facts = describe(plan.quick), [], []
    with Console(stderr=True).status("heads") as status:
        for case in cases(plan):
            found, known = measure(case, plan, status.update)
            rows += found
            facts.append(known)
    screen.print(table(rows))
    for known in facts:
        for line in sentences(known):
            screen.print(line, highlight=False, soft_wrap=True)
    screen.print(", ".join(f"{name} {value}" for name, value in header.items()), highlight=False, soft_wrap=True)
    if given.json:
        report = {"machine": header, "heads": facts, "rows": rows}
        given.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with torch.no_grad():
        main()
