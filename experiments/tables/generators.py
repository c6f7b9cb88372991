"""The KL-WGANs that the experiment needs: three seeds of each wine with the KL-weighted loss, one with the hinge loss.

Run: python experiments/tables/generators.py [red:kl:0 …]          (interrupted, it goes on where it stopped)
"""

import sys
from pathlib import Path

import torch
from sources import ROWS, RUNS, wine
from torch import Tensor

from morelli.generators.kl_wgan import CRITIC_STEPS, KlWganSettings, KlWganTraining
from morelli.numerics.whitening import fit_whitening
from morelli.storage import bundle

EPOCHS = 500  # passes of the critic over the data, as in the paper
CELLS = (("kl", 0), ("hinge", 0), ("kl", 1), ("kl", 2))
KIND = "kl_wgan_training"


def steps_of(rows: int, settings: KlWganSettings) -> int:
    return EPOCHS * -(-rows // settings.batch) // CRITIC_STEPS


def trained(name: str, loss: str, seed: int) -> KlWganTraining:
    """From the checkpoint as far as that goes, then on to the end."""
    data: Tensor = wine(name)
    mean, matrix = fit_whitening(data)
    settings = KlWganSettings(loss, seed=seed)
    training = KlWganTraining(settings, ((data - mean) @ matrix).float())
    path = RUNS / f"{name}-{loss}-{seed}.training"
    if path.exists():
        training.restore(bundle.read(path, KIND).state)
    steps = steps_of(len(data), settings)
    while training.done < steps:
        losses = training.step()
        if training.done % 100 == 0 or training.done == steps:
            bundle.write(path, KIND, training.state(), overwrite=True)
            print(f"{name} {loss} {seed}: {training.done}/{steps} {losses}", flush=True)
    return training


if __name__ == "__main__":
    torch.set_num_threads(1)
    for cell in sys.argv[1:] or [f"{name}:{loss}:{seed}" for loss, seed in CELLS for name in ROWS]:
        name, loss, seed = cell.split(":")
        trained(name, loss, int(seed))
