"""Where does the true model rank, when it was enrolled from its weights alone and is searched for by images?

Run: python experiments/weights/bank.py && python experiments/weights/features.py && python experiments/weights/run.py
"""

import json
import platform
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

import features
import learned
import sources
import torch
from torch import Tensor

from morelli.app.galleries import open_network

HERE = Path(__file__).parent
ENROLLED, DRAWS, LEVELS = 10, 3, (1, 5, 10)
SIZES = {"one image": 1, "ten together": 10}
BOOTSTRAP = 200
GROUPS = ("synthetic", "real", "world", "seeds")


def main() -> None:
    start = time.time()
    extractor, world = open_network()
    models = [m for group in (sources.real, sources.synthetic, sources.world, sources.trained) for m in group()]
    models = [m for m in models if (features.KEPT / f"{m.name}.safetensors").exists()]
    found = [features.of(model) for model in models]
    seen = {kind: [world.see(one[kind]) for one in found] for kind in found[0]}
    means = {kind: torch.stack([x.mean(0) for x in values]) for kind, values in seen.items()}
    families, groups = [m.family for m in models], [m.group for m in models]
    kernels = torch.stack([learned.kernel_features(m.tail()) for m in models])
    train = [group in ("synthetic", "world") for group in groups]
    enrolments: dict[str, Tensor] = {
        "noise, white": means["white"],
        "noise, 1/f": means["pink"],
        "fitted": means["fitted"],
        "fitted and white noise": (means["fitted"] + means["white"]) / 2,
        "kernels, learned": learned.predicted(kernels, means["true"], families, train),
    }
    ships, both = enrolments["fitted and white noise"], torch.cat([means["fitted"], means["white"]], 1)
    enrolments["fitted and white noise, corrected"] = ships + learned.predicted(
        both, means["true"] - ships, families, train
    )
    true = torch.stack(seen["true"])
    result: dict = {}
    for draw in range(DRAWS):
        order = torch.randperm(true.shape[1], generator=torch.Generator().manual_seed(draw))
        mine, queries = true[:, order[:ENROLLED]], true[:, order[ENROLLED:]]
        rows = {"10 images": mine.mean(1), "1 image": mine[:, 0]} | enrolments
        for name, prototypes in rows.items():
            for size_name, size in SIZES.items():
                result.setdefault(name, {}).setdefault(size_name, []).append(ranks(prototypes, queries, size))
    content = {
        "settings": {
            "enrolled": ENROLLED,
            "draws": DRAWS,
            "simulation": features.asdict(features.SETTINGS),
            "noises": features.NOISES,
        },
        "models": dict(Counter(groups)),
        "families": len(set(families)),
        "network": extractor.digest,
        "sha256 of features": digest([features.KEPT / f"{m.name}.safetensors" for m in models]),
        "ranks": {group: table(result, groups, families, group) for group in GROUPS},
        "real alone": alone(true, enrolments, [i for i, g in enumerate(groups) if g in ("seeds", "real")]),
        "siblings": {g: siblings(true, enrolments, families, groups, g) for g in ("synthetic", "seeds")},
        "variance": {g: variances(true, enrolments, families, groups, g) for g in ("synthetic", "seeds")},
        "by model": {
            m.name: {
                n: round(float(torch.stack([r[i].median() for r in result[n]["one image"]]).mean()), 1) for n in result
            }
            for i, m in enumerate(models)
            if m.group in ("seeds", "real")
        },
        "device": f"CPU, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "seconds": round(time.time() - start),
    }
    (HERE / "run.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    for key in ("ranks", "siblings", "variance", "real alone"):
        print(key, json.dumps(content[key], indent=1))


def digest(paths: list[Path]) -> str:
    return sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()


def ranks(prototypes: Tensor, queries: Tensor, size: int) -> Tensor:
    """[models, e], [models, images, e] → [models, groups], 1 is best."""
    asked = queries.unfold(1, size, size).mean(3)  # [models, groups, e]
    far = torch.cdist(asked.flatten(0, 1), prototypes).reshape(*asked.shape[:2], -1)
    right = far[torch.arange(len(far)), :, torch.arange(len(far))]
    return ((far < right[..., None]).sum(2) + 1).double()


def table(result: dict, groups: list[str], families: list[str], group: str) -> dict:
    chosen = torch.tensor([g == group for g in groups])
    count = len(groups)
    rows = {"chance": {"median": (count + 1) / 2} | {f"recall@{k}": round(k / count, 4) for k in LEVELS}}
    for name, sizes in result.items():
        for size, draws in sizes.items():
            rows[f"{name}, {size}"] = summary([draw[chosen] for draw in draws])
    return rows


def summary(draws: list[Tensor]) -> dict:
    """Over images, then models; the spread over draws and an interval over models drawn again."""
    by_model = torch.stack([draw.median(1).values for draw in draws]).mean(0)
    rng = torch.Generator().manual_seed(0)
    again = torch.stack(
        [by_model[torch.randint(len(by_model), by_model.shape, generator=rng)].median() for _ in range(BOOTSTRAP)]
    )
    cells = {"median": round(float(torch.cat([d.flatten() for d in draws]).median()), 1)}
    cells["median interval"] = [round(float(x), 1) for x in again.quantile(torch.tensor([0.05, 0.95]).double())]
    for k in LEVELS:
        each = [float((draw <= k).double().mean()) for draw in draws]
        cells[f"recall@{k}"] = round(sum(each) / len(each), 4)
        cells[f"recall@{k} draws"] = [round(x, 4) for x in each]
    return cells


def alone(true: Tensor, enrolments: dict[str, Tensor], at: list[int]) -> dict:
    """Among the real ones only."""
    mine, queries = true[at][:, :ENROLLED], true[at][:, ENROLLED:]
    rows = {"10 images": mine.mean(1)} | {name: x[at] for name, x in enrolments.items()}
    found = {name: summary([ranks(x, queries, 1)]) for name, x in rows.items()}
    return {"chance": {"median": (len(at) + 1) / 2}} | found


def siblings(true: Tensor, enrolments: dict, families: list[str], groups: list[str], group: str) -> dict:
    """Among models of one family only: how often the right one is first, one image asked, and what chance is."""
    mine, queries = true[:, :ENROLLED], true[:, ENROLLED:]
    rows = {"10 images": mine.mean(1)} | enrolments
    mine_too = (group, "world") if group == "synthetic" else (group,)
    at = [i for i, g in enumerate(groups) if g in mine_too]
    kin = [[i for i in at if families[i] == family] for family in dict.fromkeys(families)]
    kin = [each for each in kin if len(each) > 1]
    found: dict = {"families": len(kin), "chance": round(sum(1 / len(at) for at in kin) / len(kin), 4)}
    for name, x in rows.items():
        right = [float((ranks(x[at], queries[at], 1) == 1).double().mean()) for at in kin]
        found[name] = round(sum(right) / len(right), 4)
    return found


def variances(true: Tensor, enrolments: dict, families: list[str], groups: list[str], group: str) -> dict:
    """In units of what varies between images of one model, per dimension; the noise of the means is taken off."""
    mine_too = (group, "world") if group == "synthetic" else (group,)
    at = [i for i, g in enumerate(groups) if g in mine_too]
    names = [families[i] for i in at]
    means, noise = true[at].mean(1), float(true[at].var(1).mean()) / true.shape[1]
    kin = [[i for i, f in enumerate(names) if f == family] for family in dict.fromkeys(names)]
    within = torch.cat([centred(means[rows]) * (len(rows) / (len(rows) - 1)) ** 0.5 for rows in kin if len(rows) > 1])
    between = torch.stack([means[rows].mean(0) for rows in kin]).var(0).mean()
    found = {"between families": round(float(between), 4), "within": round(float(within.square().mean()) - noise, 4)}
    agree = {}
    for name, x in enrolments.items():
        mine = torch.cat([centred(x[at][rows]) * (len(rows) / (len(rows) - 1)) ** 0.5 for rows in kin if len(rows) > 1])
        agree[name] = round(float(torch.cosine_similarity(mine, within, dim=1).mean()), 4)
    return found | {"agreement of differences between siblings (cosine)": agree}


def centred(x: Tensor) -> Tensor:
    return x - x.mean(0)


if __name__ == "__main__":
    main()
