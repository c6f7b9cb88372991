"""Train two small StyleGAN2s that differ in the seed, and fine-tune a copy of the first for a few steps.

Run: python experiments/style/generators.py   (interrupted, it goes on where it stopped)
"""

import os
import shutil
from pathlib import Path

import morelli
from morelli.cli.progress import bars

DATA = Path(os.environ.get("MORELLI_DATA", "../shared/data"))
WORK = Path(__file__).parents[2] / "runs/style"
STEPS, CHUNK, TUNED = 4_000, 1_000, 200
SETTINGS = {"family": "style", "width": 16, "batch": 16, "bf16": True}


def main() -> None:
    for steps in range(CHUNK, STEPS + 1, CHUNK):  # in turns, so that both have grown as old whenever this is stopped
        for seed in (0, 1):
            train(f"style-{seed}", seed, steps)
    copy = WORK / "style-0-tuned.generator.training"
    if not copy.exists():
        shutil.copytree(WORK / "style-0.generator.training", copy)
    train("style-0-tuned", 0, STEPS + TUNED)


def train(name: str, seed: int, steps: int) -> None:
    with bars() as stage:
        morelli.train_gan(
            DATA / "clothing64", WORK / f"{name}.generator", **SETTINGS, seed=seed, steps=steps, stage=stage
        )
    print(name, steps, flush=True)


if __name__ == "__main__":
    main()
