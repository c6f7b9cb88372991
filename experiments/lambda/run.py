"""Appendix H, figures 14 and 15: does the weight of the lasso matter?

Run: python experiments/lambda/run.py          (interrupted, it goes on where it stopped)
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.attribution.kinds import INVERSIONS
from morelli.numerics.solvers.pdhg import Pdhg

PAPER = (1e-4, 5e-4, 1e-3, 1e-1)  # the paper's λ, printed for the form without ½, is what we call the weight
SIZES = {"own": 500, "other": 500, "held_out": 300, "test": 100}
ROW = p.ROWS["FLIPAD, LDA"]
TARGETS = {"20 steps": ("dcgan", "ebgan", "wgan-gp", "lsgan"), "gap 5 %": ("dcgan",)}


def judged(target: str, solver: str, weight: float, generators: dict) -> dict:
    own = p.drawn(generators[target], SIZES["own"] + SIZES["held_out"] + SIZES["test"], 100)
    drawn = p.parted(own, SIZES)
    drawn["photographs"] = p.photographs("clothing64", 0, SIZES["other"], 0)
    sources = [name for name in generators if name != target]
    drawn |= {name: p.drawn(generators[name], SIZES["test"], 300) for name in sources}
    drawn["new photographs"] = p.photographs("clothing64", SIZES["other"], SIZES["test"], 0)
    extractor = replace(ROW.extractor(p.head_of(generators[target])), weight=weight)
    if solver != "20 steps":
        extractor = replace(INVERSIONS["lasso"](extractor), solver=Pdhg(tolerance=0.05, max_steps=300))
    f = {name: extractor.extract(x) for name, x in drawn.items()}
    attributor = ROW.fit(extractor, f, 0)
    found: dict = {source: p.score(attributor, f["test"], f[source]) for source in (*sources, "new photographs")}
    found["gap"] = round(f["test"].notes["gap"].median().item(), 4)
    found["moved"] = round(
        (f["test"].values.abs() > 1e-6).double().mean().item(), 4
    )  # share of activations off the anchor
    return found


def main() -> None:
    run = p.Run(__file__, {"weights": PAPER, "sizes": SIZES})
    generators = p.generators("clothing64")
    run.content["generators"] = {name: g.digest() for name, g in generators.items()}
    for solver, targets in TARGETS.items():
        for target in targets:
            for weight in PAPER:
                run.cell(
                    f"{solver}/{target}/{weight:g}", lambda t=target, s=solver, w=weight: judged(t, s, w, generators)
                )
    run.save()


if __name__ == "__main__":
    main()
