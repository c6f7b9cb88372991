"""Each shipped clothing GAN in turn is the model in question. Are the others told from it?

Run: python experiments/main_job/run.py          (interrupted, it goes on where it stopped)
"""

import json
import os
import platform
import time
from pathlib import Path

import torch

import morelli
from morelli.app.methods import build_extractor, build_recipe
from morelli.attribution.attributor import fit_attributor
from morelli.numerics.metrics import auroc, balanced_accuracy
from morelli.storage.generators import shipped_generators
from morelli.storage.images import from_eight_bits, to_eight_bits
from morelli.storage.samples import find, read_all

DATA = Path(os.environ.get("MORELLI_DATA", "../shared/data"))
SEEDS = (0, 1, 2)
OWN, OTHER, HELD_OUT, TEST = 1000, 1000, 300, 200
RATE = 0.005
NEGATIVE = {"clothing-lsgan": "clothing-dcgan"}  # the one other generator seen in training; for all others:
DEFAULT_NEGATIVE = "clothing-lsgan"
METHODS = {  # name → method, detector, epochs of Deep SAD (the paper trains 50)
    "flipad, lda": ("flipad", "lda", None),
    "rawpad, lda": ("rawpad", "lda", None),
    "dctpad, lda": ("dctpad", "lda", None),
    "flipad, Deep SAD": ("flipad", "deep_sad", 10),
    "rawpad, Deep SAD": ("rawpad", "deep_sad", 15),
    "dctpad, Deep SAD": ("dctpad", "deep_sad", 15),
}
DEEP_SAD_CELLS = (("clothing-dcgan", 0),)  # (target, seed); on two cores a fit on inversions takes minutes
PHOTOGRAPHS = DATA / "clothing64"  # real images, judged as one more source where they are at hand
HERE = Path(__file__).parent
SPEC = morelli.SampleSpec((3, 64, 64))


def main() -> None:
    file = HERE / "run.json"
    run = json.loads(file.read_text()) if file.exists() else {"cells": {}}
    generators = {
        name: morelli.TorchGenerator(morelli.load_generator(name), (100, 1, 1), announce=lambda line: None)
        for name in shipped_generators()
    }
    run |= {
        "settings": {"own": OWN, "other": OTHER, "held_out": HELD_OUT, "test": TEST, "rate": RATE, "methods": METHODS},
        "generators": {name: generator.digest() for name, generator in generators.items()},
        "device": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "morelli": morelli.__version__,
    }
    for seed in SEEDS:
        for target in generators:
            if f"{target}/{seed}" not in run["cells"]:
                run["cells"][f"{target}/{seed}"] = judge_one(target, seed, generators)
                file.write_text(json.dumps(run, indent=1) + "\n")
    write_tables(run, list(generators))


def judge_one(target: str, seed: int, generators: dict) -> dict:
    """All methods for one target and seed; the seed decides images, split and detector."""
    negative = NEGATIVE.get(target, DEFAULT_NEGATIVE)
    own = drawn(generators[target], OWN + HELD_OUT + TEST, 100 + seed)
    other = drawn(generators[negative], OTHER, 200 + seed)
    tests = {name: drawn(generators[name], TEST, 300 + seed) for name in generators if name != target}
    if PHOTOGRAPHS.exists():
        step = torch.randperm(3000, generator=torch.Generator().manual_seed(seed))[:TEST]
        files = find(PHOTOGRAPHS)
        tests["photographs"] = read_all([files[i] for i in step], SPEC).samples
    head = generators[target].head(10_000, seed)
    cell, cache = {}, {}
    for name, (method, detector, epochs) in METHODS.items():
        if detector == "deep_sad" and (target, seed) not in DEEP_SAD_CELLS:
            continue
        extractor = build_extractor(head, method)
        start = time.perf_counter()
        if method not in cache:
            groups = {"own": own, "other": other} | tests
            cache[method] = {group: extractor.extract(samples) for group, samples in groups.items()}
        extracted = time.perf_counter()
        features = cache[method]
        recipe = build_recipe(extractor.spec, method, detector, epochs, bf16=detector == "deep_sad")
        parts = [part(features["own"], a, b) for a, b in ((0, OWN), (OWN, OWN + HELD_OUT), (OWN + HELD_OUT, None))]
        attributor = fit_attributor(extractor, recipe, parts[0], features["other"], parts[1], rate=RATE, seed=seed)
        fitted = time.perf_counter()
        mine = attributor.detector.score(parts[2].values)
        rows = {"seconds": {"features": round(extracted - start, 1), "fit": round(fitted - extracted, 1)}}
        rows["false_rejection"] = (mine > attributor.threshold).double().mean().item()
        for source in tests:
            scores = attributor.detector.score(features[source].values)
            limit = attributor.threshold
            rows[source] = {
                "balanced_accuracy": balanced_accuracy(mine <= limit, scores <= limit),
                "auroc": auroc(mine, scores),
                "seen": source == negative,
            }
        cell[name] = rows
        print(target, seed, name, {s: round(100 * rows[s]["balanced_accuracy"], 2) for s in tests}, flush=True)
    return cell


def drawn(generator: morelli.TorchGenerator, n: int, seed: int) -> torch.Tensor:
    """Samples through eight bits, as a file would hold them."""
    return from_eight_bits(to_eight_bits(generator.samples(n, seed), SPEC), SPEC)


def part(features, start, stop):
    notes = {name: values[start:stop] for name, values in features.notes.items()}
    return type(features)(features.values[start:stop], notes, features.reasons[start:stop])


def write_tables(run: dict, generators: list) -> None:
    """Balanced accuracy in percent, mean ± standard deviation over seeds; in brackets where seen in training."""
    lines = []
    for method in METHODS:
        sources = [*generators, "photographs"]
        lines += [f"\n**{method}**\n", "| target | " + " | ".join(sources) + " | mean over unseen generators |"]
        lines.append("|---" * (len(sources) + 2) + "|")
        for target in generators:
            if method not in run["cells"][f"{target}/{SEEDS[0]}"]:
                continue
            cells = [run["cells"][f"{target}/{seed}"] for seed in SEEDS]
            cells = [cell[method] for cell in cells if method in cell]
            texts, unseen = [], []
            for source in sources:
                values = torch.tensor([100 * cell[source]["balanced_accuracy"] for cell in cells if source in cell])
                if not len(values):
                    texts.append("–")
                    continue
                spread = f" ± {values.std(correction=0):.2f}" if len(values) > 1 else ""
                text = f"{values.mean():.2f}{spread}"
                texts.append(f"({text})" if cells[0][source]["seen"] else text)
                if not cells[0][source]["seen"] and source in generators:
                    unseen.append(values)
            texts.append(f"**{torch.stack(unseen).mean():.2f}**")
            lines.append(f"| {target} | " + " | ".join(texts) + " |")
    (HERE / "tables.md").write_text("\n".join(lines).lstrip() + "\n")


if __name__ == "__main__":
    main()
