"""All generators that the experiment needs: of each wine three seeds of the KL-WGAN, one with the hinge loss, others.

Run: python experiments/tables/generators.py [red:kl:0 red:tvae red:diffusion …]    (interrupted, it goes on)
TVAE, CTGAN and CopulaGAN run in an environment of their own, see foreign.py: MORELLI_SDV_PYTHON=ELSEWHERE/bin/python
"""

import os
import subprocess
import sys
from pathlib import Path

import torch
from diffusion import rows_of_diffusion
from sources import ROWS, RUNS, read_rows, wine, write_whitened
from torch import Tensor

from morelli.generators.kl_wgan import CRITIC_STEPS, KlWganSettings, KlWganTraining
from morelli.numerics.whitening import fit_whitening
from morelli.storage import bundle

EPOCHS = 500  # passes of the critic over the data, as in the paper
SHORTER = {("white", "tvae"): 150}  # epochs, where the time did not suffice for 500
CELLS = ("kl:0", "tvae", "ctgan", "copulagan", "diffusion", "hinge:0", "kl:1", "kl:2")
FOREIGN = 4000  # rows of each foreign generator
KIND = "kl_wgan_training"


def steps_of(rows: int, settings: KlWganSettings) -> int:
    return EPOCHS * -(-rows // settings.batch) // CRITIC_STEPS


def is_trained(name: str, loss: str, seed: int) -> bool:
    path, settings = RUNS / f"{name}-{loss}-{seed}.training", KlWganSettings(loss, seed=seed)
    return path.exists() and bundle.read(path, KIND).state.settings["done"] >= steps_of(ROWS[name], settings)


def trained(name: str, loss: str, seed: int) -> KlWganTraining:
    """From the checkpoint as far as that goes, then on to the end."""
    data = whitened(name)
    settings = KlWganSettings(loss, seed=seed)
    training = KlWganTraining(settings, data)
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


def whitened(name: str) -> Tensor:
    _, data, _ = wine(name)
    mean, matrix = fit_whitening(data)
    return ((data - mean) @ matrix).float()


def foreign(name: str, model: str) -> Tensor:
    """Whitened rows of another model, trained on whitened rows; from the file, or made first."""
    path = RUNS / f"{name}-{model}.csv"
    if not path.exists():
        if model == "diffusion":
            write_whitened(rows_of_diffusion(whitened(name), FOREIGN, 0), path)
        else:
            source = RUNS / f"{name}-whitened.csv"
            write_whitened(whitened(name), source)
            python = os.environ.get("MORELLI_SDV_PYTHON")
            if python is None:
                sys.exit(f"{path} is missing; see foreign.py for the environment that makes it.")
            script = Path(__file__).with_name("foreign.py")
            subprocess.run(
                [python, script, model, source, path, str(SHORTER.get((name, model), EPOCHS)), "0", str(FOREIGN)],
                check=True,
            )
    return read_rows(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    RUNS.mkdir(parents=True, exist_ok=True)
    for cell in sys.argv[1:] or [f"{name}:{cell}" for cell in CELLS for name in ROWS]:
        name, what, *seed = cell.split(":")
        if seed:
            trained(name, what, int(seed[0]))
        else:
            foreign(name, what)
