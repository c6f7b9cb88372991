"""The benchmark's yardstick solves what it should and refuses what it cannot, and its rows say what they promise."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from morelli.numerics.fidelity import Cells
from morelli.numerics.lasso import LassoProblem, Status, objective
from morelli.numerics.linear import Geometry, TransposedConv, squared_norm
from morelli.numerics.solvers.fista import Fista

FOLDER = Path(__file__).parents[3] / "benchmarks"
MODULES = [path.stem for path in FOLDER.glob("*.py")]


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """Every file of the benchmark, as a module."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture
def problem() -> LassoProblem:
    """Three targets of a map 4×4×4 → 3×8×8 with L = 1 and of an anchor of 0.4."""
    rng = torch.Generator().manual_seed(0)
    geometry = Geometry((2, 2), (1, 1), (1, 1))
    raw = TransposedConv(torch.randn(4, 3, 4, 4, generator=rng), (4, 4, 4), (3, 8, 8), geometry)
    linear = TransposedConv(raw.weight * squared_norm(raw) ** -0.5, raw.in_shape, raw.out_shape, geometry)
    z = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(1)).relu()
    return LassoProblem(linear, Cells.at(linear.apply(z - 0.4)), 0.05)


@pytest.fixture
def plan(bench: SimpleNamespace) -> object:
    small = {"images": 2, "known_images": 2, "rows": 12, "known_rows": 8, "descent_rows": 4, "thousand": 2}
    return bench.heads.Plan(**small, gan_steps=200, most=500, sides=(16,), repeats=1)


def case(bench: SimpleNamespace, problem: LassoProblem, step: float) -> object:
    paper = bench.paper_fista.PaperFista(step, torch.full(problem.map.in_shape, 0.4), max_steps=100)
    return bench.heads.Case("toy", "a seed", problem, paper, known=2, published=1_000, most=500)


@pytest.mark.parametrize("start", [0.4, None])
def test_the_published_solver_finds_the_optimum(bench: SimpleNamespace, problem: LassoProblem, start: float) -> None:
    anchor = None if start is None else torch.full(problem.map.in_shape, start)
    paper = bench.paper_fista.PaperFista(0.5, anchor, change=1e-7, max_steps=3_000).solve(problem)
    ours = Fista(tolerance=1e-5, max_steps=3_000).solve(problem)
    assert torch.allclose(objective(problem, paper.value), objective(problem, ours.value), rtol=1e-4)
    assert set(paper.status) == {Status.CONVERGED}
    assert paper.gap.max() < 1e-3
    assert len(set(paper.steps.tolist())) == 1


def test_a_step_that_diverges_is_refused(bench: SimpleNamespace, problem: LassoProblem) -> None:
    norm = squared_norm(problem.map)
    with pytest.raises(bench.paper_fista.NotApplicable, match="converges only below"):
        bench.paper_fista.PaperFista(2.01 / norm).solve(problem)


def test_the_step_limit_is_a_status(bench: SimpleNamespace, problem: LassoProblem) -> None:
    solution = bench.paper_fista.PaperFista(0.1, max_steps=5).solve(problem)
    assert set(solution.status) == {Status.STEP_LIMIT}
    assert solution.steps.tolist() == [5, 5, 5]


def test_truth_brackets_the_optimum(
    bench: SimpleNamespace, problem: LassoProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = bench.truth.Truth.of(problem, 1_000)
    monkeypatch.setattr(bench.truth, "LARGE", 0)
    long = bench.truth.Truth.of(problem, 1_000)
    assert (exact.by, long.by) == ("interior point", "PDHG")
    assert 0 <= exact.width <= 1e-6 <= long.width <= 1e-3
    assert (exact.upper >= long.lower).all() and (long.upper >= exact.lower).all()
    found = Fista(tolerance=0.1).solve(problem).value
    assert 1e-5 < exact.excess(bench.truth.exact_objective(problem, found)) < 0.1
    assert exact.first(2).excess(exact.upper[:2] * 2) == pytest.approx(1.0, abs=1e-5)
    assert (bench.truth.dual_bound(problem, found) < exact.lower).all()


@pytest.mark.parametrize(("least", "found"), [(1, 1), (13, 13), (700, 700), (5_000, None)])
def test_the_step_search_is_right_to_a_twentieth(bench: SimpleNamespace, least: int, found: int | None) -> None:
    steps = bench.contenders.fewest_steps(lambda limit: limit >= least, 1_000)
    assert (steps is None) if found is None else found <= steps <= 1.05 * found


def test_every_solver_is_at_least_as_accurate_as_its_goal_says(
    bench: SimpleNamespace, problem: LassoProblem, plan: object
) -> None:
    said: list[str] = []
    facts, rows = bench.race.measure("toy", case(bench, problem, 0.1), plan, "cpu", said.append)
    at = {(row.solver, row.goal): row for row in rows}
    assert {row.solver for row in rows} == {"PaperFista", "FISTA, step 1/L", "PDHG", "interior point"}
    assert any("PDHG" in line for line in said)
    paper = at["PaperFista", bench.report.END]
    assert (paper.steps, paper.ratio_to_paper, facts["paper"]["published_steps"]) == (100, 1.0, 1_000)
    for solver in ("FISTA, step 1/L", "PDHG"):
        own = at[solver, bench.report.END]
        assert own.reached and own.suboptimality <= paper.suboptimality
        assert own.ratio_to_paper == pytest.approx(paper.seconds_per_image / own.seconds_per_image)
        for goal, gap in bench.report.GAPS.items():
            assert at[solver, goal].reached and at[solver, goal].gap <= gap
            assert at[solver, goal].suboptimality <= gap
    assert at["interior point", "gap 1e-06"].gap < 1e-6
    assert facts["floor"]["flop_per_step"] == 2 * 2 * problem.map.weight.numel() * 16
    json.dumps([facts, *map(asdict, rows)])
    assert bench.report.table(rows).row_count == len(rows)
    assert "where the paper takes 1000" in " ".join(bench.report.sentences(facts))


def test_a_head_the_published_solver_cannot_take_has_certified_goals_alone(
    bench: SimpleNamespace, problem: LassoProblem, plan: object
) -> None:
    facts, rows = bench.race.measure("toy", case(bench, problem, 10.0), plan, "cpu", lambda _: None)
    assert "converges only below" in facts["paper"]["not_applicable"]
    assert {row.goal for row in rows} == {*bench.report.GAPS, "gap 1e-06"}
    assert all(row.ratio_to_paper is None for row in rows)
    assert "does not apply" in " ".join(bench.report.sentences(facts))


def test_a_rival_that_does_not_get_there_bounds_the_ratio(bench: SimpleNamespace) -> None:
    def row(solver: str, reached: bool, seconds: float) -> object:
        return bench.report.Row("toy", solver, "goal", reached, 1, [seconds], seconds)

    rows = [row("PaperFista", False, 6.0), row("FISTA, step 1/L", True, 4.0), row("PDHG", True, 2.0)]
    paper, _, pdhg = bench.report.with_ratios(rows)
    assert (pdhg.ratio_to_paper, pdhg.ratio_to_fista, pdhg.at_least) == (3.0, 2.0, ("ratio_to_paper",))
    assert paper.ratio_to_fista is None


def test_the_whole_report_of_a_small_table(
    bench: SimpleNamespace, plan: object, capsys: pytest.CaptureFixture[str]
) -> None:
    report = bench.inversion.run(plan, ["dense", "scaling"], "cpu")
    rows = {(row.solver, row.goal): row for row in report["rows"]}
    assert rows["scikit-learn Lasso", "gap 1 %"].gap <= 0.01 and rows["celer Lasso", "gap 1 %"].gap <= 0.01
    assert rows["interior point", "gap 1 %"].reached
    growth = report["scaling"][0]
    assert growth["seconds_per_step_and_megapixel"] == pytest.approx(growth["seconds_per_step"] / 16**2 * 1e6)
    assert "dense: timing" in capsys.readouterr().err


def test_a_thousand_images_are_scaled_from_fewer(bench: SimpleNamespace, problem: LassoProblem) -> None:
    found = bench.scaling.time_thousand(case(bench, problem, 0.1), "cpu")
    solving = found["seconds_per_1000_images"] - found["setup_seconds"]
    assert solving == pytest.approx(found["seconds_measured"] * 1000 / 3)
    assert found["gap_max"] <= found["tolerance"]


def test_the_badly_conditioned_head_is(bench: SimpleNamespace, plan: object) -> None:
    found = bench.heads.CASES["ill"](replace(plan, images=1))
    assert squared_norm(found.problem.map) >= 300


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells")
def test_memory_that_is_freed_again_is_seen(bench: SimpleNamespace) -> None:
    found = bench.machine.cost(lambda: float(torch.ones(2**24).sum()))
    assert found.value == 2**24
    assert 2**25 < found.bytes < 2**27
