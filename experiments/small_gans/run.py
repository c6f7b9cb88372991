"""Train the four small GANs on 64×64 photographs, and five seeds of each; ship those of clothes.

Run: python experiments/small_gans/run.py [clothing64 | celeba64 | seeds …]   (interrupted, it goes on where it stopped)
"""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import morelli
from morelli.cli.progress import bars
from morelli.storage.images import to_eight_bits

DATA = Path(os.environ.get("MORELLI_DATA", "../shared/data"))
# Half the paper's width, smaller batches and far fewer steps: what two CPU cores allow. LSGAN's critic keeps twice the
# paper's width, since at half of it the generator got no signal (sheets of noise after 1,500 steps).
RUNS = {
    "dcgan": {"family": "dcgan", "seed": 0, "steps": 3000, "batch": 64, "critic_width": 32},
    "dcgan-b": {"family": "dcgan", "seed": 1, "steps": 2500, "batch": 64, "critic_width": 32},
    "lsgan": {"family": "lsgan", "seed": 0, "steps": 2000, "batch": 32, "critic_width": 128},
    "ebgan": {"family": "ebgan", "seed": 0, "steps": 2500, "batch": 64, "critic_width": 32},
    "wgan-gp": {"family": "wgan-gp", "seed": 0, "steps": 2000, "batch": 16, "critic_width": 32},
}
YOUNG = (("dcgan", 32, 800, 32), ("ebgan", 32, 800, 32), ("lsgan", 32, 800, 128), ("wgan-gp", 16, 400, 32))
OLDER = {"dcgan": 2500, "ebgan": 2000, "lsgan": 1200, "wgan-gp": 1000}  # at 800 DCGAN's faces were one and the same
CELEBA = {  # for experiments only
    family: {"family": family, "seed": 0, "batch": batch, "steps": OLDER[family], "critic_width": critic}
    for family, batch, _, critic in YOUNG
}
SEEDS = {  # all five of a family alike, younger still
    f"{family}-{seed}": {"family": family, "seed": seed, "batch": batch, "steps": steps, "critic_width": critic}
    for seed in range(5)
    for family, batch, steps, critic in YOUNG
}
SETS = {"clothing64": ("clothing64", RUNS), "celeba64": ("celeba64", CELEBA), "seeds": ("clothing64", SEEDS)}
SHARED = {"width": 32, "bf16": True}
SHIPPED = {"clothing64": "clothing"}  # CC0; CelebA is for experiments only
ROOT = Path(__file__).parents[2]


def main(chosen: str) -> None:
    data, runs = SETS[chosen]
    work = ROOT / "runs" / chosen
    for name, settings in runs.items():
        out = work / f"{name}.generator"
        with bars() as stage:
            morelli.train_gan(DATA / data, out, **settings, **SHARED, stage=stage)
        if chosen in SHIPPED:
            shipped = ROOT / "src/morelli/demo" / f"{SHIPPED[chosen]}-{name}"
            shutil.rmtree(shipped, ignore_errors=True)
            shutil.copytree(out, shipped)
            write_sheet(str(shipped), ROOT / "docs/sheets" / f"{SHIPPED[chosen]}-{name}.png")
    provenance = {name: morelli_provenance(work / f"{name}.generator") for name in runs}
    (Path(__file__).parent / f"run-{chosen}.json").write_text(json.dumps(provenance, indent=1) + "\n")


def write_sheet(generator: str, path: Path, side: int = 8) -> None:
    """The first 64 samples of seed 0."""
    found = morelli.TorchGenerator(morelli.load_generator(Path(generator)), (100, 1, 1), announce=lambda line: None)
    pixels = to_eight_bits(found.samples(side * side, seed=0), morelli.SampleSpec((3, 64, 64))).numpy()
    rows = pixels.reshape(side, side, 3, 64, 64).transpose(0, 3, 1, 4, 2).reshape(side * 64, side * 64, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(rows)).save(path)


def morelli_provenance(generator: Path) -> dict:
    manifest = json.loads((generator / "manifest.json").read_text())
    return {"sha256": manifest["sha256"], **manifest["content"]["settings"]["provenance"]}


if __name__ == "__main__":
    for name in sys.argv[1:] or ("clothing64",):
        main(name)
