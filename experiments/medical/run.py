"""Table 4, medical: is a DCGAN of grey 128×128 images told from a WGAN-GP and a conditional DCGAN of the same images?

Run: python experiments/medical/run.py FOLDER [--scale cpu | paper | quick]        (interrupted, it goes on)

FOLDER has a sub-folder of images for each class. Pictures, generators and run.json go to runs/medical.
"""

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import patches
import protocol as p

import morelli
from morelli.cli.progress import bars
from morelli.generators.small_gans import latent_shape

TARGET, OTHER, SOURCES = "dcgan", "wgan-gp", ("wgan-gp", "c-dcgan")
WEIGHT = 1e-3  # of the paper's lasso, for this head
ROWS = ("SM-F", "RawPAD", "DCTPAD", "FLIPAD", "closed form, LDA")


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        gans: of each family, what `train_gan` is told.
        sizes: own and other samples to train on, own ones held out, and those of each source to test with.
        epochs: of Deep SAD.
        draws: of all samples, and seeds of the detectors.
        least: images of each class.
    """

    gans: dict[str, dict]
    sizes: dict[str, int]
    epochs: dict[str, int]
    draws: int
    least: int


def gans(steps: tuple[int, int, int], batch: tuple[int, int, int], **shared: object) -> dict[str, dict]:
    families = (TARGET, *SOURCES)
    return {f: {"steps": s, "batch": b, **shared} for f, s, b in zip(families, steps, batch, strict=True)}


PADS = ("RawPAD", "DCTPAD", "FLIPAD")
SCALES = {
    "paper": Scale(  # its generators came ready-made: steps are ours
        gans((20_000,) * 3, (128,) * 3, width=64),
        {"own": 10_000, "other": 10_000, "held_out": 1000, "test": 1000},
        dict.fromkeys(PADS, 50),
        draws=5,
        least=100,
    ),
    "cpu": Scale(  # half the width, smaller batches, a tenth of the samples
        gans((2000, 1000, 2000), (32, 16, 32), width=32, bf16=True),
        {"own": 1000, "other": 1000, "held_out": 500, "test": 200},
        dict(zip(PADS, (15, 15, 10), strict=True)),
        draws=1,
        least=100,
    ),
    "quick": Scale(  # says only that everything runs
        gans((60, 20, 60), (8, 8, 8), width=8),
        {"own": 64, "other": 64, "held_out": 199, "test": 32},
        dict.fromkeys(PADS, 1),
        draws=1,
        least=10,
    ),
}


def rows(scale: Scale) -> dict[str, p.Row]:
    """Those of the other tables, trained against WGAN-GP."""
    found = {name: replace(p.ROWS[name], against=("other",)) for name in ROWS}
    found |= {name: replace(found[name], epochs=epochs) for name, epochs in scale.epochs.items()}
    return found | {"FLIPAD": replace(found["FLIPAD"], settings={"weight": WEIGHT})}


def trained(family: str, scale: Scale, images: Path, out: Path) -> morelli.TorchGenerator:
    if not out.exists():
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with bars() as stage:
            told = {"family": family, "channels": 1, "size": patches.SIDE, "device": device, "stage": stage}
            morelli.train_gan(images, out, **scale.gans[family], **told)
    return p.loaded(out, latent_shape(family))


def samples(generators: dict, sizes: dict[str, int], draw: int) -> dict:
    own = p.drawn(generators[TARGET], sizes["own"] + sizes["held_out"] + sizes["test"], 100 + draw)
    found = p.parted(own, sizes) | {"other": p.drawn(generators[OTHER], sizes["other"], 200 + draw)}
    return found | {name: p.drawn(generators[name], sizes["test"], 300 + draw) for name in SOURCES}


def judged(row: str, head: morelli.Head, drawn: dict) -> dict:
    ((_, attributor, f),) = p.fitted((row,), head, drawn)
    return {source: p.score(attributor, f["test"], f[source]) for source in SOURCES}


def main(folder: Path, name: str, work: Path) -> None:
    scale = SCALES[name]
    about = patches.prepare(folder, work)
    print(f"{about['images']}; {len(about['refused'])} files refused, see {work / 'images.json'}", flush=True)
    patches.check(about["images"], scale.least)
    p.SPEC, p.ROWS = patches.SPEC, rows(scale)
    place = work / name
    generators = {f: trained(f, scale, work / "images", place / f"{f}.generator") for f in scale.gans}
    run = p.Run(str(place / "run.json"), asdict(scale) | {"scale": name, "data": about})
    run.content["generators"] = {family: generator.digest() for family, generator in generators.items()}
    for draw in range(scale.draws):
        keys = [f"{row}/{draw}" for row in ROWS]
        if all(key in run.content["cells"] for key in keys):
            continue
        drawn, head = samples(generators, scale.sizes, draw), p.head_of(generators[TARGET])
        if draw == 0:
            run.cell("leaks", lambda drawn=drawn: p.leaks(drawn["test"], {name: drawn[name] for name in SOURCES}))
        for row, key in zip(ROWS, keys, strict=True):
            run.cell(key, lambda row=row, head=head, drawn=drawn: judged(row, head, drawn))
    run.save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a sub-folder of grey images for each class")
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--work", type=Path, default=p.ROOT / "runs/medical", help="pictures, generators and run.json")
    given = parser.parse_args()
    try:
        main(given.folder, given.scale, given.work)
    except morelli.MorelliError as error:
        sys.exit(str(error))
