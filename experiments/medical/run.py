"""Table 4, medical: is a DCGAN of grey 128×128 images told from a WGAN-GP and a conditional DCGAN of the same images?

Run: python experiments/medical/run.py FOLDER [--scale small | cpu | paper | quick]        (interrupted, it goes on)

FOLDER has a sub-folder of images for each class. Pictures, generators and run.json go to runs/medical, unless --work
names another place.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
import patches
import protocol as p
import warm

import morelli
from morelli.cli.progress import bars
from morelli.generators.small_gans import latent_shape
from morelli.numerics.file_form import FileForm
from morelli.numerics.metrics import auroc, balanced_accuracy
from morelli.storage.depth import stored, to_sixteen_bits

TARGET, OTHER, SOURCES = "dcgan", "wgan-gp", ("wgan-gp", "c-dcgan")
SIBLING = "dcgan-1"  # the target's twin from another seed, judged where there is one
WEIGHT = 1e-3  # of the paper's lasso, for this head
IMPRINT = "imprint"
CHEAP = ("SM-F", "RawPAD, LDA", "DCTPAD, LDA", "closed form, LDA", "FLIPAD, LDA")
DEAR = ("RawPAD", "DCTPAD", "FLIPAD")
DEPTHS = {"8": replace(patches.SPEC, form=FileForm(levels=256)), "16": patches.SPEC}


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        gans: of each family, what `train_gan` is told, or `warm.train` where it names the weight of the game.
        sizes: own and other samples to train on, own ones held out, and those of each source to test with.
        epochs: of Deep SAD.
        draws: of all samples, and seeds of the detectors, for cheap rows and for dear ones.
        least: images of each class.
        depths: bits in which samples are judged.
    """

    gans: dict[str, dict]
    sizes: dict[str, int]
    epochs: dict[str, int]
    draws: tuple[int, int]
    least: int
    depths: tuple[str, ...] = ("8",)
    sources: tuple[str, ...] = field(default=SOURCES)


def gans(steps: tuple[int, ...], batch: tuple[int, ...], **shared: object) -> dict[str, dict]:
    families = (TARGET, *SOURCES)
    return {f: {"steps": s, "batch": b, **shared} for f, s, b in zip(families, steps, batch, strict=True)}


WARM = gans((400,) * 3, (16,) * 3, width=8, game=1e-3)
SCALES = {
    "paper": Scale(  # its generators came ready-made: steps are ours
        gans((20_000,) * 3, (128,) * 3, width=64),
        {"own": 10_000, "other": 10_000, "held_out": 1000, "test": 1000},
        dict.fromkeys(DEAR, 50),
        draws=(5, 5),
        least=100,
    ),
    "cpu": Scale(  # half the width, smaller batches, a tenth of the samples
        gans((2000, 1000, 2000), (32, 16, 32), width=32, bf16=True),
        {"own": 1000, "other": 1000, "held_out": 500, "test": 200},
        dict(zip(DEAR, (15, 15, 10), strict=True)),
        draws=(1, 1),
        least=100,
    ),
    "small": Scale(  # minutes of a CPU: an eighth of the width, see `warm`
        WARM | {OTHER: WARM[OTHER] | {"seed": 2}, SIBLING: WARM[TARGET] | {"seed": 1}},  # no two start alike
        {"own": 400, "other": 400, "held_out": 250, "test": 150},
        dict.fromkeys(DEAR, 5),
        draws=(3, 1),
        least=100,
        depths=("8", "16"),
        sources=(*SOURCES, SIBLING),
    ),
    "quick": Scale(  # says only that everything runs
        gans((60, 20, 60), (8, 8, 8), width=8),
        {"own": 64, "other": 64, "held_out": 199, "test": 32},
        dict.fromkeys(DEAR, 1),
        draws=(1, 1),
        least=10,
    ),
}


def family_of(name: str) -> str:
    return TARGET if name == SIBLING else name


def rows(scale: Scale) -> dict[str, p.Row]:
    """Those of the other tables, trained against WGAN-GP."""
    found = {name: replace(p.ROWS[name], against=("other",)) for name in (*CHEAP, *DEAR)}
    found |= {name: replace(found[name], epochs=epochs) for name, epochs in scale.epochs.items()}
    return found | {name: replace(found[name], settings={"weight": WEIGHT}) for name in ("FLIPAD", "FLIPAD, LDA")}


def trained(name: str, scale: Scale, images: Path, out: Path) -> morelli.TorchGenerator:
    told, family = scale.gans[name], family_of(name)
    if not out.exists() and "game" in told:
        warm.train(images, out, patches.SPEC, family, **{"seed": 0} | told)
    elif not out.exists():
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with bars() as stage:
            where = {"channels": 1, "size": patches.SIDE, "device": device, "stage": stage}
            morelli.train_gan(images, out, family=family, **told, **where)
    return p.loaded(out, latent_shape(family))


def samples(generators: dict, scale: Scale, draw: int, spec: morelli.SampleSpec) -> dict[str, torch.Tensor]:
    """As files of this depth give them back."""
    sizes, wanted = scale.sizes, {"own": (TARGET, 100 + draw), "other": (OTHER, 200 + draw)}
    counts = {"own": sizes["own"] + sizes["held_out"] + sizes["test"], "other": sizes["other"]}
    made = {key: stored(generators[name].samples(counts[key], seed), spec) for key, (name, seed) in wanted.items()}
    theirs = {name: stored(generators[name].samples(sizes["test"], 300 + draw), spec) for name in scale.sources}
    return p.parted(made["own"], sizes) | {"other": made["other"]} | theirs


def judged(row: str, head: morelli.Head, drawn: dict, sources: tuple[str, ...]) -> dict:
    ((_, attributor, f),) = p.fitted((row,), head, drawn)
    return {source: p.score(attributor, f["test"], f[source]) for source in sources}


def imprinted(head: morelli.Head, drawn: dict, sources: tuple[str, ...], seed: int) -> dict:
    """From own samples alone, as many as the others have; the condition is known to be none."""
    own, held = torch.cat([drawn["held"], drawn["own"]]), len(drawn["held"])
    attributor = morelli.train(head, own, rate=p.RATE, held_out=held, perturb=("none",), seed=seed)
    verdicts = {name: attributor.judge(drawn[name]) for name in ("test", *sources)}
    taken = {n: torch.tensor([v.outcome.value == "attributed" for v in found]) for n, found in verdicts.items()}
    scores = {n: torch.tensor([v.score for v in found]) for n, found in verdicts.items()}
    return {
        source: {
            "balanced": round(balanced_accuracy(taken["test"], taken[source]), 5),
            "auroc": round(auroc(scores["test"], scores[source]), 5),
            "false_rejection": round(1 - taken["test"].double().mean().item(), 5),
        }
        for source in sources
    }


def leaks(drawn: dict, sources: tuple[str, ...], spec: morelli.SampleSpec) -> dict:
    """What a trivial classifier reaches by file size and by brightness; see `protocol.leaks`."""
    found = {}
    for name in sources:
        both = torch.cat([drawn["test"], drawn[name]])
        labels = [0] * len(drawn["test"]) + [1] * len(drawn[name])
        size = torch.tensor([[float(png_bytes(image, spec))] for image in both])
        grey = torch.cat([both.mean((2, 3)), both.std((2, 3))], 1)
        found[name] = {kind: p._separated(values, labels) for kind, values in (("size", size), ("grey", grey))}
    return found


def png_bytes(image: torch.Tensor, spec: morelli.SampleSpec) -> int:
    if spec.form.levels == 256:
        return p.png_bytes(p.to_eight_bits(image[None], spec)[0])
    file = BytesIO()
    Image.fromarray(to_sixteen_bits(image[None], spec)[0, 0].numpy().astype(np.uint16)).save(file, "PNG")
    return file.tell()


def sheet(generators: dict, file: Path, columns: int = 10) -> None:
    """A line of samples of each generator, half their size."""
    lines = []
    for generator in generators.values():
        small = torch.nn.functional.avg_pool2d(generator.samples(columns, 900), 2)
        pixels = p.to_eight_bits(small, morelli.SampleSpec((1, *small.shape[2:])))
        lines.append(pixels[:, 0].permute(1, 0, 2).flatten(1))
    Image.fromarray(torch.cat(lines).numpy()).save(file)


def main(folder: Path, name: str, work: Path) -> None:
    scale = SCALES[name]
    about = patches.prepare(folder, work)
    print(f"{about['images']}; {len(about['refused'])} files refused, see {work / 'images.json'}", flush=True)
    patches.check(about["images"], scale.least)
    p.SPEC, p.ROWS = patches.SPEC, rows(scale)
    place = work / name
    place.mkdir(exist_ok=True)
    generators = {g: trained(g, scale, work / "images", place / f"{g}.generator") for g in scale.gans}
    sheet(generators, place / "samples.png")
    run = p.Run(str(place / "run.json"), asdict(scale) | {"scale": name, "data": about})
    run.content["generators"] = {g: generator.digest() for g, generator in generators.items()}
    head = p.head_of(generators[TARGET])
    for some, draws in ((("leaks", IMPRINT, *CHEAP), scale.draws[0]), (DEAR, scale.draws[1])):
        for draw in range(draws):
            for depth in scale.depths:
                cells(run, scale, generators, head, some, draw, depth)
    run.save()


def cells(
    run: p.Run, scale: Scale, generators: dict, head: morelli.Head, some: tuple[str, ...], draw: int, depth: str
) -> None:
    keys = {row: f"{row}/{depth} bits/{draw}" for row in some if not (row == "leaks" and draw)}
    if all(key in run.content["cells"] for key in keys.values()):
        return
    spec = DEPTHS[depth]
    drawn, deep = samples(generators, scale, draw, spec), replace(head, form=spec.form)
    make: dict[str, Callable[[], dict]] = {
        "leaks": lambda: leaks(drawn, scale.sources, spec),
        IMPRINT: lambda: imprinted(deep, drawn, scale.sources, draw),
    }
    for row, key in keys.items():
        run.cell(key, make.get(row) or (lambda row=row: judged(row, deep, drawn, scale.sources)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a sub-folder of grey images for each class")
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--work", type=Path, default=p.ROOT / "runs/medical", help="pictures, generators and run.json")
    given = parser.parse_args()
    try:
        main(given.folder, given.scale, given.work)
    except morelli.MorelliError as error:
        sys.exit(str(error))
