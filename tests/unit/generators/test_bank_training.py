"""Training many synthetic generators: alone or stacked, with or without company, the outcome is the same."""

from __future__ import annotations

import pytest
import torch

from morelli.generators.bank_training import Alone, BankSettings, Stacked, train_together
from morelli.generators.synthetic import Blueprint, build

PLAIN = Blueprint(1, 1, "nearest", "relu", "batch", "after")
PHOTOGRAPHS = (
    torch.rand(12, 3, 2, 2, generator=torch.Generator().manual_seed(0)).repeat_interleave(8, 2).repeat_interleave(8, 3)
)
SHORT = BankSettings(residual=0.0, most_steps=6, least_steps=1, batch=4)
KINDS = [
    PLAIN,
    Blueprint(1, 2, "transposed", "tanh", "instance", "before"),
    Blueprint(2, 1, "shuffle", "leaky", "none", "after"),
    Blueprint(1, 1, "blur", "silu", "modulated", "after"),
    Blueprint(2, 1, "nearest", "silu", "group", "before", residual=True),
    Blueprint(2, 2, "patch", "silu", "none", "before"),
]


@pytest.mark.parametrize("blueprint", KINDS, ids=lambda b: b.name)
def test_alone_and_stacked_agree(blueprint: Blueprint) -> None:
    """One step of both, statistics included; from the second step on, Adam makes rounding large."""
    stacked = Stacked([build(blueprint, seed).train() for seed in (0, 1)])
    errors = stacked.errors(PHOTOGRAPHS)
    gradients = torch.autograd.grad(errors.sum(), stacked.parameters)
    for i in (0, 1):
        module = build(blueprint, i).train()
        alone = Alone(module)
        error = alone.errors(PHOTOGRAPHS)
        torch.testing.assert_close(errors[i : i + 1], error, rtol=1e-4, atol=1e-6)
        for one, many in zip(torch.autograd.grad(error.sum(), alone.parameters), gradients, strict=True):
            torch.testing.assert_close(one, many[i], rtol=1e-2, atol=1e-5)
        ours, theirs = alone.weights(0), stacked.weights(i)
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


def test_same_seed_same_bits() -> None:
    first, second = (train_together(PLAIN, [7], PHOTOGRAPHS, SHORT)[0] for _ in range(2))
    assert first.residual == second.residual
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_company_changes_nothing_but_rounding() -> None:
    alone = train_together(PLAIN, [7], PHOTOGRAPHS, SHORT)[0]
    (_, other) = train_together(PLAIN, [3, 7], PHOTOGRAPHS, SHORT)
    assert other.seed == 7
    assert alone.residual == pytest.approx(other.residual, rel=1e-3)
    with torch.no_grad():
        a, b = (one.module()(PHOTOGRAPHS) for one in (alone, other))
    torch.testing.assert_close(a, b, rtol=0, atol=0.03)
    stranger = train_together(PLAIN, [3], PHOTOGRAPHS, SHORT)[0].module()(PHOTOGRAPHS)
    assert (stranger - a).abs().max() > 0.1


def test_it_learns_and_stops_when_it_has() -> None:
    settings = BankSettings(residual=0.03, most_steps=200, least_steps=5, batch=4)
    found = train_together(PLAIN, [0], PHOTOGRAPHS, settings)[0]
    assert 5 <= found.steps < 200
    assert found.residual <= 0.03
    assert not found.module().training
    start = train_together(PLAIN, [0], PHOTOGRAPHS, BankSettings(residual=0, most_steps=1, least_steps=1, batch=4))[0]
    assert found.residual < start.residual / 2


def test_the_last_step_ends_it_whatever_the_least() -> None:
    found = train_together(PLAIN, [0], PHOTOGRAPHS, BankSettings(residual=0, most_steps=2, least_steps=20, batch=4))
    assert [one.steps for one in found] == [2]
