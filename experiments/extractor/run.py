"""Train the fingerprint network that ships, on the bank.

Run: python experiments/extractor/run.py [steps [bank]]      (about an hour on a CPU core; interrupted, it goes on)
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bank"))
from run import OUT, training_photographs  # noqa: E402

from morelli.app.fingerprints import train_fingerprint  # noqa: E402
from morelli.attribution.fingerprint_training import TrainingSettings  # noqa: E402
from morelli.cli.progress import bars  # noqa: E402

STEPS = 3000
DATA = {"data": ["clothing_photos", "fruits100"], "licence": "CC0; CC BY-SA 4.0 (Fruits-360)"}


def main(steps: int = STEPS, bank: Path = OUT) -> None:
    settings, start = TrainingSettings(steps, bf16=True), time.perf_counter()
    out = OUT.with_name("fingerprint")
    with bars() as stage:
        train_fingerprint(
            bank,
            training_photographs(),
            training_photographs(held_out=True),
            out,
            settings,
            provenance=DATA,
            device="cuda" if torch.cuda.is_available() else "cpu",
            stage=stage,
        )
    about = DATA | asdict(settings) | {"seconds of the last run": round(time.perf_counter() - start)}
    (HERE / "run.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, Path), sys.argv[1:], strict=False)))
