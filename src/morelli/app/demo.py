"""The demo: the main job on the generators that come with Morelli, through files, as a user would do it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morelli.app.attributing import attribute
from morelli.app.bundles import load_attributor, save
from morelli.app.sources import Stage, silent
from morelli.app.training import train
from morelli.attribution.attributor import Attributor
from morelli.attribution.report import Outcome, Report
from morelli.errors import UnreadableBundle
from morelli.features.protocol import SampleSpec
from morelli.generators.torch_module import TorchGenerator
from morelli.numerics.metrics import auroc, balanced_accuracy
from morelli.storage.evidence import write_page
from morelli.storage.figures import activation_maps, contact_sheet, score_histogram
from morelli.storage.generators import load_generator
from morelli.storage.images import to_eight_bits
from morelli.storage.samples import find, read_all, write_image
from morelli.storage.writing import write_whole

OWN, OTHER = "clothing-dcgan", "clothing-lsgan"
SOURCES = {  # in the order of the table; what each is to the attributor
    "clothing-dcgan-b": "same architecture, other seed; never seen",
    "clothing-wgan-gp": "never seen",
    "clothing-ebgan": "never seen",
    "clothing-lsgan": "seen in training",
}


@dataclass(frozen=True)
class _Size:
    own: int
    held_out: int
    other: int
    test: int


FULL = _Size(own=1300, held_out=300, other=1000, test=200)
FAST = _Size(own=500, held_out=200, other=300, test=60)
METHODS = ("imprint", "flipad", "rawpad", "dctpad")
DETECTOR = "lda"  # seconds on a CPU, where the paper's Deep SAD takes minutes for FLIPAD's features

Result = dict[str, dict[str, dict[str, float]]]


def run_demo(
    out: str | Path = "demo",
    *,
    fast: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    stage: Stage = silent,
) -> Result:
    """Fit four attributors for one shipped generator, judge five sources, write the table and a page.

    Args:
        out: a folder for images, attributors, `result.json` and `report.html`.
        fast: fewer samples.
        overwrite: replace an earlier demo at `out`.
    Returns:
        method → source → {balanced_accuracy, auroc, n}, in [0, 1]; n is the number of test samples per source.
    Raises:
        UnreadableBundle: `out` exists and is no earlier demo, or `overwrite` is off.
    """
    out, size = Path(out), FAST if fast else FULL
    _make_room(out, overwrite)
    generators = {name: _generator(name) for name in (OWN, *SOURCES)}
    spec = SampleSpec((3, 64, 64))
    _write_images(generators, out / "images", size, seed, spec, stage)
    save(generators[OWN].head(2_000, seed), out / f"{OWN}.head")

    result: Result = {}
    histograms = {}
    for method in METHODS:
        bundle = out / f"{method}.attributor"
        train(
            out / f"{OWN}.head",
            out / "images" / OWN / "train",
            None if method == "imprint" else out / "images" / OTHER / "train",  # it needs no other source
            method=method,
            out=bundle,
            held_out=size.held_out,
            seed=seed,
            detector=None if method == "imprint" else DETECTOR,
            perturb=("none",) if method == "imprint" else (),  # samples are as the generators wrote them
            stage=_named(stage, method),
        )
        attributor = load_attributor(bundle)[0]
        reports = {
            name: attribute(out / "images" / name / "test", attributor, stage=_named(stage, f"{method}: {name}"))
            for name in generators
        }
        result[method] = {name: _cell(reports[OWN], reports[name]) for name in SOURCES}
        scores = {name: _scores(report).numpy() for name, report in reports.items()}
        histograms[method] = score_histogram(scores, [OWN], attributor.threshold, method)
    write_whole(out / "result.json", json.dumps(result, indent=1) + "\n")
    maps = activation_maps(_mean_maps(load_attributor(out / "flipad.attributor")[0], out, generators))
    _write_page(out, spec, size, result, histograms, maps, generators)
    return result


def _make_room(out: Path, overwrite: bool) -> None:
    if not out.exists() or not any(out.iterdir()):
        return
    if not (overwrite and (out / "images").is_dir()):
        raise UnreadableBundle(f"{out} exists. Choose another folder, or replace an earlier demo (`--overwrite`).")
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.absolute().parent))
    try:
        os.rename(out, old / "demo")  # at once: one that is half deleted would not be known as a demo
    finally:
        shutil.rmtree(old)


def _generator(name: str) -> TorchGenerator:
    return TorchGenerator(load_generator(name), latent=(100, 1, 1), announce=lambda line: None)


def _write_images(
    generators: Mapping[str, TorchGenerator], folder: Path, size: _Size, seed: int, spec: SampleSpec, stage: Stage
) -> None:
    """8-bit PNG files: training images of two sources, test images of all, from disjoint draws."""
    counts = {(name, "test"): size.test for name in generators}
    counts |= {(OWN, "train"): size.own, (OTHER, "train"): size.other}
    progress = stage("making images", sum(counts.values()))
    for (name, part), count in counts.items():
        draw = 2 * seed + (part == "test")
        (folder / name / part).mkdir(parents=True)
        for i, sample in enumerate(generators[name].samples(count, draw)):
            write_image(sample, folder / name / part / f"{i:05d}.png", spec)
            progress(1)


def _named(stage: Stage, name: str) -> Stage:
    return lambda what, count: stage(f"{name}: {what}", count)


def _scores(report: Report) -> Tensor:
    return torch.tensor([judged.verdict.score for judged in report.judged if judged.verdict.score is not None])


def _cell(own: Report, foreign: Report) -> dict[str, float]:
    """Inconclusive samples count as not attributed on both sides."""
    attributed = [
        torch.tensor([judged.verdict.outcome is Outcome.ATTRIBUTED for judged in report.judged])
        for report in (own, foreign)
    ]
    return {
        "balanced_accuracy": round(balanced_accuracy(*attributed), 6),
        "auroc": round(auroc(_scores(own), _scores(foreign)), 6),
        "n": len(foreign.judged),
    }


def _mean_maps(attributor: Attributor, out: Path, generators: Mapping[str, TorchGenerator]) -> dict[str, Any]:
    """Per source, the mean of the one channel of the inversion in which sources differ most."""
    spec = attributor.extractor.spec
    means = {}
    for name in generators:
        samples = read_all(find(out / "images" / name / "test"), spec).samples[:50]
        means[name] = attributor.extractor.extract(samples).values.mean(0)
    spread = torch.stack(list(means.values())).std(0).flatten(1).mean(1)
    channel = int(spread.argmax())
    return {name: mean[channel].numpy() for name, mean in means.items()}


def _write_page(
    out: Path,
    spec: SampleSpec,
    size: _Size,
    result: Result,
    histograms: Mapping[str, str],
    maps: str,
    generators: Mapping[str, TorchGenerator],
) -> None:
    sheets = {}
    for name in generators:
        samples = read_all(find(out / "images" / name / "test")[:16], spec).samples
        sheets[name] = contact_sheet(to_eight_bits(samples, spec).permute(0, 2, 3, 1).numpy(), columns=4)
    content = {
        "result": result,
        "sources": list(SOURCES),
        "notes": {OWN: "the model in question"} | SOURCES,
        "counts": asdict(size),
        "rate": 0.005,
        "histograms": histograms,
        "maps": maps,
        "sheets": sheets,
    }
    write_page("comparison", out / "report.html", content)
