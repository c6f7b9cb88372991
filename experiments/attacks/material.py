"""What is attacked and with what: images of either side, the attributors, the gallery."""

import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.attribution.attributor import Attributor

CACHE = p.ROOT / "runs/attacks"
TARGETS = ("dcgan", "lsgan")
FOREIGN, OTHER = "wgan-gp", "ebgan"  # whose images are forged; whose last layers hide the target's
SEEDS = (0, 1)
N = 25  # images of each source in a cell
OWN = 1000  # of the owner; a quarter is held out
ENROLLED = 30
ORDER = 2026  # of the photographs, which are dealt out once and for all:
ATTACKER, OWNER, TESTED, SHOWN = (0, 1600), (1600, 2800), (2800, 3100), (3100, 3400)
REAL = {"other": True}
METHODS = {
    "imprint": {},
    "imprint, clean only": {"perturb": ("none",)},
    "flipad": {"method": "flipad", "detector": "lda", "inversion": "closed-form", "turned": True} | REAL,
    "rawpad": {"method": "rawpad", "detector": "lda"} | REAL,
    "sm-f": {"method": "sm-f"},
}


def photographs(part: tuple[int, int], seed: int, count: int) -> Tensor:
    """In grey steps, float: those of a part of the data, others for each seed."""
    first = part[0] + seed * count
    if first + count > part[1]:
        raise ValueError(f"{count} photographs of seed {seed} do not lie in {part}")
    return grey(p.photographs("clothing64", first, count, ORDER))


@lru_cache(maxsize=1)
def generators() -> dict[str, p.morelli.TorchGenerator]:
    return p.generators("clothing64")


@lru_cache(maxsize=6)
def made(name: str, count: int, seed: int) -> Tensor:
    """In grey steps, through eight bits."""
    return grey(p.drawn(generators()[name], count, seed))


def grey(samples: Tensor) -> Tensor:
    return p.SPEC.grey_steps(samples).round()


def ranged(steps: Tensor) -> Tensor:
    """Grey steps as samples in the range of the generators."""
    return steps / 127.5 - 1


@lru_cache(maxsize=4)
def head(name: str) -> p.morelli.Head:
    file = CACHE / f"{name}.head"
    if not file.exists():
        p.morelli.save(p.head_of(generators()[name]), file)
    return p.morelli.load(file)


@lru_cache(maxsize=32)
def attributor(method: str, target: str, seed: int) -> Attributor:
    """Trained as an owner would, by `morelli.train`; what a seed changes is all images and the split."""
    file = CACHE / f"{target}-{seed}-{method.replace(', ', '-').replace(' ', '-')}.attributor"
    if not file.exists():
        settings = dict(METHODS[method])
        other = ranged(photographs(OWNER, seed, 600)) if settings.pop("other", None) else None
        own = ranged(made(target, OWN, 100 + seed))
        p.morelli.train(head(target), own, other, rate=p.RATE, seed=seed, out=file, **settings)
        print(f"trained {file.name}", flush=True)
    return p.morelli.load(file)


@lru_cache(maxsize=4)
def gallery(seed: int) -> Path:
    """The four generators, and photographs as a fifth entry."""
    folder = CACHE / f"seed-{seed}.gallery"
    sources = {name: made(name, ENROLLED, 200 + seed) for name in generators()}
    sources["photographs"] = photographs(SHOWN, seed, ENROLLED)
    for name, images in sources.items():
        if not (folder / f"{name}.entry").exists():
            files = written(images, CACHE / "files" / f"enrolled-{seed}-{name}")
            p.morelli.enrol(name, files, folder)
    return folder


def tested(target: str, seed: int) -> dict[str, Tensor]:
    """Own images, whose traces an attacker removes, and two kinds that are to pass for own ones."""
    return {
        "own": made(target, N, 300 + seed),
        "photographs": photographs(TESTED, seed, N),
        "gan": made(FOREIGN, N, 310 + seed),
    }


def pixels_of(files: list[Path]) -> Tensor:
    """Grey steps that files decode to."""
    arrays = [np.asarray(p.Image.open(file)) for file in files]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()


def written(images: Tensor, folder: Path, jpeg: int | None = None) -> list[Path]:
    """Grey steps as files, PNG or JPEG of a quality; what was in the folder goes."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    files = []
    for i, image in enumerate(images.round().clamp(0, 255).to(torch.uint8)):
        files.append(folder / f"{i:03}.{'png' if jpeg is None else 'jpg'}")
        picture = p.Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        picture.save(files[-1], **({} if jpeg is None else {"quality": jpeg}))
    return files
