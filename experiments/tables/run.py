"""Tables 5 and 15: a KL-WGAN is the model in question; are other tables, its siblings and the real wines told from it?

Run: python experiments/tables/run.py [red:0 white:0 …]           (interrupted, it goes on where it stopped)
First: python experiments/tables/generators.py
"""

import math
import sys
import time
from dataclasses import replace

import torch
from generators import foreign, is_trained, trained, whitened
from sklearn.ensemble import HistGradientBoostingClassifier
from sources import ROOT, ROWS, RUNS, wine
from torch import Tensor

sys.path.insert(0, str(ROOT / "experiments"))
import protocol as p

import morelli
from morelli.app.methods import build_extractor, build_recipe
from morelli.attribution.attributor import fit_attributor
from morelli.attribution.pooling import mean_p_value
from morelli.numerics.calibration import p_values
from morelli.numerics.evalues import log10_evidence
from morelli.numerics.metrics import auroc, balanced_accuracy

OWN = {"held_out": 600, "test": 300}  # searched for; the paper has 10,000 of each
LEARNED = {"own": 1000, "other": 1000, "epochs": 20}  # by the methods that learn
TEST = 100  # rows of each source; the paper has 10,000
STARTS = 16
SIZES, SETS = (10, 30, 100), 300
SEEDS = (0, 1, 2)  # of the model in question; the next seed is its sibling
FORMS = ("whitened", "decimals")
FOREIGN = ("tvae", "ctgan", "copulagan", "diffusion", "real")
SOURCES = (*FOREIGN, "sibling", "hinge")


def table_of(name: str, form: str) -> morelli.Table:
    """Whitened rows with six decimals, as the paper judges them; or ordinary rows with those of the file."""
    names, rows, decimals = wine(name)
    if form == "whitened":
        return morelli.Table(tuple(morelli.Number(f"pc{i + 1}", 6) for i in range(len(names))))
    return morelli.Table.whitened(names, rows, decimals)


def model(name: str, loss: str, seed: int, table: morelli.Table) -> morelli.TableGenerator:
    module = trained(name, loss, seed).finished_generator()
    return morelli.TableGenerator(module, (10,), table, announce=lambda line: None)


def rows_of(name: str, source: str, seed: int, table: morelli.Table, count: int) -> Tensor | None:
    """Rows of a source, all as a file of the same form gives them back; None where it is not trained yet."""
    if source in ("sibling", "hinge"):
        loss, other = ("kl", (seed + 1) % len(SEEDS)) if source == "sibling" else ("hinge", 0)
        if not is_trained(name, loss, other):
            return None
        return model(name, loss, other, table).samples(count, 77)
    if source == "real":
        rows = whitened(name)
    elif not (RUNS / f"{name}-{source}.csv").exists():
        return None
    else:
        rows = foreign(name, source)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return table.stored(rows[order[:count]])


def judged(own: Tensor, theirs: Tensor) -> dict:
    """Scores of held-out and test rows, and of a source → how they are told apart, one by one and in sets."""
    return row_by_row(own, theirs) | {
        "sets": {str(size): sets(own, theirs, size) for size in SIZES if size <= len(theirs)}
    }


def row_by_row(own: Tensor, theirs: Tensor) -> dict:
    held, mine = own[: OWN["held_out"]], own[OWN["held_out"] :]
    chances = [p_values(held, scores) for scores in (mine, theirs)]
    accepted = [found > p.RATE for found in chances]
    return {
        "balanced": round(balanced_accuracy(accepted[0], accepted[1]), 5),
        "auroc": round(auroc(mine, theirs), 5),
        "false_rejection": round((~accepted[0]).double().mean().item(), 5),
    }


def sets(own: Tensor, theirs: Tensor, size: int) -> dict:
    """Random sets of rows, each with a calibration of its own: shares accepted by p-value and by e-value."""
    rng = torch.Generator().manual_seed(size)
    kept = {"mine": [], "theirs": [], "mine_e": [], "theirs_e": []}
    for _ in range(SETS):
        order = torch.randperm(len(own), generator=rng)
        held, fresh = own[order[: OWN["held_out"]]], own[order[OWN["held_out"] : OWN["held_out"] + size]]
        strange = theirs[torch.randperm(len(theirs), generator=rng)[:size]]
        for who, some in (("mine", fresh), ("theirs", strange)):
            kept[who].append(mean_p_value(p_values(held, some), len(held)) > p.RATE)
            kept[f"{who}_e"].append(log10_evidence(held, some) < -math.log10(p.RATE))
    share = {who: torch.tensor(values).double() for who, values in kept.items()}
    return {
        "balanced": round(balanced_accuracy(share["mine"], share["theirs"]), 5),
        "e_value": round(balanced_accuracy(share["mine_e"], share["theirs_e"]), 5),
    }


def searched(run: p.Run, name: str, form: str, seed: int) -> None:
    """The whole generator is searched: every row's score is kept, so that a source that comes later is added."""
    table = table_of(name, form)
    gen = model(name, "kl", seed, table)
    head = replace(gen.head(5000), generator=gen.program())
    extractor = build_extractor(head, "latent", search={"restarts": STARTS})

    def scores(source: str, rows: Tensor) -> Tensor:
        path = RUNS / f"scores-{name}-{form}-{seed}-{source}.pt"
        if not path.exists():
            start = time.perf_counter()
            found = extractor.extract(rows)
            torch.save(found.values[:, 0], path)
            print(f"{path.stem}: {time.perf_counter() - start:.0f} s", flush=True)
        return torch.load(path, weights_only=True)

    own = scores("own", gen.samples(sum(OWN.values()), 100 + seed))
    for source in SOURCES:
        key = f"{name}/{form}/{seed}/latent/{source}"
        rows = None if key in run.content["cells"] else rows_of(name, source, seed, table, TEST)
        if rows is not None:
            run.cell(key, lambda source=source, rows=rows: judged(own, scores(source, rows)))


def learned(run: p.Run, name: str, form: str, seed: int) -> None:
    """What learns from own and TVAE's rows, and an oracle that has thousands of rows of the very source."""
    table = table_of(name, form)
    gen = model(name, "kl", seed, table)
    head = gen.head(5000).measured()
    fitted = gen.samples(LEARNED["own"], 300 + seed)
    own = gen.samples(sum(OWN.values()), 100 + seed)
    tvae = rows_of(name, "tvae", seed, table, 4000)
    if tvae is None:
        return
    rows = {}
    for source in FOREIGN:
        wanted = rows_of(name, source, seed, table, 4000)
        if wanted is not None:
            rows[source] = wanted
    for method, detector in (("rawpad", "deep_sad"), ("flipad", "lda")):
        keys = {source: f"{name}/{form}/{seed}/{method}, {detector}/{source}" for source in rows}
        if all(key in run.content["cells"] for key in keys.values()):
            continue
        extractor = build_extractor(head, method, "closed-form" if method == "flipad" else None)
        parts = [extractor.extract(some) for some in (fitted, tvae[TEST : TEST + LEARNED["other"]], own)]
        recipe = build_recipe(extractor.spec, method, detector, LEARNED["epochs"] if detector == "deep_sad" else None)
        attributor = fit_attributor(extractor, recipe, *parts, rate=p.RATE, seed=seed)
        mine = attributor.detector.score(parts[2].values)
        for source, key in keys.items():
            theirs = attributor.detector.score(extractor.extract(rows[source][:TEST]).values)
            run.cell(key, lambda mine=mine, theirs=theirs: judged(mine, theirs))
    for source, strange in rows.items():
        run.cell(f"{name}/{form}/{seed}/oracle/{source}", lambda s=strange: judged(*oracle(fitted, own, s, seed)))


def oracle(fitted: Tensor, own: Tensor, strange: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Gradient boosting on own rows and on all of the very source's rows but those that are judged."""
    known = strange[TEST:]
    data = torch.cat([fitted, known]).numpy()
    labels = [0] * len(fitted) + [1] * len(known)
    forest = HistGradientBoostingClassifier(random_state=seed).fit(data, labels)
    return tuple(torch.from_numpy(forest.decision_function(some.numpy())) for some in (own, strange[:TEST]))


def main(cells: list[str]) -> None:
    torch.set_num_threads(1)
    for cell in cells:
        name, seed = cell.split(":")[0], int(cell.split(":")[1])
        settings = {"own": OWN, "learned": LEARNED, "test": TEST, "starts": STARTS, "sets": SETS}
        settings["decimals"] = wine(name)[2]
        run = p.Run(__file__, settings, f"run-{name}.json")
        run.content["settings"].pop("rows", None)
        digest = model(name, "kl", seed, table_of(name, "whitened")).digest()
        run.content.setdefault("generators", {})[f"kl-{seed}"] = digest
        for form in FORMS:
            searched(run, name, form, seed)
            learned(run, name, form, seed)
        run.save()


if __name__ == "__main__":
    every = [f"{name}:{seed}" for seed in SEEDS for name in ROWS]
    main(sys.argv[1:] or [cell for cell in every if is_trained(cell.split(":")[0], "kl", int(cell.split(":")[1]))])
