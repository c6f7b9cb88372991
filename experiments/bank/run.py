"""Train the bank of synthetic generators: 288 blueprints of the paper with two seeds, and ours with one.

Run: python experiments/bank/run.py [part/parts]     (about an hour on one CPU core; interrupted, it goes on)
"""

import os
import sys
from pathlib import Path

import torch

from morelli.app.banks import train_bank
from morelli.cli.progress import bars
from morelli.generators.bank_training import BankSettings
from morelli.generators.synthetic import BEYOND, PAPER
from morelli.storage.crops import crops
from morelli.storage.samples import find

DATA = Path(os.environ.get("MORELLI_DATA", "../shared/data"))
OUT = Path(__file__).parents[2] / "runs" / "bank"
HELD_OUT = 10  # every tenth photograph is never seen in training
SETS = {BEYOND: (0,), PAPER: (0, 1)}


def training_photographs(held_out: bool = False) -> torch.Tensor:
    """CC0 clothes (three crops each) and CC BY-SA fruit, uint8 [n, 3, 64, 64]."""
    found = []
    for name, each in (("clothing_photos", 3), ("fruits100", 1)):
        paths = [path for i, path in enumerate(find(DATA / name)) if (i % HELD_OUT == 0) == held_out]
        found.append(crops(paths, 64, each=each))
    return torch.cat(found)


def main(part: int, parts: int) -> None:
    photographs = training_photographs()
    for blueprints, seeds in SETS.items():
        with bars() as stage:
            train_bank(
                photographs,
                OUT,
                blueprints=blueprints[part::parts],
                seeds=seeds,
                settings=BankSettings(bf16=True),
                device="cuda" if torch.cuda.is_available() else "cpu",
                stage=stage,
            )


if __name__ == "__main__":
    main(*(map(int, sys.argv[1].split("/")) if len(sys.argv) > 1 else (0, 1)))
