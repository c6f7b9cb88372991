"""How the default solver grows with the image, and how long a thousand images take."""

from __future__ import annotations

from typing import Any

from contenders import NEVER
from heads import WEIGHT, Case, Plan, conv3, gan, own_images
from machine import cost

from morelli.numerics.fidelity import Cells
from morelli.numerics.lasso import LassoProblem
from morelli.numerics.solvers.pdhg import Pdhg

STEPS = 20
CHANNELS = 32


def scaling(side: int, device: str) -> dict[str, Any]:
    """Pdhg on one image of a 3×3 head, 32 → 3 channels, of this side."""
    linear = conv3(CHANNELS, side)
    target = own_images(linear, 1).to(device)
    problem = LassoProblem(linear.to(device, target.dtype), Cells.at(target), WEIGHT)
    solver = Pdhg(tolerance=NEVER, max_steps=STEPS, slots=1)
    setup = cost(lambda: solver.prepare(problem), device)
    solve = cost(lambda: solver.solve(setup.value), device)
    megapixels = side**2 / 1e6
    return {
        "side": side,
        "factor": type(setup.value.factor).__name__,
        "steps": STEPS,
        "setup_seconds": setup.seconds,
        "seconds_per_step": solve.seconds / STEPS,
        "seconds_per_step_and_megapixel": solve.seconds / STEPS / megapixels,
        "setup_peak_bytes": setup.bytes,
        "peak_bytes": solve.bytes,
        "peak_bytes_per_megapixel": None if solve.bytes is None else solve.bytes / megapixels,
    }


def thousand(plan: Plan, device: str) -> dict[str, Any]:
    """Seconds for 1,000 images of 64² with the DCGAN head and the default solver, scaled from fewer."""
    return time_thousand(gan("clothing-dcgan", plan.thousand, plan), device)


def time_thousand(case: Case, device: str) -> dict[str, Any]:
    problem = case.problem
    centre = problem.fidelity.centre.to(device)
    problem = LassoProblem(problem.map.to(device, centre.dtype), Cells.at(centre), problem.weight)
    solver = Pdhg()
    setup = cost(lambda: solver.prepare(problem), device)
    solve = cost(lambda: solver.solve(setup.value), device)
    images, found = len(centre), solve.value
    return {
        "title": case.title,
        "tolerance": solver.tolerance,
        "images_measured": images,
        "seconds_measured": solve.seconds,
        "setup_seconds": setup.seconds,
        "seconds_per_1000_images": setup.seconds + solve.seconds * 1000 / images,
        "scaled": images != 1000,
        "gap_median": float(found.gap.median()),
        "gap_max": float(found.gap.max()),
        "steps_mean": float(found.steps.double().mean()),
        "peak_bytes": solve.bytes,
    }
