"""The benchmark's yardstick solves what it should, refuses what it cannot, and its rows say what they promise."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from morelli.numerics.activation import Tanh
from morelli.numerics.fidelity import Cells
from morelli.numerics.head import Head
from morelli.numerics.lasso import LassoProblem, Status, objective
from morelli.numerics.linear import Geometry, TransposedConv, squared_norm
from morelli.numerics.solvers.fista import Fista

FOLDER = Path(__file__).parents[3] / "benchmarks"
KEYS = {"head", "solver", "seconds", "images", "suboptimality", "gap", "steps", "peak_bytes", "ratio_to_paper"}


@pytest.fixture(scope="module")
def inversion() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("inversion")
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("inversion", "heads", "machine", "report", "paper_fista"):
            sys.modules.pop(name, None)


@pytest.fixture
def head() -> Head:
    """4×4×4 → 3×8×8 with L = 1."""
    rng = torch.Generator().manual_seed(0)
    geometry = Geometry((2, 2), (1, 1), (1, 1))
    raw = TransposedConv(torch.randn(4, 3, 4, 4, generator=rng), (4, 4, 4), (3, 8, 8), geometry)
    scale = squared_norm(raw) ** -0.5
    return Head(
        TransposedConv(raw.weight * scale, raw.in_shape, raw.out_shape, geometry),
        torch.zeros(3, 1, 1),
        Tanh(),
        torch.full((4, 4, 4), 0.4),
    )


@pytest.fixture
def problem(head: Head) -> LassoProblem:
    z = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(1)).relu()
    return LassoProblem(head.map, Cells.at(head.target(head.forward(z))), 0.05)


@pytest.mark.parametrize("from_anchor", [True, False])
def test_both_solvers_find_the_same_optimum(
    inversion: ModuleType, head: Head, problem: LassoProblem, from_anchor: bool
) -> None:
    start = head.anchor if from_anchor else None
    paper = inversion.PaperFista(0.5, start, change=1e-7, max_steps=3_000).solve(problem)
    ours = Fista(tolerance=1e-5, max_steps=3_000).solve(problem)
    assert torch.allclose(objective(problem, paper.value), objective(problem, ours.value), rtol=1e-4)
    assert set(paper.status) == {Status.CONVERGED}
    assert paper.gap.max() < 1e-3
    assert len(set(paper.steps.tolist())) == 1


def test_a_step_that_diverges_is_refused(inversion: ModuleType, problem: LassoProblem) -> None:
    norm = squared_norm(problem.map)
    with pytest.raises(inversion.NotApplicable, match="converges only below"):
        inversion.PaperFista(2.01 / norm).solve(problem)


def test_the_step_limit_is_a_status(inversion: ModuleType, problem: LassoProblem) -> None:
    solution = inversion.PaperFista(0.1, max_steps=5).solve(problem)
    assert set(solution.status) == {Status.STEP_LIMIT}
    assert solution.steps.tolist() == [5, 5, 5]


@pytest.mark.parametrize("step", [0.1, 10.0])
def test_rows_have_the_named_keys(inversion: ModuleType, head: Head, problem: LassoProblem, step: float) -> None:
    plan = inversion.Plan(paper_repeats=1, repeats=1, reference_steps=2_000, peak=False)
    case = inversion.Case("toy", "a seed", head, problem, inversion.PaperFista(step, head.anchor, max_steps=100))
    rows, facts = inversion.measure(case, plan)
    assert all(set(row) >= KEYS for row in rows)
    assert facts["flop_per_step"] == 2 * 2 * head.map.weight.numel() * 16
    applies = "not_applicable" not in facts["paper"]
    assert applies == (step < 1)
    at_paper = [row for row in rows if row["goal"] == "PaperFista's end"]
    assert len(at_paper) == (2 if applies else 0)
    for row in at_paper:
        assert row["suboptimality_at_least"] <= row["suboptimality"] <= at_paper[0]["suboptimality"]
        assert row["ratio_to_paper"] > 0
    certified = [row for row in rows if row["solver"] == "Fista" and row["goal"] == "gap 0.1"]
    assert [row["gap"] <= 0.1 for row in certified] == [True]
    assert (certified[0]["ratio_to_paper"] is None) or applies
