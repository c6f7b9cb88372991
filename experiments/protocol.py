"""What the experiments share: generators, samples as files hold them, methods, and cells that are not repeated."""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import morelli
from morelli.app.methods import build_extractor, build_recipe
from morelli.attribution.attributor import Attributor, fit_attributor
from morelli.features.protocol import Features
from morelli.numerics.calibration import p_values
from morelli.numerics.metrics import auroc, balanced_accuracy
from morelli.numerics.perturbations import parse
from morelli.storage.generators import shipped_generators
from morelli.storage.images import from_eight_bits, to_eight_bits
from morelli.storage.samples import find, read_all

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("MORELLI_DATA", "../shared/data"))
SPEC = morelli.SampleSpec((3, 64, 64))
RATE = 0.005
FAMILIES = ("dcgan", "wgan-gp", "lsgan", "ebgan")


@dataclass(frozen=True)
class Row:
    """One row of a table: how features are made, and how a detector is fitted to them.

    Attributes:
        method, detector, settings: of `morelli.train`.
        epochs: of Deep SAD, where that is the detector; the paper trains 50.
        against: what it is trained against: photographs as in the paper, and own images turned and mirrored.
    """

    method: str
    detector: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    against: tuple[str, ...] = ("photographs",)

    @property
    def features(self) -> str:
        """Rows that say the same here share their features."""
        return f"{self.method} {self.settings}"

    def extractor(self, head: morelli.Head) -> Any:
        return build_extractor(head, self.method, **self.settings)

    def recipe(self) -> Any:
        return build_recipe(SPEC, self.method, self.detector, self.epochs, bf16=self.epochs is not None)

    def fit(self, extractor: Any, parts: dict[str, Features], seed: int) -> Attributor:
        """Of the parts "own", "held" and those in `against`."""
        other = Features.concatenate([parts[name] for name in self.against])
        return fit_attributor(extractor, self.recipe(), parts["own"], other, parts["held"], rate=RATE, seed=seed)


CLOSED, RIDGE = {"inversion": "closed-form"}, {"inversion": "ridge"}
SEARCH = {"search": {"restarts": 3, "steps": 40, "start": "nearest"}}  # the paper: 10 restarts of 1,000 steps
ROWS = {
    "SM-F": Row("sm-f"),
    "SM-Inv₂": Row("sm-inv", settings=SEARCH),
    "SM-Inv_inc": Row("sm-inv-perceptual", settings=SEARCH),
    "RawPAD": Row("rawpad", epochs=15),
    "DCTPAD": Row("dctpad", epochs=15),
    "FLIPAD": Row("flipad", epochs=10),
    "RawPAD, LDA": Row("rawpad", "lda"),
    "DCTPAD, LDA": Row("dctpad", "lda"),
    "FLIPAD, LDA": Row("flipad", "lda"),
    "closed form, LDA": Row("flipad", "lda", CLOSED),
    "closed form, LDA, turned": Row("flipad", "lda", CLOSED, against=("turned",)),
    "closed form, LDA, both": Row("flipad", "lda", CLOSED, against=("photographs", "turned")),
    "ridge, LDA": Row("flipad", "lda", RIDGE),
    "ridge, LDA, turned": Row("flipad", "lda", RIDGE, against=("turned",)),
    "ridge, LDA, both": Row("flipad", "lda", RIDGE, against=("photographs", "turned")),
}
SEARCHES = ("SM-Inv₂", "SM-Inv_inc")  # seconds an image: fewer samples


class Run:
    """`run.json` beside an experiment's script: settings, and cells that are computed once and saved at once."""

    def __init__(self, script: str, settings: dict[str, Any], name: str = "run.json") -> None:
        self.path = Path(script).with_name(name)
        self.content = json.loads(self.path.read_text()) if self.path.exists() else {"cells": {}}
        device = f"CPU, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        rows = {name: asdict(row) for name, row in ROWS.items()}
        self.content |= {
            "settings": settings | {"rate": RATE, "rows": rows},
            "device": device,
            "morelli": morelli.__version__,
        }

    def cell(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self.content["cells"]:
            start = time.perf_counter()
            self.content["cells"][key] = make()
            self.save()
            print(f"{key}: {time.perf_counter() - start:.0f} s  {short(self.content['cells'][key])}", flush=True)
        return self.content["cells"][key]

    def save(self) -> None:
        self.path.write_text(json.dumps(self.content, indent=1, ensure_ascii=False) + "\n")


def short(cell: Any) -> str:
    if not isinstance(cell, dict):
        return ""
    return " ".join(
        f"{k}={100 * v['balanced']:.1f}" for k, v in cell.items() if isinstance(v, dict) and "balanced" in v
    )


def generators(name: str) -> dict[str, morelli.TorchGenerator]:
    """Those of clothes that ship (one per family), of faces, or the five seeds of each family."""
    if name == "clothing64":
        return {f: loaded(f"clothing-{f}") for f in FAMILIES if f"clothing-{f}" in shipped_generators()}
    folder = ROOT / "runs" / name
    found = {path.stem: loaded(path) for path in sorted(folder.glob("*.generator"))}
    if not found:
        sys.exit(f"there are no generators in {folder}; first run python experiments/small_gans/run.py {name}")
    return found


def loaded(name: str | Path, latent: tuple[int, ...] = (100, 1, 1)) -> morelli.TorchGenerator:
    return morelli.TorchGenerator(morelli.load_generator(name), latent, announce=lambda line: None)


def drawn(generator: morelli.TorchGenerator, n: int, seed: int, condition: str = "none") -> Tensor:
    """Samples through eight bits and what happened to the files."""
    return seen(to_eight_bits(generator.samples(n, seed), SPEC), seed, condition)


def photographs(data: str, first: int, count: int, seed: int, condition: str = "none") -> Tensor:
    """`count` of the data's images from the `first` in an order of their own for each seed."""
    files = find(DATA / data)
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed))[first : first + count]
    return seen(to_eight_bits(read_all([files[i] for i in order], SPEC).samples, SPEC), seed, condition)


def seen(pixels: Tensor, seed: int, condition: str) -> Tensor:
    return from_eight_bits(parse(condition).apply(pixels, torch.Generator().manual_seed(seed)), SPEC)


def head_of(generator: morelli.TorchGenerator, *, whole: bool = False) -> morelli.Head:
    head = generator.head(5_000, 0).measured()
    return replace(head, generator=generator.program()) if whole else head


def parted(own: Tensor, sizes: dict[str, int]) -> dict[str, Tensor]:
    """Own samples to train on, to hold out and to test with."""
    parts = own.split([sizes["own"], sizes["held_out"], sizes["test"]])
    return dict(zip(("own", "held", "test"), parts, strict=True))


def fitted(
    rows: tuple[str, ...], head: morelli.Head, drawn: dict[str, Tensor]
) -> Iterator[tuple[str, Attributor, dict[str, Features]]]:
    """Each row's attributor, and the features of all parts; rows with the same features, side by side, share them."""
    known: tuple[str, dict[str, Features]] = ("", {})
    for name in rows:
        row = ROWS[name]
        extractor = row.extractor(head)
        if known[0] != row.features:
            known = row.features, {part: extractor.extract(x) for part, x in drawn.items()}
        yield name, row.fit(extractor, known[1], 0), known[1]


def score(attributor: Attributor, own: Features, theirs: Features) -> dict[str, float]:
    mine, others, limit = (*(attributor.detector.score(f.values) for f in (own, theirs)), attributor.threshold)
    return {
        "balanced": round(balanced_accuracy(mine <= limit, others <= limit), 5),
        "auroc": round(auroc(mine, others), 5),
        "false_rejection": round((mine > limit).double().mean().item(), 5),
    }


def either(attributors: list[Attributor], own: list[Features], theirs: list[Features]) -> dict[str, float]:
    """An ensemble: rejected where any of k attributors rejects at a k-th of the rate, which keeps the rate."""
    chances = [
        torch.stack([p_values(a.held_out, a.detector.score(f.values)) for a, f in zip(attributors, parts, strict=True)])
        for parts in (own, theirs)
    ]
    mine, others = (len(attributors) * found.amin(0) for found in chances)
    return {
        "balanced": round(balanced_accuracy(mine > RATE, others > RATE), 5),
        "auroc": round(auroc(-mine, -others), 5),
        "false_rejection": round((mine <= RATE).double().mean().item(), 5),
    }


def leaks(own: Tensor, sources: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """How well what should not matter tells own samples from a source: AUROC of the file's size and of mean colours.

    All files are PNG without metadata, so that there are no JPEG tables to look at. Each is scored by a logistic
    regression, five-fold cross-validated.
    """
    found = {}
    for name, theirs in sources.items():
        labels = [0] * len(own) + [1] * len(theirs)
        both = torch.cat([own, theirs])
        size = torch.tensor([[float(png_bytes(image))] for image in to_eight_bits(both, SPEC)])
        colour = torch.cat([both.mean((2, 3)), both.std((2, 3))], 1)
        found[name] = {kind: _separated(values, labels) for kind, values in (("size", size), ("colour", colour))}
    return found


def _separated(values: Tensor, labels: list[int]) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    chances = torch.from_numpy(cross_val_predict(model, values.numpy(), labels, cv=5, method="predict_proba")[:, 1])
    own = torch.tensor(labels) == 0
    return round(auroc(chances[own], chances[~own]), 4)


def png_bytes(image: Tensor) -> int:
    file = BytesIO()
    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    Image.fromarray(pixels.contiguous().numpy()).save(file, "PNG")
    return file.tell()
