"""From a table to a generator of its rows, to a verdict on one row and on all rows together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from morelli import (
    Number,
    SampleSpec,
    Table,
    TableGenerator,
    attribute,
    load_table_generator,
    save,
    train,
    train_table_gan,
    write_rows,
)
from morelli.app.methods import default_method
from morelli.errors import MorelliError, UnreadableBundle
from morelli.generators.kl_wgan import build_kl_wgan
from morelli.numerics.file_form import FileForm

SMALL = {"steps": 2, "width": 8, "batch": 16, "without": ("quality",)}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 3, generator=rng) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 9.0]])
    lines = [f"{a:.1f};{b:.2f};{c:.0f};5" for a, b, c in rows.tolist()]
    (tmp_path / "wine.csv").write_text("\n".join(['"a";"b";"c";"quality"', *lines]))
    return tmp_path / "wine.csv"


def test_from_a_table_to_verdicts(table: Path, tmp_path: Path) -> None:
    made = train_table_gan(table, tmp_path / "g", **SMALL)
    longer = train_table_gan(table, tmp_path / "g", **(SMALL | {"steps": 3}))  # goes on
    assert made.digest() != longer.digest() == load_table_generator(tmp_path / "g").digest()
    straight = train_table_gan(table, tmp_path / "straight", **(SMALL | {"steps": 3}))
    assert straight.digest() == longer.digest()
    assert longer.table.names == ("a", "b", "c")
    assert [column.decimals for column in longer.table.columns] == [1, 2, 0]
    spec = SampleSpec((3,), -float("inf"), float("inf"), form=FileForm(table=longer.table))
    for name, count, seed in (("own", 30, 1), ("mine", 8, 2)):
        write_rows(longer.samples(count, seed), tmp_path / f"{name}.csv", spec)
    save(longer.head(100), tmp_path / "head")
    attributor = train(tmp_path / "head", tmp_path / "own.csv", method="rawpad", detector="mahalanobis", rate=0.1)
    found = attribute(tmp_path / "mine.csv", attributor, together=True)
    assert len(found.judged) == 8
    assert found.together is not None
    assert found.together["samples"] == 8
    assert found.together["log10_e_value"] < 1
    (tmp_path / "far.csv").write_text("a,b,c\n" + "90.0,-9.00,3\n" * 3 + "80.0,-9.00,3\n" * 3)
    far = attribute(tmp_path / "far.csv", attributor, together=True)
    assert far.together is not None
    assert far.together["log10_e_value"] > found.together["log10_e_value"]


def test_rows_on_a_surface_are_searched_for_by_default() -> None:
    """With fewer latents than columns, and the whole generator at hand."""
    columns = Table(tuple(Number(f"c{i}", 2) for i in range(12)))
    found = TableGenerator(build_kl_wgan(12, 8), (10,), columns, announce=lambda line: None)
    head = found.head(50)
    assert default_method(head) == "flipad"
    assert default_method(replace(head, generator=found.program())) == "latent"
    square = TableGenerator(nn.Linear(12, 12), (12,), columns, announce=lambda line: None)
    assert default_method(replace(square.head(50), generator=square.program())) == "flipad"


def test_what_does_not_fit(table: Path, tmp_path: Path) -> None:
    with pytest.raises(MorelliError, match="kl-wgan, kl-wgan-hinge"):
        train_table_gan(table, tmp_path / "g", family="dcgan")
    made = train_table_gan(table, tmp_path / "g", **SMALL)
    with pytest.raises(MorelliError, match="the checkpoint is of"):
        train_table_gan(table, tmp_path / "g", **(SMALL | {"seed": 1}))
    save(replace(made.head(50), covariance=None), tmp_path / "head")
    with pytest.raises(UnreadableBundle, match="expected a table_gan"):
        load_table_generator(tmp_path / "head")
