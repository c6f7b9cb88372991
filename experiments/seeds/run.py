"""Tables 2 and 11: five seeds of each architecture; is a model told from its siblings?

Run: python experiments/seeds/run.py [family …]          (interrupted, it goes on where it stopped)
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.app.sources import turned_images

SIZES = {"own": 1000, "other": 1000, "held_out": 500, "test": 200}
ROWS = (
    "SM-F",
    "RawPAD, LDA",
    "closed form, LDA",
    "closed form, LDA, turned",
)
ENSEMBLE = ("SM-F", "closed form, LDA")


def judged(target: str, generators: dict) -> dict:
    """All rows for one target, against the other seeds of its family."""
    own = p.drawn(generators[target], SIZES["own"] + SIZES["held_out"] + SIZES["test"], 100)
    drawn = p.parted(own, SIZES)
    drawn["photographs"] = p.photographs("clothing64", 0, SIZES["other"], 0)
    drawn["turned"] = turned_images(p.drawn(generators[target], SIZES["other"], 200))
    siblings = [n for n in generators if n != target and n.rsplit("-", 1)[0] == target.rsplit("-", 1)[0]]
    drawn |= {name: p.drawn(generators[name], SIZES["test"], 300) for name in siblings}
    head = p.head_of(generators[target])
    found: dict = {"leaks": p.leaks(drawn["test"], {name: drawn[name] for name in siblings})}
    members = []
    for name, attributor, f in p.fitted(ROWS, head, drawn):
        if name in ENSEMBLE:
            members.append((attributor, f))
        found[name] = {sibling: p.score(attributor, f["test"], f[sibling]) for sibling in siblings}
        print("  ", target, name, p.short(found[name]), flush=True)
    attributors = [attributor for attributor, _ in members]
    tests = {part: [f[part] for _, f in members] for part in ("test", *siblings)}
    found["SM-F or closed form"] = {s: p.either(attributors, tests["test"], tests[s]) for s in siblings}
    print("  ", target, "either", p.short(found["SM-F or closed form"]), flush=True)
    return found


def main(families: list[str]) -> None:
    run = p.Run(__file__, {"sizes": SIZES})
    generators = p.generators("seeds")
    run.content["generators"] = {name: g.digest() for name, g in generators.items()}
    for target in [name for name in generators if not families or name.rsplit("-", 1)[0] in families]:
        run.cell(target, lambda target=target: judged(target, generators))
    run.save()


if __name__ == "__main__":
    main(sys.argv[1:])
