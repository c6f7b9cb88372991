"""Rows of TVAE, CTGAN or CopulaGAN. Runs in an environment of its own, by a subprocess of generators.py.

    python -m venv ELSEWHERE && ELSEWHERE/bin/pip install sdv

`sdv` and `ctgan` are under the Business Source License 1.1: Morelli neither contains nor requires them, and this script
imports nothing of Morelli. Whether your use is allowed is between you and their licensor.

Run: ELSEWHERE/bin/python foreign.py MODEL IN.csv OUT.csv EPOCHS SEED ROWS
"""

import sys
import time

import numpy as np
import pandas as pd
import torch
from sdv.metadata import Metadata
from sdv.single_table import CopulaGANSynthesizer, CTGANSynthesizer, TVAESynthesizer

MODELS = {"tvae": TVAESynthesizer, "ctgan": CTGANSynthesizer, "copulagan": CopulaGANSynthesizer}


def main(model: str, source: str, out: str, epochs: str, seed: str, rows: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(int(seed))
    np.random.seed(int(seed))
    table = pd.read_csv(source)
    metadata = Metadata.load_from_dict(
        {"tables": {"table": {"columns": {name: {"sdtype": "numerical"} for name in table.columns}}}}
    )
    made = MODELS[model](metadata, epochs=int(epochs), enforce_rounding=False, enable_gpu=False)
    start = time.perf_counter()
    made.fit({"table": table})
    made.sample(int(rows))["table"].to_csv(out, index=False, float_format="%.6f")
    print(f"{model} {source}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
