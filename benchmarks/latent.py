"""Time and distance of the latent search against the paper's Adam recipe, and what its score tells apart.

Run: python benchmarks/latent.py [--images 50] [--gan-images 12] [--case gan] [--only times] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from machine import describe
from PIL import Image
from torch import Tensor, nn

import morelli
from morelli import SampleSpec, TorchGenerator
from morelli.app.methods import build_extractor, with_encoder
from morelli.app.sources import silent
from morelli.features import full_inversion
from morelli.features.full_inversion import FullInversion
from morelli.features.latent_search import LatentSearch
from morelli.numerics.metrics import auroc
from morelli.numerics.perturbations import parse
from morelli.storage.images import decode, from_eight_bits, to_eight_bits

T = TypeVar("T")
PAPER_STEPS = 1000
ADAM_IMAGES = {"vae": 5, "gan": 2}  # own images that Adam searches for
ADAM_STEPS = {"vae": 1000, "gan": 1000}  # of those, that are run; with fewer its time is extrapolated
JPEG, NOISE = 80, "noise:0.05"
THIRD_PARTY = Path(__file__).parents[1] / "experiments" / "third_party" / "run.py"


@dataclass(frozen=True, eq=False)
class Case:
    """A generator in question and its siblings, by name."""

    spec: SampleSpec
    own: TorchGenerator
    siblings: dict[str, TorchGenerator]


def third_party() -> ModuleType:
    """The experiment that can read generators of other people's."""
    found = importlib.util.spec_from_file_location("third_party", THIRD_PARTY)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def vae() -> Case | None:
    """z ∈ R¹⁰ → 64×64 colour; None where the weights are not at hand."""
    from_others = third_party()
    own, other = "celeba64_vae.safetensors", "celeba64_betavae.safetensors"
    if not (from_others.WEIGHTS / own).exists():
        return None
    siblings = {
        "celeba64_betavae": from_others.vae_decoder(other),
        "last layer perturbed by 10 %": from_others.sibling(from_others.vae_decoder(own), seed=3),
    }
    return _case((10,), 0.0, from_others.vae_decoder(own), siblings)


def gan() -> Case:
    """100 latents → 64×64 colour."""
    perturbed = third_party().sibling(morelli.load_generator("clothing-dcgan"), seed=3)
    return _case(
        (100, 1, 1), -1.0, morelli.load_generator("clothing-dcgan"), {"last layer perturbed by 10 %": perturbed}
    )


def _case(latent: tuple[int, ...], low: float, own: nn.Module, siblings: dict[str, nn.Module]) -> Case:
    def made(module: nn.Module) -> TorchGenerator:
        return TorchGenerator(module, latent, announce=lambda line: None)

    return Case(SampleSpec((3, 64, 64), low, 1.0), made(own), {name: made(module) for name, module in siblings.items()})


CASES: dict[str, Callable[[], Case | None]] = {"vae": vae, "gan": gan}
Files = tuple[Tensor, list[dict[str, Any]]]


def clean(pixels: Tensor, spec: SampleSpec) -> Files:
    return from_eight_bits(pixels, spec), [{}] * len(pixels)


def noisy(pixels: Tensor, spec: SampleSpec) -> Files:
    return clean(parse(NOISE).apply(pixels, torch.Generator().manual_seed(5)), spec)


def jpeg(pixels: Tensor, spec: SampleSpec) -> Files:
    """Written and read again, with what the file says."""
    read = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=JPEG)
        read.append(decode(file.getvalue(), spec, 10**6))
    return torch.cat([sample for sample, _ in read]), [facts for _, facts in read]


HISTORIES = {"clean": clean, f"jpeg:{JPEG}": jpeg, NOISE: noisy}


def spent(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds of processor time and the result; with one thread that is what it takes on an idle machine."""
    started = time.process_time()
    found = run()
    return time.process_time() - started, found


@cache
def searched(case: Case) -> LatentSearch:
    """As `morelli train --method latent` makes it."""
    head = replace(case.own.head(100), generator=case.own.program())
    found = with_encoder(build_extractor(head, "latent"), None, None, 0, "cpu", silent)
    assert isinstance(found, LatentSearch)
    return found


def times(case: Case, name: str, count: int) -> dict[str, Any]:
    """Seconds per own image, and the mean squared grey steps that both reach."""
    learning, search = spent(lambda: searched(case))
    samples, _ = clean(to_eight_bits(case.own.samples(count, 7), case.spec), case.spec)
    first, _ = spent(lambda: search.extract(samples[:1]))  # with the generated samples to start from
    seconds, found = spent(lambda: search.extract(samples))
    adam = FullInversion(search.generator, case.spec, steps=ADAM_STEPS[name], halving=False)
    full_inversion.AT_ONCE = adam.restarts * ADAM_IMAGES[name]  # or batches are filled up with empty images
    whole, reached = spent(lambda: adam.extract(samples[: ADAM_IMAGES[name]]))
    paper = whole / ADAM_IMAGES[name] * PAPER_STEPS / ADAM_STEPS[name]
    errors = (255**2 * 10 ** (-found.notes["psnr"].double() / 10)).tolist()
    return {
        "images": count,
        "seconds_learning_to_encode": learning,
        "seconds_first_call": first,
        "seconds_per_image": seconds / count,
        "starts_mean": float(found.notes["starts"].mean()),
        "error_median": statistics.median(errors),
        "error_largest": max(errors),
        "stuck": sum(error > 1 for error in errors),
        "adam_seconds_per_image": paper,
        "adam_images": ADAM_IMAGES[name],
        "adam_steps_timed": ADAM_STEPS[name],
        "adam_errors": (reached.values[:, 0].double() * (255 / 2) ** 2).tolist(),
        "errors_of_the_same": errors[: ADAM_IMAGES[name]],
        "ratio": paper / (seconds / count),
    }


def separation(case: Case, name: str, count: int) -> dict[str, dict[str, Any]]:
    """AUROC of own images against each sibling's, by history of the files."""
    search = searched(case)
    found: dict[str, dict[str, Any]] = {}
    scores: dict[tuple[str, str], Tensor] = {}
    for history, handed in HISTORIES.items():
        for source, generator in ({"own": case.own} | case.siblings).items():
            samples, facts = handed(to_eight_bits(generator.samples(count, 11), case.spec), case.spec)
            seconds, features = spent(lambda s=samples, f=facts: search.extract(s, None, f))  # type: ignore[misc]
            scores[history, source] = features.values[:, 0]
            row: dict[str, Any] = {"seconds_per_image": seconds / count}
            spread = scores[history, source].quantile(torch.tensor([0, 0.1, 0.5, 0.9, 1.0]))
            row["excess_quantiles_0_10_50_90_100"] = [round(value, 4) for value in spread.tolist()]
            if source != "own":
                row["auroc"] = round(auroc(scores[history, "own"], scores[history, source]), 4)
            found.setdefault(history, {})[source] = row
            print(f"  {history:12s} {source:30s} {row}", flush=True)
    for source in case.siblings:  # clean ones against noisy own: does one threshold serve both?
        rate = auroc(scores[NOISE, "own"], scores["clean", source])
        found.setdefault(f"own {NOISE}, sibling clean", {})[source] = {"auroc": round(rate, 4)}
        print(f"  own {NOISE}, sibling clean: {source} {rate:.4f}", flush=True)
    return found


PARTS: dict[str, Callable[[Case, str, int], dict[str, Any]]] = {"times": times, "separation": separation}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50, help="of the VAE and of each sibling")
    parser.add_argument("--gan-images", type=int, default=12, help="of the GAN and of its sibling")
    parser.add_argument("--case", choices=CASES, help="one generator; the file keeps its figures of the other")
    parser.add_argument("--only", choices=PARTS, help="one part; the file keeps its figures of the other")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    known = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    report: dict[str, Any] = known | {"machine": describe("cpu")}
    for name in [given.case] if given.case else CASES:
        case = CASES[name]()
        if case is None:
            print(f"{name}: skipped; its weights are not in {third_party().WEIGHTS}. Set MORELLI_DATA.")
            continue
        count = given.images if name == "vae" else given.gan_images
        for part in [given.only] if given.only else PARTS:
            report.setdefault(name, {})[part] = PARTS[part](case, name, count)
            print(name, part, report[name][part], flush=True)
            if given.json:
                given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
