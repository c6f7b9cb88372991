"""Train the fingerprint network that ships, on the bank.

Run: python experiments/extractor/run.py      (about an hour on a CPU core; interrupted, it goes on)

Two runs: the first on the shards that were there, the second goes on from it on the whole bank.
"""

import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bank"))
sys.path.insert(0, str(HERE.parent))
import protocol as p  # noqa: E402
from run import OUT, training_photographs  # noqa: E402

from morelli.app.fingerprints import train_fingerprint  # noqa: E402
from morelli.attribution.fingerprint_training import TrainingSettings  # noqa: E402
from morelli.cli.progress import bars  # noqa: E402
from morelli.storage.generators import shipped_generators  # noqa: E402
from morelli.storage.images import to_eight_bits  # noqa: E402
from morelli.storage.networks import SHIPPED  # noqa: E402

RUNS = {"first": (3000, OUT.with_name("bank_early")), "fingerprint": (4000, OUT)}  # without the early bank: OUT
DATA = {"data": ["clothing_photos", "fruits100"], "licence": "CC0; CC BY-SA 4.0 (Fruits-360)"}


def strangers() -> torch.Tensor:
    """Samples of the small GANs of clothes, those that ship and five seeds of each: uint8 [25, 20, 3, 64, 64]."""
    gans = [p.loaded(name) for name in shipped_generators()] + list(p.generators("seeds").values())
    return torch.stack([to_eight_bits(gan.samples(20, 2), p.SPEC) for gan in gans])


def main() -> None:
    if all(OUT.with_name(name).exists() for name in RUNS):
        return
    about, start = DATA | {"runs": {}}, None
    for name, (steps, bank) in RUNS.items():
        settings, out, began = TrainingSettings(steps, bf16=True), OUT.with_name(name), time.perf_counter()
        if not out.exists():
            with bars() as stage:
                train_fingerprint(
                    bank if bank.exists() else OUT,
                    training_photographs(),
                    training_photographs(held_out=True),
                    strangers(),
                    out,
                    settings,
                    start=start,
                    provenance=DATA,
                    device="cuda" if torch.cuda.is_available() else "cpu",
                    stage=stage,
                )
        about["runs"][name] = asdict(settings) | {"seconds of this call": round(time.perf_counter() - began)}
        start = out
    shutil.copytree(out, SHIPPED / "fingerprint", dirs_exist_ok=True)
    (HERE / "run.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
