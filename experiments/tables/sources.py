"""The wines, and the places where trained generators and their rows are kept."""

import csv
import os
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MORELLI_DATA", ROOT / "../shared/data"))
RUNS = ROOT / "runs" / "tables"
ROWS = {"red": 1599, "white": 4898}
LEFT_OUT = "quality"


def header(name: str) -> list[str]:
    with (DATA / "tables" / f"winequality-{name}.csv").open(newline="") as file:
        return [column for column in next(csv.reader(file, delimiter=";")) if column != LEFT_OUT]


def wine(name: str) -> Tensor:
    """[n, 11], float64: all columns but the quality."""
    with (DATA / "tables" / f"winequality-{name}.csv").open(newline="") as file:
        rows = [[float(row[column]) for column in header(name)] for row in csv.DictReader(file, delimiter=";")]
    return torch.tensor(rows, dtype=torch.float64)
