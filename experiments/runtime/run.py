"""Table 6: what every method costs per 1,000 samples, as ratios to SM-F in the same run.

Run: python experiments/runtime/run.py          (about 6 minutes; on an otherwise idle machine)
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

TARGET, COUNT, FIT, REPEATS = "dcgan", 500, 500, 3
STEPS = 20  # of the paper's 1,000 that are timed for SM-Inv, on as many samples as it takes at once
EPOCHS = {"RawPAD": 50, "DCTPAD": 50, "FLIPAD": 50}  # of Deep SAD; one is timed


def seconds(make: Callable[[], object]) -> float:
    """The fastest of a few, after one that warms up."""
    make()
    return min(_once(make) for _ in range(REPEATS))


def _once(make: Callable[[], object]) -> float:
    start = time.perf_counter()
    make()
    return time.perf_counter() - start


def extraction(method: str, head: p.morelli.Head, samples: p.Tensor) -> float:
    """Seconds per 1,000 samples."""
    extractor = p.ROWS[method].extractor(head)
    if method not in p.SEARCHES:
        return seconds(lambda: extractor.extract(samples)) * 1000 / len(samples)
    timed = replace(extractor, restarts=10, steps=STEPS, halving=False)
    few = samples[: 256 // 10]
    return _once(lambda: timed.extract(few)) * 1000 / len(few) * 1000 / STEPS


def fitting(method: str, head: p.morelli.Head, own: p.Tensor, other: p.Tensor) -> float:
    """Seconds to fit the detector to 1,000 own and 1,000 other samples at the paper's number of epochs."""
    extractor, recipe = p.ROWS[method].extractor(head), p.ROWS[method].recipe()
    if method in p.SEARCHES:
        return 0.0
    f = [extractor.extract(samples).values for samples in (own, other)]
    if method in EPOCHS:
        recipe = replace(recipe, epochs=1, drops=())
    return _once(lambda: recipe.fit(*f, 0)) * 1000 / FIT * EPOCHS.get(method, 1)


STARTS = {  # of SM-Inv's search, all with three restarts of 40 steps
    "N(0, I)": {"start": "normal", "halving": False},
    "N(0, I), halved": {"start": "normal", "halving": True},
    "nearest": {"start": "nearest", "halving": False},
    "nearest, halved": {"start": "nearest", "halving": True},
}


def searched(head: p.morelli.Head, settings: dict, own: p.Tensor, other: p.Tensor) -> dict:
    """What a search reaches on as many own and foreign images as it takes at once, and how long it takes."""
    extractor = replace(p.ROWS["SM-Inv₂"].extractor(head), restarts=3, steps=40, **settings)
    start = time.perf_counter()
    mine, theirs = (extractor.extract(x).values[:, 0] for x in (own, other))
    seconds = time.perf_counter() - start
    reached = {"own": round(mine.mean().item(), 5), "other": round(theirs.mean().item(), 5)}
    return reached | {"auroc": round(p.auroc(mine, theirs), 4), "ms an image": round(500 * seconds / len(own), 1)}


def main() -> None:
    run = p.Run(__file__, {"target": TARGET, "samples": COUNT, "fitted": FIT, "epochs": EPOCHS, "steps timed": STEPS})
    generator = p.generators("clothing64")[TARGET]
    head = p.head_of(generator, whole=True)
    own, other = p.drawn(generator, COUNT, 100), p.photographs("clothing64", 0, FIT, 0)
    for method in (name for name, row in p.ROWS.items() if row.against == ("photographs",)):
        run.cell(
            method,
            lambda method=method: {
                "extraction": round(extraction(method, head, own), 3),
                "fit": round(fitting(method, head, own, other), 3),
            },
        )
    few, foreign = own[: 256 // 3], p.drawn(p.generators("clothing64")["ebgan"], 256 // 3, 300)
    for name, settings in STARTS.items():
        run.content.setdefault("starts", {})
        if name not in run.content["starts"]:
            run.content["starts"][name] = searched(head, settings, few, foreign)
    base = run.content["cells"]["SM-F"]["extraction"]
    run.content["ratios to SM-F"] = {
        method: {kind: round(value / base, 3) for kind, value in cell.items()}
        for method, cell in run.content["cells"].items()
    }
    run.save()


if __name__ == "__main__":
    main()
