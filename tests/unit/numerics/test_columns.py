"""Tables: ordinary rows survive encoding and decoding to their decimals, and misses are in deviations of rounding."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from morelli import Category, Modes, Number, Quantile, Table
from morelli.errors import MismatchError, OutOfRange
from morelli.numerics.activation import Columns, activation_from_settings
from morelli.numerics.whitening import fit_whitening

MIXED = Table(
    (
        Number("standard", 2, 3.0, 10.0),
        Quantile("rank", (0.0, 1.0, 5.0, 20.0), 1),
        Modes("modes", (0.0, 100.0), (1.0, 5.0), 1),
        Category("colour", ("red", "white", "rosé")),
    )
)


def values(n: int = 50) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    standard = 10 + 3 * torch.randn(n, generator=rng, dtype=torch.float64)
    rank = 0.3 + 19 * torch.rand(n, generator=rng, dtype=torch.float64)
    modes = torch.where(torch.arange(n) % 2 == 0, 0.0, 100.0) + torch.randn(n, generator=rng, dtype=torch.float64)
    colour = torch.randint(3, (n,), generator=rng).double()
    return torch.stack([(standard * 100).round() / 100, (rank * 10).round() / 10, (modes * 10).round() / 10, colour], 1)


def correlated(n: int = 400) -> Tensor:
    mixing = torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.5, 2.0], [0.0, 0.0, 30.0]], dtype=torch.float64)
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) @ mixing + 5


def test_mixed_rows_come_back() -> None:
    rows = values()
    encoded = MIXED.encode(rows)
    assert encoded.shape == (50, MIXED.width) == (50, 1 + 1 + 3 + 3)
    assert torch.allclose(MIXED.decode(encoded), rows, atol=1e-9)
    assert MIXED.groups == [slice(3, 5), slice(5, 8)]
    assert MIXED.bounded == [2]


def test_whitened_rows_have_no_covariance_and_come_back() -> None:
    rows = (correlated() * 1000).round() / 1000
    table = Table.whitened(("a", "b", "c"), rows, (3, 3, 3))
    encoded = table.encode(rows)
    assert torch.allclose(encoded.T.cov(), torch.eye(3), atol=1e-4)
    assert torch.allclose(table.decode(encoded), rows, atol=1e-9)


def test_settings_are_json_and_come_back() -> None:
    for table in (MIXED, Table.whitened(("a", "b", "c"), correlated(), (None, 2, 3))):
        assert Table.from_settings(json.loads(json.dumps(table.settings()))) == table


def test_what_is_stored_is_rounded() -> None:
    table = Table((Number("x", 1),))
    made = torch.tensor([[0.12], [0.18]])
    assert table.stored(made).flatten().tolist() == pytest.approx([0.1, 0.2])
    assert torch.equal(table.stored(table.stored(made)), table.stored(made))


def test_rounding_misses_by_one_deviation() -> None:
    """Uniform within half a step: the mean square of what rounding leaves is 1. Measured: 1.01."""
    table, rng = Table((Number("x", 1), Category("c", ("a", "b")))), torch.Generator().manual_seed(0)
    made = torch.cat([torch.rand(2000, 1, generator=rng), torch.tensor([[0.7, 0.3]]).expand(2000, 2)], 1)
    rows = torch.cat([(made[:, :1] * 10).round().double() / 10, torch.ones(2000, 1).double()], 1)
    missed = table.misses(made, rows, torch.ones(2))
    assert float(missed[:, 0].square().mean()) == pytest.approx(1.0, abs=0.08)
    assert float(missed[0, 1]) == pytest.approx(math.sqrt(2 * math.log(0.7 / 0.3)), rel=1e-4)
    rows[:, 1] = 0
    assert table.misses(made, rows, torch.ones(2))[:, 1].max() < 1e-3


def test_misses_can_be_differentiated() -> None:
    rows = values(4)
    encoded = MIXED.encode(rows).requires_grad_()
    loose = torch.ones(4)
    MIXED.misses(encoded + 0.01, rows, loose).square().sum().backward()
    assert encoded.grad is not None
    assert encoded.grad[:, :3].abs().min() > 0


def test_heads_of_columns() -> None:
    activation = Columns((2,), ((3, 5), (5, 8)))
    a = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
    y = activation.forward(a)
    assert torch.allclose(y[:, 5:].sum(1), torch.ones(6))
    assert torch.equal(y[:, :2], a[:, :2])
    assert torch.allclose(y[:, 2], a[:, 2].tanh())
    back = activation.inverse(y)
    assert torch.allclose(activation.forward(back), y, atol=1e-2)
    hard = torch.nn.functional.one_hot(y[:, 5:].argmax(1), 3).float()
    assert activation.saturated(torch.cat([y[:, :5], hard], 1))[:, 5:].all()
    assert activation_from_settings(json.loads(json.dumps(activation.settings()))) == activation


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ((), "at least one"),
        ((Number("a"), Number("a")), "a name of its own"),
        ((Number("a", 10),), "decimals"),
        ((Number("a", None, 0.0),), "positive"),
        ((Quantile("a", (2.0, 1.0)),), "knots rise"),
        ((Category("a", ("x",)),), "two values"),
    ],
)
def test_settings_without_meaning(columns: tuple, word: str) -> None:
    with pytest.raises(OutOfRange, match=word):
        Table(columns)


def test_what_does_not_fit() -> None:
    with pytest.raises(MismatchError, match="4"):
        MIXED.encode(torch.zeros(2, 3))
    with pytest.raises(MismatchError, match="plain numbers"):
        Table((Number("a", 1, 2.0),), (0.0,), ((1.0,),))
    with pytest.raises(OutOfRange, match="constant"):
        fit_whitening(torch.tensor([[1.0, 2.0], [1.0, 3.0], [1.0, 4.0]]))
    with pytest.raises(OutOfRange, match="linear in the others"):
        fit_whitening(torch.randn(50, 1) @ torch.tensor([[1.0, 2.0]]))
