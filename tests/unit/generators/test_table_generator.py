"""Generators of rows: heads of columns, draws, rounding; and the search of the whole generator for rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from toys import LATENT, TOYS

from morelli import Category, Head, Modes, Number, Table, TableGenerator
from morelli.errors import HeadNotFound, MismatchError
from morelli.features.inversion import Inversion
from morelli.features.latent_search import LatentSearch
from morelli.numerics.activation import Columns

PLAIN = Table(tuple(Number(name, 2) for name in "abcdef"))
MIXED = Table((Number("a", 2), Modes("b", (0.0, 9.0), (1.0, 1.0), 2, drawn=True), Category("c", ("x", "y"), True)))


def generator(table: Table, seed: int = 0, **options: object) -> TableGenerator:
    return TableGenerator(TOYS["table"](seed), (LATENT,), table, announce=lambda line: None, **options)


def whole(found: TableGenerator) -> Head:
    return replace(found.head(200), generator=found.program())


def test_samples_are_as_a_file_gives_them_back() -> None:
    samples = generator(PLAIN).samples(30, 1)
    assert torch.equal(PLAIN.stored(samples), samples)
    assert torch.allclose(samples * 100, (samples * 100).round(), atol=1e-3)


def test_heads_of_mixed_columns_are_found_and_drawn() -> None:
    """The toy's last layer makes the six places; tanh, two softmaxes and draws follow."""
    found = generator(MIXED, heads=True)
    head = found.head(200)
    assert isinstance(head.activation, Columns)
    assert Head.from_state(head.state()).form.table == MIXED
    samples, again = found.samples(400, 1), found.samples(400, 1)
    assert torch.equal(samples, again)
    assert set(samples[:, 4:].flatten().tolist()) == {0.0, 1.0}
    chances = super(TableGenerator, found).samples(400, 1)[:, 5]
    assert float(samples[:, 5].mean()) == pytest.approx(float(chances.mean()), abs=0.08)
    assert Inversion(head).extract(samples[:5]).values.isfinite().all()


class Applied(nn.Module):
    """The toy with its heads already applied."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TOYS["table"](0)

    def forward(self, z: Tensor) -> Tensor:
        a = self.inner(z)
        return torch.cat([a[:, :1], a[:, 1:2].tanh(), a[:, 2:4].softmax(1), a[:, 4:].softmax(1)], 1)


def test_heads_may_be_the_modules_own() -> None:
    own = TableGenerator(Applied(), (LATENT,), MIXED, announce=lambda line: None)
    assert torch.equal(own.samples(20, 1), generator(MIXED, heads=True).samples(20, 1))
    with pytest.raises(HeadNotFound):
        generator(MIXED)  # which applies none


def test_a_table_of_another_width() -> None:
    with pytest.raises(MismatchError, match="the table's are \\(1,\\)"):
        generator(Table((Number("a"),)))


def test_own_rows_are_explained_and_others_are_not() -> None:
    """Twelve latents, six columns: only what none that is likely makes is told apart."""
    head = whole(generator(PLAIN))
    search = LatentSearch(head.generator, Inversion(head).spec, restarts=2, steps=15)
    rows = generator(PLAIN).samples(12, 5)
    own = search.extract(rows)
    far = search.extract(PLAIN.stored(rows + 1.5))
    assert own.notes["rest"].max() < 1.5
    assert far.values.median() > own.values.median()
    assert torch.allclose(search.extract(rows[3:5]).values, own.values[3:5], atol=1e-3)
    assert search.certify(rows[:1], [{}]).best <= search.certify(rows[:1], [{}]).judged
    assert len(search.extract(rows[:0])) == 0
    assert LatentSearch.from_state(search.state()).spec.form.table == PLAIN


def test_mixed_rows_can_be_searched_for() -> None:
    head = whole(generator(MIXED, heads=True))
    search = LatentSearch(head.generator, Inversion(head).spec, restarts=1, steps=4)
    assert search.extract(generator(MIXED, heads=True).samples(3, 5)).values.isfinite().all()
