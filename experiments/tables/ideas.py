"""What else could be read in a row without any foreign one: densities of own rows, classifiers against own negatives.

Run: python experiments/tables/ideas.py [red white]              (seed 0; chosen on red, reported on both)
"""

import sys
from dataclasses import replace

import torch
from run import FOREIGN, LEARNED, OWN, STARTS, TEST, model, p, row_by_row, rows_of, table_of
from scipy.stats import norm, rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.mixture import GaussianMixture
from torch import Tensor

import morelli
from morelli.app.methods import build_extractor

SHAKEN = 0.1  # relative deviation of the weights of a perturbed copy


def shuffled(own: Tensor, seed: int) -> Tensor:
    """Every column in an order of its own: the margins stay, the rest goes."""
    rng = torch.Generator().manual_seed(seed)
    return torch.stack([column[torch.randperm(len(column), generator=rng)] for column in own.T], 1)


def copula(own: Tensor, seed: int) -> Tensor:
    """Margins and rank correlations stay."""
    scores = norm.ppf(rankdata(own.numpy(), axis=0) / (len(own) + 1))
    correlation = torch.from_numpy(scores).T.corrcoef()
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randn(len(own), own.shape[1], generator=rng).double() @ torch.linalg.cholesky(correlation).T
    ordered, places = own.sort(0).values, drawn.argsort(0).argsort(0)
    return ordered.gather(0, places)


def perturbed(name: str, table: morelli.Table, layers: tuple[int, ...], seed: int) -> Tensor:
    """The generator with noise on the weights of some layers."""
    module = model(name, "kl", 0, table).module
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers:
            weight = module[layer].weight
            weight.mul_(1 + SHAKEN * torch.randn(weight.shape, generator=rng))
    return morelli.TableGenerator(module, (10,), table, announce=lambda line: None).samples(LEARNED["own"], seed)


def scorers(name: str, table: morelli.Table, own: Tensor) -> dict:
    """Idea → how unlike the model a row is."""
    negatives = {
        "shuffled columns": table.stored(shuffled(own, 0)),
        "Gaussian copula": table.stored(copula(own, 0)),
        "last layer perturbed": perturbed(name, table, (4,), 1),
        "all layers perturbed": perturbed(name, table, (0, 2, 4), 2),
    }
    found = {}
    for idea, other in negatives.items():
        data, labels = torch.cat([own, other]).numpy(), [0] * len(own) + [1] * len(other)
        found[f"against {idea}"] = HistGradientBoostingClassifier(random_state=0).fit(data, labels).decision_function
    mixture = GaussianMixture(10, random_state=0).fit(own.numpy())
    found["Gaussian mixture"] = lambda rows: -mixture.score_samples(rows)
    scale = own.std(0)
    found["nearest own row"] = lambda rows: torch.cdist(torch.from_numpy(rows) / scale, own / scale).amin(1).numpy()
    return found


def reproduced(name: str, table: morelli.Table, rows: Tensor) -> float:
    """Share of rows for which a latent was found that makes the very same row once it is rounded; at least."""
    gen = model(name, "kl", 0, table)
    head = replace(gen.head(1000), generator=gen.program())
    notes = build_extractor(head, "latent", search={"restarts": STARTS}).extract(rows).notes
    return round(float((notes["rest"] <= (3 / rows.shape[1]) ** 0.5).double().mean()), 4)  # no miss above half a step


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    run = p.Run(__file__, {"own": OWN, "learned": LEARNED, "test": TEST, "shaken": SHAKEN}, "run-ideas.json")
    run.content["settings"].pop("rows", None)
    for name in names:
        table = table_of(name, "decimals")
        for source in ("tvae", "diffusion", "real"):
            rows = rows_of(name, source, 0, table, TEST)
            if rows is not None:
                run.cell(f"{name}/decimals/reproduced/{source}", lambda n=name, t=table, r=rows: reproduced(n, t, r))
        gen = model(name, "kl", 0, table)
        judging = gen.samples(sum(OWN.values()), 100)
        for idea, score in scorers(name, table, gen.samples(LEARNED["own"], 300)).items():
            mine = torch.as_tensor(score(judging.numpy()))
            for source in FOREIGN:
                rows = rows_of(name, source, 0, table, TEST)
                if rows is not None:
                    theirs = torch.as_tensor(score(rows.numpy()))
                    run.cell(f"{name}/decimals/{idea}/{source}", lambda a=mine, b=theirs: row_by_row(a, b))
    run.save()


if __name__ == "__main__":
    main(sys.argv[1:] or ["red", "white"])
