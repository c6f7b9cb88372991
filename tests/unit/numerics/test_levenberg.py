"""Levenberg–Marquardt: zero residuals reached, the prior, one by one as in a batch, wrong settings refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from toys import toy_heads, toy_program

from morelli.errors import MismatchError, OutOfRange
from morelli.numerics import levenberg
from morelli.numerics.levenberg import Levenberg, Residual, _jacobian

GENERATOR = toy_program(toy_heads()["deconvolution"])


def latents(n: int, seed: int = 3) -> Tensor:
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(seed))


def towards(targets: Tensor) -> Residual:
    return lambda z, rows: (GENERATOR(z) - targets[rows]).flatten(1)


def near(n: int) -> Tensor:
    return latents(n) + 0.1 * latents(n, seed=4)


def test_own_samples_are_reached_to_the_last_digits() -> None:
    """Measured: largest cost 3e-11 after at most 3 steps."""
    found = Levenberg(tolerance=0.0, target=1e-10).solve(towards(GENERATOR(latents(8))), near(8))
    assert found.converged.all()
    assert found.cost.max() < 1e-9
    assert found.steps.max() <= 15
    torch.testing.assert_close(found.value, latents(8), atol=1e-3, rtol=0)


def test_a_linear_problem_is_solved_as_by_lstsq() -> None:
    matrix, target = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)), latents(3).repeat(1, 3)[:, :30]
    found = Levenberg(tolerance=0.0).solve(lambda z, rows: z @ matrix.T - target[rows], torch.zeros(3, 5))
    torch.testing.assert_close(found.value, torch.linalg.lstsq(matrix, target.T).solution.T, atol=1e-4, rtol=1e-4)


def test_the_pull_is_a_ridge() -> None:
    matrix, target = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)), latents(3).repeat(1, 3)[:, :30]
    found = Levenberg(tolerance=0.0, pull=2.0).solve(lambda z, rows: z @ matrix.T - target[rows], torch.ones(3, 5))
    ridge = torch.linalg.solve(matrix.T @ matrix + 4 * torch.eye(5), matrix.T @ target.T).T
    torch.testing.assert_close(found.value, ridge, atol=1e-4, rtol=1e-4)


def test_secant_steps_end_where_exact_ones_do_by_fewer_jacobians(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured: of six problems 7 in place of 32, and 21 in place of 34 where noise is left over."""
    asked: list[int] = []

    def counted(residual: Residual, z: Tensor, rows: Tensor, size: int) -> Tensor:
        asked.append(len(z))
        return _jacobian(residual, z, rows, size)

    monkeypatch.setattr(levenberg, "_jacobian", counted)
    noise = 0.05 * torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for targets, target in ((GENERATOR(latents(6)), 1e-10), (GENERATOR(latents(6)) + noise, 0.0)):
        found, needed = [], []
        for secant in (False, True):
            asked.clear()
            found.append(Levenberg(target=target, secant=secant).solve(towards(targets), latents(6, seed=4)))
            needed.append(sum(asked))
        assert found[1].converged.all()
        torch.testing.assert_close(found[1].cost, found[0].cost, rtol=5e-3, atol=1e-9)
        assert needed[1] < 0.8 * needed[0]


@pytest.mark.parametrize("secant", [False, True])
def test_a_batch_is_its_problems_one_by_one(secant: bool) -> None:
    targets = GENERATOR(latents(5)) + 0.05 * torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    together = Levenberg(secant=secant).solve(towards(targets), near(5))
    assert len(set(together.steps.tolist())) > 1  # they leave at different times
    for i in range(5):
        alone = Levenberg(secant=secant).solve(towards(targets[i : i + 1]), near(5)[i : i + 1])
        torch.testing.assert_close(alone.cost[0], together.cost[i], rtol=1e-4, atol=1e-7)


def test_going_on_with_the_damping_is_not_starting_anew() -> None:
    problem, start = towards(GENERATOR(latents(4, seed=9))), latents(4)
    whole = Levenberg(8, tolerance=0.0).solve(problem, start)
    half = Levenberg(4, tolerance=0.0).solve(problem, start)
    rest = Levenberg(4, tolerance=0.0).solve(problem, half.value, half.damping)
    assert (rest.cost <= half.cost).all()
    assert (rest.cost.log() - whole.cost.log()).abs().max() < 3  # growth of a refused step's damping is forgotten


def test_the_jacobian_is_that_of_autograd() -> None:
    problem, z = towards(GENERATOR(latents(2))), near(2)
    rows = torch.arange(2)
    expected = torch.autograd.functional.jacobian(lambda at: problem(at, rows).sum(0), z)  # [m, p, k]
    torch.testing.assert_close(_jacobian(problem, z, rows, 192), expected.permute(1, 2, 0), atol=1e-5, rtol=1e-4)


def test_what_is_not_finite_is_told() -> None:
    found = Levenberg().solve(lambda z, rows: z / 0 * 0, torch.ones(2, 3))
    assert not found.converged.any()
    assert found.cost.isinf().all()
    assert torch.equal(found.value, torch.ones(2, 3))


def test_no_problem_is_no_trouble() -> None:
    assert Levenberg().solve(towards(torch.zeros(0, 3, 8, 8)), torch.zeros(0, 12)).value.shape == (0, 12)


@pytest.mark.parametrize(
    "wrong", [{"max_steps": 0}, {"tolerance": 1.0}, {"target": -1.0}, {"pull": float("nan")}], ids=str
)
def test_settings_without_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OutOfRange, match="expected"):
        replace(Levenberg(), **wrong)


def test_points_are_flat() -> None:
    with pytest.raises(MismatchError, match="Flatten"):
        Levenberg().solve(towards(torch.zeros(1, 3, 8, 8)), torch.zeros(1, 12, 1))
