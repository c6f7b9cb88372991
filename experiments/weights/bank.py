"""Train synthetic generators to test with: new seeds of the blueprints that the fingerprint network never saw.

Run: python experiments/weights/bank.py      (about ten minutes on one CPU core; interrupted, it goes on)
"""

import runpy
from pathlib import Path

from morelli.app.banks import train_bank
from morelli.app.fingerprints import parted
from morelli.cli.progress import bars
from morelli.generators.bank_training import BankSettings
from morelli.generators.synthetic import Blueprint
from morelli.storage.bank import read_bank

ROOT = Path(__file__).parents[2]
TRAINED_ON, OUT = ROOT / "runs/bank", ROOT / "runs/weights/bank"
SEEDS = (100, 101)  # the bank has 0 and 1


def unseen() -> list[Blueprint]:
    """Every tenth blueprint of the bank, which the shipped network's training left out."""
    return sorted({one.blueprint for one in parted(list(read_bank(TRAINED_ON)))[1]}, key=lambda one: one.name)


if __name__ == "__main__":
    photographs = runpy.run_path(str(ROOT / "experiments/bank/run.py"))["training_photographs"]()
    for seed in SEEDS:
        with bars() as stage:
            train_bank(
                photographs, OUT, blueprints=unseen(), seeds=(seed,), settings=BankSettings(bf16=True), stage=stage
            )
