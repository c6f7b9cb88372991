"""Zero-shot attribution of real generators: who made it (1:N), one model or two (1:1), and none of these (open set).

Run: python experiments/zero-shot/run.py [network]      (a folder; by default the one that ships)
"""

import sys
from functools import partial
from pathlib import Path

import sources
import torch
from methods import Method, Score, baselines, fingerprints
from sklearn.metrics import f1_score
from sources import p
from torch import Tensor

from morelli.attribution.gallery import Entry, Gallery
from morelli.attribution.world import World
from morelli.features.fingerprint import FingerprintExtractor
from morelli.numerics.metrics import auroc, oscr
from morelli.storage.fingerprint_network import read_fingerprint_network
from morelli.storage.networks import SHIPPED

ENROLLED, QUERIES, DRAWS, PAIRS = 10, 40, 3, 10_000
CONDITIONS = ("none", "jpeg:95", "jpeg:80", "resize:0.75")
MIXED = {"clean against jpeg:80": ("none", "jpeg:80")}  # enrolled, queries
BOOTSTRAP, LEVEL = 200, (0.05, 0.95)
PARTNERS = 20  # of an image: the first half of the same model
HALVES = (slice(0, 10), slice(10, 20))


def main(network: Path) -> None:
    torch.set_grad_enabled(False)
    run = p.Run(__file__, {"enrolled": ENROLLED, "queries": QUERIES, "draws": DRAWS, "pairs": PAIRS})
    rows = baselines() | fingerprints(network)
    groups = {"families": sources.families(), "seeds": sources.seeds()}
    images = {name: {n: draw() for n, draw in group.items()} for name, group in groups.items()}
    images["background"] = {n: draw() for n, draw in sources.background().items()}
    for name, row in rows.items():
        for group in groups:
            wanted = {c: (c, c) for c in CONDITIONS} | MIXED
            left = [c for c in wanted if f"{group}/{c}/{name}" not in run.content["cells"]]
            if not left:
                continue
            known = {c: featured(row, images[group], c) for c in CONDITIONS}
            other = {c: featured(row, images["background"], c) for c in CONDITIONS}
            for c in left:
                one, two = wanted[c]
                given = (row, known[one], known[two], other[one], list(images[group]))
                run.cell(f"{group}/{c}/{name}", partial(judged, *given))
    extractor, state = read_fingerprint_network(network)
    for c in CONDITIONS:
        for size in (1, 5):
            tested = {n: x for n, x in images["families"].items() if not n.startswith("clothes")}
            run.cell(f"promise/{c}/{size}", partial(promised, extractor, World.from_state(state), tested, c, size))
    run.save()


def promised(extractor: FingerprintExtractor, world: World, images: dict, condition: str, size: int) -> dict:
    """How often queries are identified at a rate of 5 %, of models that are enrolled, which half are, and of others."""
    found = {n: extractor.extract(list(sources.perturbed(x, condition))) for n, x in images.items()}
    found = {n: world.recentred(x, condition) for n, x in found.items()}
    known: list[bool] = []
    right: list[bool] = []
    unknown: dict[str, list[bool]] = {name: [] for name in found}
    for seed in range(DRAWS):
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed)).tolist()
        names = [list(found)[i] for i in order]
        half = names[: len(names) // 2]
        mine, theirs = split(len(found[names[0]]), seed)
        gallery = Gallery(tuple(Entry(name, found[name][mine], "") for name in half), world, rate=0.05)
        for name in names:
            for group in found[name][theirs].split(size):
                answer = gallery.rank(group).identified
                if name in half:
                    known.append(answer is not None)
                    right.append(answer == name)
                else:
                    unknown[name].append(answer is not None)
    shares = {name: round(sum(x) / len(x), 3) for name, x in unknown.items() if x}
    return {
        "identified, of unknown models": round(sum(shares.values()) / len(shares), 4),
        "identified, of known models": round(sum(known) / len(known), 4),
        "rightly": round(sum(right) / len(right), 4),
        "by unknown model": shares,
    }


def featured(row: Method, images: dict[str, Tensor], condition: str) -> Tensor:
    """[models, images, d]"""
    found = torch.stack([row.features(sources.perturbed(pixels, condition)) for pixels in images.values()])
    return row.recentred(found, condition)


def judged(row: Method, enrolled: Tensor, queries: Tensor, background: Tensor, names: list[str]) -> dict:
    found = [identified(row, enrolled, queries, seed) for seed in range(DRAWS)]
    right = torch.stack([one["right"] for one in found])  # [draws, models, queries]
    by_model = right.double().mean((0, 2))
    opened = [open_set(row, enrolled, queries, seed) for seed in range(DRAWS)]
    area, interval = verified(row.between(background), enrolled, queries)
    return {
        "accuracy": round(float(by_model.mean()), 4),
        "accuracy interval": bootstrapped(by_model),
        "draws": [round(float(one.double().mean()), 4) for one in right],
        "macro F1": round(sum(one["f1"] for one in found) / DRAWS, 4),
        "oscr": round(sum(opened) / DRAWS, 4),
        "oscr draws": [round(one, 4) for one in opened],
        "verification auc": area,
        "verification interval": interval,
        "by model": {name: round(float(x), 3) for name, x in zip(names, by_model, strict=True)},
    }


def split(count: int, seed: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[:ENROLLED], order[ENROLLED : ENROLLED + QUERIES]


def scores(score: Score, enrolled: Tensor, queries: Tensor) -> Tensor:
    """[models, n, d] and [others, m, d] → [others, m, models]"""
    flat = queries.flatten(0, 1)[:, None]
    return torch.stack([score(one, flat) for one in enrolled], 1).reshape(*queries.shape[:2], len(enrolled))


def identified(row: Method, enrolled: Tensor, queries: Tensor, seed: int) -> dict:
    mine, theirs = split(enrolled.shape[1], seed)
    table = scores(row.among(enrolled[:, mine]), enrolled[:, mine], queries[:, theirs])
    named, truth = table.argmin(2), torch.arange(len(enrolled))[:, None].expand(-1, QUERIES)
    return {"right": named == truth, "f1": f1_score(truth.flatten(), named.flatten(), average="macro")}


def open_set(row: Method, enrolled: Tensor, queries: Tensor, seed: int) -> float:
    """A random half of the models is enrolled, the others are unknown."""
    mine, theirs = split(enrolled.shape[1], seed)
    order = torch.randperm(len(enrolled), generator=torch.Generator().manual_seed(100 + seed))
    known, unknown = order[: len(order) // 2], order[len(order) // 2 :]
    score = row.among(enrolled[known][:, mine])
    table = scores(score, enrolled[known][:, mine], queries[:, theirs])
    best, named = table.min(2)
    right = named[known] == torch.arange(len(known))[:, None]
    return oscr(best[known].flatten(), right.flatten(), best[unknown].flatten())


def verified(score: Score, first: Tensor, second: Tensor) -> tuple[float, list[float]]:
    """Single images against single images: AUC of 10,000 pairs, half of one model; bootstrap over models."""
    rng, (models, count, _) = torch.Generator().manual_seed(0), first.shape
    half = PARTNERS // 2
    one = torch.arange(PAIRS // PARTNERS) % models
    at = torch.randint(count, one.shape, generator=rng)
    shift = torch.randint(1, models, (len(one), PARTNERS), generator=rng)
    shift[:, :half] = 0
    other = (one[:, None] + shift) % models
    there = (at[:, None] + torch.randint(1, count, other.shape, generator=rng)) % count  # never the same picture
    partners = second[other, there]
    found = torch.stack([score(first[m, i][None], q[:, None]) for m, i, q in zip(one, at, partners, strict=True)])
    areas = []
    for _ in range(BOOTSTRAP):
        weights = torch.bincount(torch.randint(models, (models,), generator=rng), minlength=models)
        repeat = weights[one][:, None] * torch.where(shift == 0, 1, weights[other])
        same, different = (found[:, part].flatten().repeat_interleave(repeat[:, part].flatten()) for part in HALVES)
        areas.append(auroc(same, different))
    low, high = torch.tensor(areas).quantile(torch.tensor(LEVEL)).tolist()
    return round(auroc(*(found[:, part].flatten() for part in HALVES)), 4), [round(low, 4), round(high, 4)]


def bootstrapped(values: Tensor) -> list[float]:
    """An interval of the mean, models drawn again."""
    rng = torch.Generator().manual_seed(0)
    means = torch.stack(
        [values[torch.randint(len(values), (len(values),), generator=rng)].mean() for _ in range(BOOTSTRAP)]
    )
    return [round(x, 4) for x in means.quantile(torch.tensor(LEVEL, dtype=torch.float64)).tolist()]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED / "fingerprint")
