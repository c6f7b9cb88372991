"""Table 12: how few own samples suffice, with a threshold from a part held out or from folds?

Run: python experiments/little-data/run.py          (interrupted, it goes on where it stopped)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.attribution.attributor import fit_attributor
from morelli.detectors.folds import FoldsRecipe

COUNTS = (200, 500, 1000)  # own samples in all, for training and threshold together
SEEDS = (0, 1, 2)  # of which samples
TEST, FRESH = 200, 1000  # test samples a source; own ones that show the true rate of false rejection
ROW = p.ROWS["closed form, LDA"]
WAYS = {"held out, photographs": (None, False), "folds, photographs": (5, False), "folds, both": (5, True)}


def part(features: p.Features, index: torch.Tensor) -> p.Features:
    notes = {name: values[index] for name, values in features.notes.items()}
    return p.Features(features.values[index], notes, tuple(features.reasons[i] for i in index.tolist()))


def judged(target: str, generators: dict) -> dict:
    extractor = ROW.extractor(p.head_of(generators[target]))
    sources = [name for name in generators if name != target]
    drawn = {name: p.drawn(generators[name], TEST, 300) for name in sources}
    drawn["photographs"] = p.photographs("clothing64", 1000, TEST, 0)
    f = {name: extractor.extract(x) for name, x in drawn.items()}
    own = p.drawn(generators[target], 2 * max(COUNTS), 100)
    own_f, turned_f = extractor.extract(own), extractor.extract(p.turned(own))
    negative_f = extractor.extract(p.photographs("clothing64", 0, 1000, 0))
    fresh = extractor.extract(p.drawn(generators[target], FRESH, 101))
    found: dict = {}
    for n in COUNTS:
        for name, (folds, both) in WAYS.items():
            held = max(199, n // 4)
            if folds is None and n - held < 50:
                continue
            rows = []
            for seed in SEEDS:
                mine = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))[:n]
                other = part(negative_f, torch.arange(min(n, 1000)))
                if both:
                    other = p.Features.concatenate([other, part(turned_f, mine)])
                recipe = ROW.recipe()
                recipe = recipe if folds is None else FoldsRecipe(recipe, folds)
                trained, kept = (mine[held:], part(own_f, mine[:held])) if folds is None else (mine, None)
                attributor = fit_attributor(
                    extractor, recipe, part(own_f, trained), other, kept, rate=p.RATE, seed=seed
                )
                rows.append({source: p.score(attributor, fresh, f[source]) for source in f})
            found[f"{n}, {name}"] = rows
            print("  ", target, n, name, p.short(rows[0]), flush=True)
    return found


def main() -> None:
    run = p.Run(__file__, {"counts": COUNTS, "seeds": SEEDS, "test": TEST})
    generators = p.generators("clothing64")
    run.content["generators"] = {name: g.digest() for name, g in generators.items()}
    for target in generators:
        run.cell(target, lambda target=target: judged(target, generators))
    run.save()


if __name__ == "__main__":
    main()
