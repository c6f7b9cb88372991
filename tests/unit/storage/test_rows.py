"""Ordinary rows: read by column names, encoded, and refused with row and column named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from morelli import Category, Number, SampleSpec, Table, write_rows
from morelli.errors import MismatchError, UnreadableSample
from morelli.numerics.file_form import FileForm
from morelli.storage.numbers import read_numbers
from morelli.storage.samples import read

TABLE = Table((Number("alcohol", 1), Number("sulphates", 2, 0.5, 1.0), Category("colour", ("red", "white"))))
SPEC = SampleSpec((4,), -float("inf"), float("inf"), form=FileForm(table=TABLE))


def put(folder: Path, text: str) -> Path:
    path = folder / "wine.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = put(tmp_path, '"colour";"quality";"sulphates";"alcohol"\nwhite;5;2.00;9.4\nred;6;0.50;10.25\n')
    found = read(path, SPEC)
    assert torch.allclose(found.samples, torch.tensor([[9.4, 2.0, 0.0, 1.0], [10.2, -1.0, 1.0, 0.0]]))
    assert found.facts["notes"] == [
        "columns not read: quality",
        "1 value had more decimals than this model writes and were rounded",
    ]
    assert found.facts["size"] == [3, 2]


def test_without_a_header_the_order_is_the_models(tmp_path: Path) -> None:
    assert torch.equal(read(put(tmp_path, "9.4,1,red\n"), SPEC).samples, torch.tensor([[9.4, 0.0, 1.0, 0.0]]))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    samples = TABLE.stored(torch.randn(20, 4, generator=torch.Generator().manual_seed(0)))
    write_rows(samples, tmp_path / "own.csv", SPEC)
    assert (tmp_path / "own.csv").read_text().splitlines()[0] == "alcohol,sulphates,colour"
    assert torch.equal(read(tmp_path / "own.csv", SPEC).samples, samples)
    with pytest.raises(MismatchError, match="without a table"):
        write_rows(samples, tmp_path / "no.csv", SampleSpec((4,)))
    assert not (tmp_path / "no.csv").exists()


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("alcohol,colour\n9,red\n", MismatchError, ("no column 'sulphates'", "has 'alcohol', 'colour'")),
        ("alcohol,sulphates,colour\n9,1,red\n9,1,pink\n", UnreadableSample, ("'pink' in row 3, column 'colour'",)),
        ("alcohol,sulphates,colour\n9,,red\n", UnreadableSample, ("no value in row 2, column 'sulphates'", "Fill")),
        ("alcohol,sulphates,colour\n9,NA,red\n", UnreadableSample, ("no value in row 2, column 'sulphates'",)),
        ("alcohol,sulphates,colour\n9,1,\n", UnreadableSample, ("no value in row 2, column 'colour'", "'red'")),
        ("alcohol,sulphates,colour\nhigh,1,red\n", UnreadableSample, ("'high' in row 2, column 'alcohol'",)),
        ("alcohol,sulphates,colour\n9,1\n", MismatchError, ("2 columns in row 2", "expected 3")),
        ("alcohol,alcohol,sulphates,colour\n9,9,1,red\n", MismatchError, ("'alcohol' twice",)),
        ("alcohol,sulphates,colour\n", UnreadableSample, ("no row",)),
    ],
)
def test_refusals_name_row_and_column(tmp_path: Path, text: str, kind: type, words: tuple[str, ...]) -> None:
    with pytest.raises(kind) as caught:
        read(put(tmp_path, text), SPEC)
    assert type(caught.value) is kind
    for word in ("wine.csv", *words):
        assert word in str(caught.value)


def test_a_table_to_train_on(tmp_path: Path) -> None:
    path = put(tmp_path, '"a b";"c";"quality"\n1.25;10;3\n-0.5;20;4\n')
    names, rows, decimals = read_numbers(path, ("quality",))
    assert (names, decimals) == (["a b", "c"], [2, 0])
    assert rows.tolist() == [[1.25, 10.0], [-0.5, 20.0]]
    with pytest.raises(UnreadableSample, match="no column 'taste' to leave out"):
        read_numbers(path, ("taste",))
    with pytest.raises(UnreadableSample, match="header with names"):
        read_numbers(put(tmp_path, "1,2\n3,4\n"))
    with pytest.raises(UnreadableSample, match="cannot be read"):
        read_numbers(tmp_path / "none.csv")
