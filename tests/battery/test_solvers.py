"""Contract of a solver: a certificate that holds, honest statuses, and a batch nobody can see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from battery.cases import SOLVERS
from torch import Tensor
from toys import toy_generator, toy_heads, toy_samples

from morelli.errors import MismatchError, OutOfRange
from morelli.numerics.fidelity import Cells
from morelli.numerics.lasso import LassoProblem, Solver, Status, duality_gap, objective
from morelli.numerics.linear import Dense
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.interior_point import InteriorPoint

ROWS = pytest.mark.parametrize("name", SOLVERS)
HEADS = pytest.mark.parametrize("toy", ["deconvolution", "convolution", "table", "audio"])
WEIGHT = 0.05


def problem(toy: str, n: int = 5, weight: float = WEIGHT, dtype: torch.dtype = torch.float64) -> LassoProblem:
    """Own and foreign samples of a toy."""
    head = toy_heads()[toy].to("cpu", dtype)
    samples = torch.cat([toy_samples(toy, n - n // 2), toy_samples(toy, n // 2, generator_seed=1)]).to(dtype)
    return LassoProblem(head.map, Cells.at(head.target(samples)), weight)


def best_known(given: LassoProblem) -> Tensor:
    """[n]; the optimum to nine digits, by far more steps than any row of the table makes."""
    solution = Fista(tolerance=1e-9, max_steps=200_000).solve(given)
    assert set(solution.status) == {Status.CONVERGED}
    return objective(given, solution.value)


def assert_certified(given: LassoProblem, value: Tensor, gap: Tensor, optimum: Tensor) -> None:
    """The gap is no smaller than the true distance from the optimum, as a share of the objective."""
    reached = objective(given, value)
    assert ((reached - optimum) / reached <= gap + 1e-8).all()


@ROWS
@HEADS
def test_certificate(name: str, toy: str) -> None:
    given, optimum = problem(toy), best_known(problem(toy))
    for solver in (SOLVERS[name], replace(SOLVERS[name], tolerance=0.3), replace(SOLVERS[name], max_steps=20)):
        solution = solver.solve(given)
        assert_certified(given, solution.value, solution.gap, optimum)
        assert_certified(given, solution.value, duality_gap(given, solution.value), optimum)


def test_the_certificate_check_can_fail() -> None:
    given = problem("table")
    solution = SOLVERS["fista"].solve(given)
    with pytest.raises(AssertionError):
        assert_certified(given, solution.value + 1e-2, solution.gap, best_known(given))


@ROWS
@HEADS
def test_converged_means_that_the_gap_is_below_the_tolerance(name: str, toy: str) -> None:
    solution = SOLVERS[name].solve(problem(toy))
    assert solution.status == (Status.CONVERGED,) * 5
    assert (solution.gap <= SOLVERS[name].tolerance).all()
    assert (solution.steps > 0).all()


@ROWS
@HEADS
def test_zero_beyond_the_largest_useful_weight(name: str, toy: str) -> None:
    target = problem(toy).fidelity.centre
    largest = float(problem(toy).map.adjoint(target).abs().max())
    beyond = SOLVERS[name].solve(LassoProblem(problem(toy).map, Cells.at(target), 1.0001 * largest))
    assert torch.equal(beyond.value, torch.zeros_like(beyond.value))
    assert set(beyond.status) == {Status.CONVERGED}
    below = replace(SOLVERS[name], tolerance=1e-7).solve(
        LassoProblem(problem(toy).map, Cells.at(target), 0.97 * largest)
    )
    assert (below.value != 0).flatten(1).any(1).any()


@ROWS
@HEADS
def test_the_anchor_is_a_fixed_point(name: str, toy: str) -> None:
    head = toy_heads()[toy].to("cpu", torch.float64)
    at_anchor = head.forward(head.anchor[None])
    assert not head.activation.saturated(at_anchor).any()
    given = LassoProblem(head.map, Cells.at(head.target(at_anchor)), WEIGHT)
    torch.testing.assert_close(given.fidelity.centre, torch.zeros_like(given.fidelity.centre), rtol=0, atol=1e-9)
    assert replace(SOLVERS[name], max_steps=50).solve(given).value.abs().max() < 1e-9
    exactly = SOLVERS[name].solve(LassoProblem(head.map, Cells.at(torch.zeros_like(given.fidelity.centre)), WEIGHT))
    assert not exactly.value.any()
    assert exactly.status == (Status.CONVERGED,)


@ROWS
def test_step_limit_is_a_status(name: str) -> None:
    few = getattr(SOLVERS[name], "check_every", 3)
    solution = replace(SOLVERS[name], tolerance=1e-12, max_steps=few).solve(problem("deconvolution"))
    assert solution.status == (Status.STEP_LIMIT,) * 5
    assert (solution.gap > 1e-12).all()
    assert (solution.steps == few).all()


@pytest.mark.parametrize("name", [name for name, solver in SOLVERS.items() if hasattr(solver, "min_steps")])
def test_as_many_steps_as_asked_for_at_least(name: str) -> None:
    """With a tolerance that is met at once, every sample makes the same number of steps."""
    loose = replace(SOLVERS[name], tolerance=1.0)
    assert set(loose.solve(problem("deconvolution")).steps.tolist()) == {10}
    patient = replace(loose, min_steps=50).solve(problem("deconvolution"))
    assert set(patient.steps.tolist()) == {50}
    assert patient.status == (Status.CONVERGED,) * 5
    assert (patient.gap < 0.9).all()


@ROWS
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_is_a_status_and_stays_with_its_sample(name: str, bad: float) -> None:
    given = problem("deconvolution")
    clean = SOLVERS[name].solve(given)
    target = given.fidelity.centre.clone()
    target[2, 0, 3, 3] = bad
    solution = SOLVERS[name].solve(replace(given, fidelity=Cells.at(target)))
    assert [i for i, status in enumerate(solution.status) if status is Status.NON_FINITE] == [2]
    assert solution.gap[2] == 1.0
    others = [0, 1, 3, 4]
    assert torch.equal(solution.value[others], clean.value[others])


@ROWS
@HEADS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_is_invisible(name: str, toy: str, dtype: torch.dtype) -> None:
    """Bit for bit, whatever the mates, the order and the size of the batch."""
    solver = replace(SOLVERS[name], tolerance=0.05, max_steps=400)
    given = problem(toy, n=21, dtype=dtype)
    together = solver.solve(given)
    order = torch.randperm(21, generator=torch.Generator().manual_seed(0))
    shuffled = solver.solve(replace(given, fidelity=Cells.at(given.fidelity.centre[order])))
    assert torch.equal(shuffled.value, together.value[order])
    assert torch.equal(shuffled.gap, together.gap[order])
    assert torch.equal(shuffled.steps, together.steps[order])
    for chosen in ([0], [20], [3, 17, 4]):
        few = solver.solve(replace(given, fidelity=Cells.at(given.fidelity.centre[chosen])))
        assert torch.equal(few.value, together.value[chosen])
        assert few.status == tuple(together.status[i] for i in chosen)


@ROWS
def test_an_empty_batch(name: str) -> None:
    given = problem("table")
    solution = SOLVERS[name].solve(replace(given, fidelity=Cells.at(given.fidelity.centre[:0])))
    assert solution.value.shape == (0, *given.map.in_shape)
    assert (solution.status, len(solution.gap), len(solution.steps)) == ((), 0, 0)


@ROWS
def test_a_map_of_zeros_gives_zeros(name: str) -> None:
    given = LassoProblem(Dense(torch.zeros(4, 7), (7,), (4,)), Cells.at(torch.ones(3, 4)), 0.1)
    solution = SOLVERS[name].solve(given)
    assert not solution.value.any()
    assert set(solution.status) == {Status.CONVERGED}


@ROWS
def test_progress_counts_every_sample_once(name: str) -> None:
    told: list[int] = []
    SOLVERS[name].solve(problem("table", n=40), told.append)
    assert sum(told) == 40


@ROWS
def test_own_samples_are_fitted(name: str) -> None:
    """The optimum cannot be worse than the activation that made the sample."""
    generator = toy_generator("deconvolution")
    head = generator.head(256).to("cpu", torch.float64)
    true = generator.activations(6, 5).double() - head.anchor
    given = LassoProblem(head.map, Cells.at(head.target(generator.samples(6, 5).double())), WEIGHT)
    solution = SOLVERS[name].solve(given)
    assert (objective(given, solution.value) * (1 - solution.gap) <= objective(given, true)).all()


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_that_is_not_positive_is_refused(weight: float) -> None:
    with pytest.raises(OutOfRange, match="must be positive"):
        problem("table", weight=weight)


def test_a_target_of_another_shape_is_refused() -> None:
    given = problem("table")
    with pytest.raises(MismatchError, match=r"\(5,\).*\(6,\)"):
        replace(given, fidelity=Cells.at(given.fidelity.centre[:, :5]))


def test_rows_are_solvers() -> None:
    for solver in SOLVERS.values():
        checked: Solver = solver
        assert checked.solve(problem("table")).value.shape == (5, 24)


@ROWS
@pytest.mark.parametrize("toy", ["deconvolution", "convolution", "table"])
def test_the_number_of_threads_hardly_matters(name: str, toy: str) -> None:
    """In float32 a few millionths, as sums are split elsewhere."""
    threads, solver, found = torch.get_num_threads(), replace(SOLVERS[name], tolerance=0.05), []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(solver.solve(problem(toy, dtype=torch.float32)))
    torch.set_num_threads(threads)
    assert torch.equal(found[0].steps, found[1].steps)
    torch.testing.assert_close(found[0].value, found[1].value, rtol=0, atol=1e-5 * float(found[0].value.abs().max()))


@pytest.mark.parametrize("toy", ["deconvolution", "table"])
def test_the_interior_point_never_raises(toy: str) -> None:
    """Weights and samples far out of scale end as a status, and leave the others alone."""
    given = problem(toy, weight=1e-13)
    target = given.fidelity.centre.clone()
    target[1] *= 1e14
    solver = InteriorPoint(max_steps=30)
    solution = solver.solve(replace(given, fidelity=Cells.at(target)))
    alone = solver.solve(replace(given, fidelity=Cells.at(target[2:3])))
    assert len(solution.status) == 5
    assert torch.equal(solution.value[2:3], alone.value)
