"""The wines, and the places where trained generators and their rows are kept."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morelli.storage.numbers import read_numbers

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MORELLI_DATA", ROOT / "../shared/data"))
RUNS = ROOT / "runs" / "tables"
ROWS = {"red": 1599, "white": 4898}
LEFT_OUT = "quality"


def wine(name: str) -> tuple[list[str], Tensor, list[int]]:
    """Names, numbers [n, 11] in float64, and decimals of all columns but the quality."""
    return read_numbers(DATA / "tables" / f"winequality-{name}.csv", (LEFT_OUT,))


def write_whitened(rows: Tensor, path: Path) -> None:
    """With six decimals: what own rows in the whitened form have, too."""
    header = ",".join(f"pc{i + 1}" for i in range(rows.shape[1]))
    np.savetxt(path, rows.double().numpy(), fmt="%.6f", delimiter=",", header=header, comments="")


def read_rows(path: Path) -> Tensor:
    return torch.from_numpy(np.loadtxt(path, delimiter=",", skiprows=1)).float()
