"""Small StyleGAN2s: is one told from a sibling of another seed, from its fine-tuned copy, from DCGANs and photographs?

Run: python experiments/style/generators.py; python experiments/style/run.py [pass …]    (goes on where it stopped)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.app.sources import turned_images
from morelli.attribution.attributor import Attributor

TARGETS = ("style-0", "style-1")
SIBLINGS = ("style-0", "style-1", "style-0-tuned")
OTHERS = ("dcgan-0", "dcgan-1")  # of runs/seeds: the same photographs
CONDITIONS = {"none": "none", "jpeg:90": "jpeg:86..98", "noise:0.05": "noise:0.01..0.05"}  # tested: trained for
SIZES = {"own": 750, "other": 500, "held_out": 250, "test": 200, "foreign": 100}
ROWS = ("SM-F", "RawPAD, LDA", "DCTPAD, LDA", "closed form, LDA", "closed form, LDA, turned")
DRAWS = (0, 1, 2)
PASSES = ("imprint", "baselines")


def generators() -> dict[str, p.morelli.TorchGenerator]:
    folder = p.ROOT / "runs"
    found = {name: p.loaded(folder / f"style/{name}.generator") for name in SIBLINGS}
    return found | {name: p.loaded(folder / f"seeds/{name}.generator") for name in OTHERS}


def own_samples(known: dict, target: str, draw: int) -> torch.Tensor:
    return p.drawn(known[target], SIZES["own"] + SIZES["held_out"] + SIZES["test"], 100 + draw)


def foreign_samples(known: dict, target: str, draw: int) -> dict[str, torch.Tensor]:
    count = SIZES["foreign"]
    found = {name: p.drawn(g, count, 300 + draw) for name, g in known.items() if name != target}
    return found | {"photographs": p.photographs("clothing64", 1000, count, draw)}


def after(samples: torch.Tensor, condition: str, seed: int) -> torch.Tensor:
    """Through eight bits and what happens to the files."""
    return p.seen(p.to_eight_bits(samples, p.SPEC), seed, condition)


def imprint(known: dict, heads: dict, target: str, draw: int) -> dict:
    """As users train it: own samples only, an expert for each condition, which is estimated at judging."""
    own = own_samples(known, target, draw)
    train, test = own[: -SIZES["test"]], own[-SIZES["test"] :]
    attributor = p.morelli.train(heads[target], train, rate=p.RATE, perturb=tuple(CONDITIONS.values()), seed=draw)
    sources = {"own": test} | foreign_samples(known, target, draw)
    found: dict = {"separated": attributor.card["separated"], "stride": attributor.extractor.stride}
    for condition in CONDITIONS:
        shares = {n: attributed(attributor, x, condition, draw) for n, x in sources.items()}
        mine = shares["own"]
        found[condition] = {n: {"balanced": (mine + 1 - s) / 2} for n, s in shares.items() if n != "own"}
        found[condition]["own attributed"] = mine
    return found


def attributed(attributor: Attributor, samples: torch.Tensor, condition: str, seed: int) -> float:
    coding = condition if condition.startswith("jpeg") else "none"
    judged = attributor.judge(after(samples, condition, seed), [{"coding": coding}] * len(samples))
    return sum(verdict.outcome.value == "attributed" for verdict in judged) / len(judged)


def baselines(known: dict, heads: dict, target: str, draw: int, condition: str) -> dict:
    """Trained and tested after the same thing: they are told the condition, and have photographs to train on."""
    own = own_samples(known, target, draw)
    drawn = p.parted(own, SIZES)
    drawn["photographs"] = p.photographs("clothing64", 0, SIZES["other"], draw)
    drawn["turned"] = turned_images(own[: SIZES["other"]])
    foreign = foreign_samples(known, target, draw)
    drawn |= {f"test {name}": samples for name, samples in foreign.items()}
    drawn = {name: after(samples, condition, draw) for name, samples in drawn.items()}
    found: dict = {}
    if condition == "none":
        found["leaks"] = p.leaks(drawn["test"], {name: drawn[f"test {name}"] for name in foreign})
    for name, attributor, f in p.fitted(ROWS, heads[target], drawn):
        found[name] = {n: p.score(attributor, f["test"], f[f"test {n}"]) for n in foreign}
        print("  ", target, draw, condition, name, p.short(found[name]), flush=True)
    return found


def main(passes: tuple[str, ...]) -> None:
    known = generators()
    heads = {name: known[name].head(1000, 0) for name in TARGETS}
    for each in passes:  # a file for each: two processes may run side by side
        run = p.Run(__file__, {"sizes": SIZES, "conditions": CONDITIONS, "rows": ROWS}, f"run-{each}.json")
        run.content["generators"] = {name: g.digest() for name, g in known.items()}
        run.content["heads"] = {name: known[name].found for name in TARGETS}
        for draw in DRAWS:
            for target in TARGETS:
                if each == "imprint":
                    run.cell(f"{target}/{draw}", lambda t=target, d=draw: imprint(known, heads, t, d))
                    continue
                for condition in CONDITIONS:
                    key = f"{target}/{draw}/{condition}"
                    run.cell(key, lambda t=target, d=draw, c=condition: baselines(known, heads, t, d, c))
        run.save()


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or PASSES)
