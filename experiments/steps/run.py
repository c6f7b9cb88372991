"""How far should the inversion converge, and how many axes should the discriminant keep? Settings are chosen here,
on one target; experiments/main_job judges them on the other four.

Run: python experiments/steps/run.py
"""

import json
import time
from pathlib import Path

import torch

import morelli
from morelli.detectors.lda import LdaRecipe
from morelli.features.inversion import Inversion
from morelli.numerics.calibration import threshold
from morelli.numerics.metrics import auroc, balanced_accuracy
from morelli.numerics.solvers.fista import Fista
from morelli.storage.images import from_eight_bits, to_eight_bits

TARGET, NEGATIVE = "clothing-dcgan", "clothing-lsgan"
UNSEEN = ("clothing-dcgan-b", "clothing-ebgan", "clothing-wgan-gp")
TRAIN, HELD_OUT, TEST = 1000, 300, 200
SOLVERS = {
    "20 steps": Fista(tolerance=1.0, min_steps=20),
    "50 steps": Fista(tolerance=1.0, min_steps=50),
    "100 steps": Fista(tolerance=1.0, min_steps=100),
    "gap 0.5": Fista(tolerance=0.5),
}
AXES = (32, 128, 512)
SPEC = morelli.SampleSpec((3, 64, 64))
HERE = Path(__file__).parent


def main() -> None:
    generators = {name: quiet(name) for name in (TARGET, NEGATIVE, *UNSEEN)}
    own = drawn(generators[TARGET], TRAIN + HELD_OUT + TEST, 900)
    other = drawn(generators[NEGATIVE], TRAIN, 901)
    tests = {name: drawn(generators[name], TEST, 902) for name in UNSEEN}
    head = generators[TARGET].head(10_000, 0)
    rows = []
    for name, solver in SOLVERS.items():
        extractor, start = Inversion(head, solver=solver), time.perf_counter()
        mine = extractor.extract(own)
        foreign = extractor.extract(other).values
        unseen = {source: extractor.extract(samples).values for source, samples in tests.items()}
        seconds = round(time.perf_counter() - start, 1)
        facts = {"gap": round(mine.notes["gap"].median().item(), 3), "steps": mine.notes["steps"].mean().item()}
        for axes in AXES:
            detector = LdaRecipe(axes=axes).fit(mine.values[:TRAIN], foreign, seed=0)
            scores = detector.score(mine.values)
            limit, tested = threshold(scores[TRAIN : TRAIN + HELD_OUT], 0.005), scores[TRAIN + HELD_OUT :]
            row = {"solver": name, "axes": axes, "seconds": seconds} | facts
            for source, features in unseen.items():
                found = detector.score(features)
                row[source] = [balanced_accuracy(tested <= limit, found <= limit), auroc(tested, found)]
            rows.append(row)
            print(row, flush=True)
    run = {"rows": rows, "torch": torch.__version__, "morelli": morelli.__version__, "threads": torch.get_num_threads()}
    (HERE / "run.json").write_text(json.dumps(run, indent=1) + "\n")


def quiet(name: str) -> morelli.TorchGenerator:
    return morelli.TorchGenerator(morelli.load_generator(name), (100, 1, 1), announce=lambda line: None)


def drawn(generator: morelli.TorchGenerator, n: int, seed: int) -> torch.Tensor:
    """Samples through eight bits, as a file would hold them."""
    return from_eight_bits(to_eight_bits(generator.samples(n, seed), SPEC), SPEC)


if __name__ == "__main__":
    main()
