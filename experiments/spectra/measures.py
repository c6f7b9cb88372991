"""What is measured of a bank: its distance to real models, its spread, how near it comes, and what that rests on."""

from collections.abc import Callable

import models as m
import torch
from torch import Tensor

from morelli.generators.bank_training import BankSettings
from morelli.numerics.frechet import bootstrap, coverage, frechet_distance, spread

FACTORS = {
    "K": "blocks",
    "L": "convolutions",
    "S": "order",
    "U": "upsampling",
    "A": "activation",
    "N": "normalisation",
}
BEYOND = ("shuffle", "blur", "transposed4", "modulated", "residual", "latent", "patch")
GROWTH = (10, 30, 100, 288)  # blueprints
DRAWS, SUBSETS, LEVEL = 200, 50, 0.9  # of bootstraps, of random subsets and partitions; what an interval holds
SILENT = -3.0  # mean log power; photographs have 2, constant images log(FLOOR) = -6.9


def nearest(real: Tensor, bank: Tensor) -> float:
    """Root mean square distance to the nearest synthetic spectrum, mean of the real models."""
    return float(torch.cdist(real, bank).amin(1).mean()) / real.shape[1] ** 0.5


MEASURES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "ffd": frechet_distance,
    "means": lambda real, bank: float((real.mean(0) - bank.mean(0)).square().sum()),
    "spread": lambda real, bank: spread(bank),
    "coverage": coverage,
    "nearest": nearest,
}


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(m.SEED)


def interval(values: list[float]) -> list[float]:
    """Mean, and the bounds of the middle `LEVEL`."""
    found = torch.tensor(values, dtype=torch.float64)
    bounds = found.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64))
    return [round(x, 4) for x in (float(found.mean()), *bounds.tolist())]


def measured(real: Tensor, bank: Tensor) -> dict[str, float]:
    return {name: round(measure(real, bank), 4) for name, measure in MEASURES.items()}


class Paper:
    """The paper's blueprints with both seeds: curves [b, 2, 33] and each factor's value of every blueprint."""

    def __init__(self, bank: m.Spectra) -> None:
        seeds: dict[m.Blueprint, dict[int, Tensor]] = {}
        for model, curve in zip(bank.models, bank.curves, strict=True):
            if model.group == "paper":
                seeds.setdefault(model.trained.blueprint, {})[model.trained.seed] = curve
        self.blueprints = [blueprint for blueprint, found in seeds.items() if set(found) == {0, 1}]
        self.curves = torch.stack([torch.stack([seeds[b][0], seeds[b][1]]) for b in self.blueprints])

    def values(self, factor: str) -> Tensor:
        """[b], the number of the factor's value."""
        found = [getattr(blueprint, FACTORS[factor]) for blueprint in self.blueprints]
        return torch.tensor([sorted(set(found)).index(value) for value in found])

    def names(self, factor: str) -> list[str]:
        return [str(x) for x in sorted({getattr(blueprint, FACTORS[factor]) for blueprint in self.blueprints})]


def rows(curves: Tensor) -> Tensor:
    return curves.flatten(0, 1)


def parts(curves: Tensor, values: Tensor) -> list[Tensor]:
    """The models of each value, those of one with fewer than two blueprints left out."""
    return [rows(curves[values == v]) for v in values.unique() if (values == v).sum() > 1]


def yardsticks(real: Tensor) -> dict:
    """Real models against each other, and against photographs that went through no generator."""
    draw, half = rng(), len(real) // 2
    halves = [real[torch.randperm(len(real), generator=draw)] for _ in range(SUBSETS)]
    curves = m.spectra(m.photographs())[0].double()
    groups = [curves[torch.randperm(len(curves), generator=draw)[: m.COUNT]].mean(0) for _ in real]
    untouched = torch.stack(groups)
    return {
        "half of the real models / the other half": interval([frechet_distance(x[:half], x[half:]) for x in halves]),
        "real models / photographs": measured(real, untouched)
        | {"interval": [round(x, 4) for x in bootstrap(real, untouched, draws=DRAWS, level=LEVEL)]},
        "spread of the real models": round(spread(real), 4),
    }


def banks(real: Tensor, bank: m.Spectra) -> dict:
    """The paper's, ours beside it, and what each family adds to one seed of the paper's."""
    first = bank.where(lambda x: x.group == "paper" and x.trained.seed == 0)
    chosen = {
        "paper": bank.where(lambda x: x.group == "paper"),
        "paper, seed 0": first,
        "paper, seed 1": bank.where(lambda x: x.group == "paper" and x.trained.seed == 1),
        "paper + beyond": bank.curves,
        "beyond": bank.where(lambda x: x.group != "paper"),
        "paper, seed 0 + beyond": bank.where(lambda x: x.trained.seed == 0),
    }
    for name in BEYOND:
        theirs = bank.where(lambda x, name=name: x.group == name)
        if len(theirs):
            chosen[f"paper, seed 0 + {name}"] = torch.cat([first, theirs])
    return {
        name: {"models": len(curves)}
        | measured(real, curves)
        | {"interval": [round(x, 4) for x in bootstrap(real, curves, draws=DRAWS, level=LEVEL)]}
        for name, curves in chosen.items()
    }


def growth(real: Tensor, paper: Paper) -> dict:
    """Random subsets of the paper's blueprints, with one seed and with both."""
    found: dict = {}
    for seeds in (1, 2):
        for count in [n for n in GROWTH if n <= len(paper.curves)]:
            draw = rng()
            subsets = [torch.randperm(len(paper.curves), generator=draw)[:count] for _ in range(SUBSETS)]
            every = [rows(paper.curves[subset, :seeds]) for subset in subsets[: SUBSETS if count < 288 else 1]]
            found[f"{count} blueprints, {seeds} seed{'s' * (seeds > 1)}"] = {
                name: interval([measure(real, some) for some in every]) for name, measure in MEASURES.items()
            }
    return found


def ablation(real: Tensor, paper: Paper, factor: str) -> dict:
    """A factor held at each of its values, beside random parts of the same number and sizes."""
    values, draw = paper.values(factor), rng()
    held = {
        name: measured(real, part) for name, part in zip(paper.names(factor), parts(paper.curves, values), strict=True)
    }
    shuffled = [values[torch.randperm(len(values), generator=draw)] for _ in range(SUBSETS)]
    random = [[measured(real, part) for part in parts(paper.curves, labels)] for labels in shuffled]
    return {
        "values": held,
        "mean": {name: mean([one[name] for one in held.values()]) for name in MEASURES},
        "random parts": {n: interval([mean([one[n] for one in ones]) for ones in random]) for n in MEASURES},
    }


def second_seed(real: Tensor, paper: Paper) -> dict:
    """One seed alone, beside as many models that are both seeds of half of the blueprints."""
    draw, half = rng(), len(paper.curves) // 2
    held = {f"seed {seed}": measured(real, paper.curves[:, seed]) for seed in (0, 1)}
    random = [paper.curves[torch.randperm(len(paper.curves), generator=draw)[:half]] for _ in range(SUBSETS)]
    found = [measured(real, rows(some)) for some in random]
    return {
        "values": held,
        "mean": {name: mean([one[name] for one in held.values()]) for name in MEASURES},
        "random parts": {name: interval([one[name] for one in found]) for name in MEASURES},
    }


def mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


def change(real: Tensor, curves: Tensor, labels: dict[str, Tensor]) -> dict[str, float]:
    """By how much the distance rises, on average over its values, where a factor is held."""
    whole = frechet_distance(real, rows(curves))
    found = {"seed": mean([frechet_distance(real, curves[:, seed]) for seed in (0, 1)]) - whole}
    for factor, values in labels.items():
        found[factor] = mean([frechet_distance(real, part) for part in parts(curves, values)]) - whole
    return found


def order(real: m.Spectra, paper: Paper) -> dict:
    """Which factors raise the distance most: models and blueprints drawn again, and each group of models left out."""
    draw, labels = rng(), {factor: paper.values(factor) for factor in FACTORS}
    found = []
    for _ in range(DRAWS):
        models = torch.randint(len(real.curves), (len(real.curves),), generator=draw)
        blueprints = torch.randint(len(paper.curves), (len(paper.curves),), generator=draw)
        chosen = {factor: values[blueprints] for factor, values in labels.items()}
        found.append(change(real.curves[models], paper.curves[blueprints], chosen))
    ranks = [sorted(one, key=one.__getitem__, reverse=True) for one in found]
    clothes = real.where(lambda x: "clothes" not in x.group)
    without = {"all GANs of clothes": change(clothes, paper.curves, labels)} | {
        group: change(real.where(lambda x, group=group: x.group != group), paper.curves, labels)
        for group in dict.fromkeys(model.group for model in real.models)
    }
    return {
        "change": {factor: interval([one[factor] for one in found]) for factor in found[0]},
        "first, share of draws": {f: mean([float(rank[0] == f) for rank in ranks]) for f in found[0]},
        "U and A are the first two, share of draws": mean([float(set(rank[:2]) == {"U", "A"}) for rank in ranks]),
        "order without": {group: sorted(one, key=one.__getitem__, reverse=True) for group, one in without.items()},
    }


def groups(real: m.Spectra, bank: m.Spectra) -> dict:
    """For each group of real models: how many are covered, how far the nearest synthetic one is, and which."""
    found: dict = {}
    mine = {"paper": [x.group == "paper" for x in bank.models], "paper + beyond": [True] * len(bank.models)}
    for group in dict.fromkeys(model.group for model in real.models):
        theirs = real.where(lambda x, group=group: x.group == group)
        found[group] = {"models": len(theirs)}
        for name, mask in mine.items():
            curves, names = bank.curves[mask], [x.name for x, there in zip(bank.models, mask, strict=True) if there]
            near = torch.cdist(theirs, curves).min(1)
            middle = int(near.values.argsort()[len(theirs) // 2])
            found[group][name] = {
                "covered": round(coverage(theirs, curves) * len(theirs)),
                "nearest, rms": round(float(near.values[middle]) / curves.shape[1] ** 0.5, 3),
                "which": names[int(near.indices[middle])],
            }
    return found


def twins(bank: m.Spectra) -> list[str]:
    """Synthetic generators with equal spectra: another name for the same thing."""
    far = torch.cdist(bank.planes.flatten(1), bank.planes.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    names = [model.name for model in bank.models]
    return [f"{names[i]} = {names[j]}" for i, j in (far < 1e-4).nonzero().tolist() if i < j]


def silent(bank: m.Spectra) -> list[str]:
    """Synthetic generators whose images are constant."""
    return [model.name for model, curve in zip(bank.models, bank.curves, strict=True) if curve.mean() < SILENT]


def training(bank: m.Spectra) -> dict:
    """How many generators reached the residual at which training stops, and the middle one's residual."""
    found: dict[str, list[float]] = {}
    for model in bank.models:
        b = model.trained.blueprint
        factors = (f"paper, A {b.activation}", f"paper, N {b.normalisation}") if model.group == "paper" else ()
        for key in (model.group, *factors):
            found.setdefault(key, []).append(model.trained.residual)
    limit = BankSettings().residual
    return {
        key: {
            "models": len(values),
            "reached": mean([float(x <= limit) for x in values]),
            "median residual": round(float(torch.tensor(values).median()), 4),
        }
        for key, values in sorted(found.items())
    }
