"""Small StyleGAN2s: is one told from a sibling of another seed, from its fine-tuned copy, from DCGANs and photographs?

Run: python experiments/style/generators.py; python experiments/style/run.py  (interrupted, it goes on where it stopped)
"""

import sys
import time
from functools import cache, partial
from itertools import product
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
SIZES = {"own": 600, "other": 300, "held_out": 200, "test": 150, "foreign": 80}
ROWS = ("SM-F", "RawPAD, LDA", "DCTPAD, LDA", "closed form, LDA", "closed form, LDA, turned")
IMPRINTS = {"imprint": False, "imprint, made again": True}  # with the whole generator
DRAWS = (0, 1, 2)


def generators() -> dict[str, p.morelli.TorchGenerator]:
    folder = p.ROOT / "runs"
    found = {name: p.loaded(folder / f"style/{name}.generator") for name in SIBLINGS}
    return found | {name: p.loaded(folder / f"seeds/{name}.generator") for name in OTHERS}


def samples(known: dict, target: str, draw: int) -> dict[str, torch.Tensor]:
    """Own ones to train, hold out and test with, and those of every other source, through eight bits."""
    found = p.parted(p.drawn(known[target], SIZES["own"] + SIZES["held_out"] + SIZES["test"], 100 + draw), SIZES)
    for name, generator in known.items():
        if name != target:
            found[f"test {name}"] = p.drawn(generator, SIZES["foreign"], 300 + draw)
    return found | {"test photographs": p.photographs("clothing64", 1000, SIZES["foreign"], draw)}


def after(samples: torch.Tensor, condition: str, seed: int) -> torch.Tensor:
    """Through eight bits and what happens to the files."""
    return p.seen(p.to_eight_bits(samples, p.SPEC), seed, condition)


def imprint(head: p.morelli.Head, drawn: dict[str, torch.Tensor], draw: int, whole: bool) -> dict:
    """As users train it, on own samples alone; the condition is estimated at judging."""
    own, start = torch.cat([drawn["own"], drawn["held"]]), time.perf_counter()
    attributor = p.morelli.train(
        head, own, rate=p.RATE, method="imprint", perturb=tuple(CONDITIONS.values()), whole=whole, seed=draw
    )
    found: dict = {"separated": attributor.card["separated"], "stride": attributor.extractor.stride}
    found["training"] = round(time.perf_counter() - start)
    for condition in CONDITIONS:
        shares = {n: attributed(attributor, x, condition, draw) for n, x in drawn.items() if n.startswith("test")}
        mine = shares.pop("test")
        found[condition] = {n.removeprefix("test "): {"balanced": (mine + 1 - s) / 2} for n, s in shares.items()}
        found[condition]["own attributed"] = mine
    return found


def attributed(attributor: Attributor, samples: torch.Tensor, condition: str, seed: int) -> float:
    coding = condition if condition.startswith("jpeg") else "none"
    judged = attributor.judge(after(samples, condition, seed), [{"coding": coding}] * len(samples))
    return sum(verdict.outcome.value == "attributed" for verdict in judged) / len(judged)


def baselines(head: p.morelli.Head, drawn: dict[str, torch.Tensor], draw: int, condition: str) -> dict:
    """Trained and tested after the same thing: they are told the condition, and have photographs to train on."""
    drawn = drawn | {
        "photographs": p.photographs("clothing64", 0, SIZES["other"], draw),
        "turned": turned_images(drawn["own"][: SIZES["other"]]),
    }
    drawn = {name: after(x, condition, draw) for name, x in drawn.items()}
    foreign = [name for name in drawn if name.startswith("test ")]
    found: dict = {}
    if condition == "none":
        found["leaks"] = p.leaks(drawn["test"], {name.removeprefix("test "): drawn[name] for name in foreign})
    for name, attributor, f in p.fitted(ROWS, head, drawn):
        found[name] = {n.removeprefix("test "): p.score(attributor, f["test"], f[n]) for n in foreign}
        print("  ", draw, condition, name, p.short(found[name]), flush=True)
    return found


def main() -> None:
    known = generators()
    run = p.Run(__file__, {"sizes": SIZES, "conditions": CONDITIONS})
    run.content["generators"] = {name: g.digest() for name, g in known.items()}
    run.content["heads"] = {name: known[name].found for name in TARGETS}
    heads = cache(lambda target: known[target].head(300, 0, whole=True))
    drawn = cache(lambda target, draw: samples(known, target, draw))
    told = {what: partial(baselines, condition=what) for what in CONDITIONS}
    judges = {name: partial(imprint, whole=whole) for name, whole in IMPRINTS.items()} | told
    order = [(what, draw) for draw in DRAWS for what in (*IMPRINTS, *told)]
    for (what, draw), target in product(order, reversed(TARGETS)):
        judge = judges[what]
        run.cell(f"{target}/{draw}/{what}", lambda j=judge, t=target, d=draw: j(heads(t), drawn(t, d), d))
    run.save()


if __name__ == "__main__":
    main()
