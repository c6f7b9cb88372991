"""Table 12: how few own samples suffice, with a threshold from a part held out or from folds?

Run: python experiments/little-data/run.py [target …]          (interrupted, it goes on where it stopped)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.app.sources import turned_images
from morelli.attribution.attributor import fit_attributor
from morelli.detectors.folds import FoldsRecipe

COUNTS = (200, 500, 1000)  # own samples in all, for training and threshold together
SEEDS = (0, 1, 2)  # of which samples
TEST, FRESH = 200, 1000  # test samples a source; own ones that show the true rate of false rejection
WAYS = {  # row of `protocol.ROWS`, folds, own samples turned as negatives too
    "SM-F, held out": ("SM-F", None, False),
    "SM-F, folds": ("SM-F", 5, False),
    "closed form, held out": ("closed form, LDA", None, False),
    "closed form, folds": ("closed form, LDA", 5, False),
    "closed form, folds, turned": ("closed form, LDA", 5, True),
}


def part(features: p.Features, index: torch.Tensor) -> p.Features:
    notes = {name: values[index] for name, values in features.notes.items()}
    return p.Features(features.values[index], notes, tuple(features.reasons[i] for i in index.tolist()))


def judged(target: str, generators: dict) -> dict:
    sources = [name for name in generators if name != target]
    drawn = {name: p.drawn(generators[name], TEST, 300) for name in sources}
    drawn["photographs"] = p.photographs("clothing64", 1000, TEST, 0)
    drawn["own"] = p.drawn(generators[target], 2 * max(COUNTS), 100)
    drawn["turned"] = turned_images(drawn["own"])
    drawn["negatives"] = p.photographs("clothing64", 0, max(COUNTS), 0)
    drawn["fresh"] = p.drawn(generators[target], FRESH, 101)
    head, found, features = p.head_of(generators[target]), {}, ("", {})
    for way, (name, folds, with_turned) in WAYS.items():
        row = p.ROWS[name]
        extractor = row.extractor(head)
        if features[0] != name:
            features = name, {part: extractor.extract(x) for part, x in drawn.items()}
        f = features[1]
        for n in COUNTS:
            held = max(199, n // 4)
            if folds is None and n - held < 50:
                continue
            rows = []
            for seed in SEEDS:
                mine = torch.randperm(len(drawn["own"]), generator=torch.Generator().manual_seed(seed))[:n]
                other = part(f["negatives"], torch.arange(n))
                if with_turned:
                    other = p.Features.concatenate([other, part(f["turned"], mine)])
                recipe = row.recipe() if folds is None else FoldsRecipe(row.recipe(), folds)
                trained, kept = (mine, None) if folds else (mine[held:], part(f["own"], mine[:held]))
                own = part(f["own"], trained)
                attributor = fit_attributor(extractor, recipe, own, other, kept, rate=p.RATE, seed=seed)
                rows.append(
                    {source: p.score(attributor, f["fresh"], f[source]) for source in (*sources, "photographs")}
                )
            found[f"{n}, {way}"] = rows
            print("  ", target, n, way, p.short(rows[0]), flush=True)
    return found


def main(targets: list[str]) -> None:
    run = p.Run(__file__, {"counts": COUNTS, "seeds": SEEDS, "test": TEST})
    generators = p.generators("clothing64")
    run.content["generators"] = {name: g.digest() for name, g in generators.items()}
    for target in targets or generators:
        run.cell(target, lambda target=target: judged(target, generators))
    run.save()


if __name__ == "__main__":
    main(sys.argv[1:])
