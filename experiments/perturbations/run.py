"""Tables 3 and 13: everything perturbed alike, in training and in tests; what is still told apart?

Run: python experiments/perturbations/run.py [target …]          (interrupted, it goes on where it stopped)
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.app.sources import turned_images

SIZES = {"own": 1000, "other": 1000, "held_out": 500, "test": 200}
CONDITIONS = ("none", "blur:3", "crop:60", "crop:55", "noise:0.05", "noise:0.1", "jpeg:90", "jpeg:80")
ROWS = ("SM-F", "RawPAD, LDA", "ridge, LDA", "ridge, LDA, turned")


def judged(target: str, condition: str, generators: dict) -> dict:
    own = p.drawn(generators[target], SIZES["own"] + SIZES["held_out"] + SIZES["test"], 100, condition)
    drawn = p.parted(own, SIZES)
    drawn["photographs"] = p.photographs("clothing64", 0, SIZES["other"], 0, condition)
    turned = turned_images(p.drawn(generators[target], SIZES["other"], 200))
    drawn["turned"] = p.seen(p.to_eight_bits(turned, p.SPEC), 201, condition)
    sources = [name for name in generators if name != target]
    drawn |= {name: p.drawn(generators[name], SIZES["test"], 300, condition) for name in sources}
    drawn["new photographs"] = p.photographs("clothing64", SIZES["other"], SIZES["test"], 0, condition)
    found = {}
    for name, attributor, f in p.fitted(ROWS, p.head_of(generators[target]), drawn):
        found[name] = {source: p.score(attributor, f["test"], f[source]) for source in (*sources, "new photographs")}
        print("  ", target, condition, name, p.short(found[name]), flush=True)
    return found


def main(targets: list[str]) -> None:
    run = p.Run(__file__, {"sizes": SIZES})
    generators = p.generators("clothing64")
    run.content["generators"] = {name: g.digest() for name, g in generators.items()}
    for target in targets or generators:
        for condition in CONDITIONS:
            run.cell(f"{target}/{condition}", lambda t=target, c=condition: judged(t, c, generators))
    run.save()


if __name__ == "__main__":
    main(sys.argv[1:])
