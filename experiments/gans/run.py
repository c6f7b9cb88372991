"""Tables 1 and 8–10: each small GAN is the model in question; are the other GANs and photographs told from it?

Run: python experiments/gans/run.py [clothing64 celeba64]        (interrupted, it goes on where it stopped)
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.app.sources import turned_images

SIZES = {"own": 1000, "other": 1000, "held_out": 500, "test": 200}  # the paper: 10,000, 10,000, 1,000, 1,000
SEARCHED = {"held_out": 200, "test": 50}  # of SM-Inv, which takes a second an image
ENSEMBLES = {
    "SM-F or closed form": ("SM-F", "closed form, LDA"),
    "SM-F or closed form, both": ("SM-F", "closed form, LDA, both"),
}
CHEAP = ("SM-F", "closed form, LDA", "closed form, LDA, turned", "closed form, LDA, both", *ENSEMBLES)
SEEDS = dict.fromkeys(CHEAP, (0, 1, 2))  # of all others the first; of data, split and detector
PASSES = {  # one after the other, the dear ones last
    "clothing64": [(*CHEAP, "FLIPAD, LDA", "RawPAD", "DCTPAD"), ("SM-Inv₂",), ("FLIPAD",), ("SM-Inv_inc",)],
    "celeba64": [(*CHEAP, "FLIPAD, LDA", "RawPAD", "DCTPAD"), ("FLIPAD",), ("SM-Inv₂",)],
}


def samples(data: str, target: str, generators: dict, seed: int) -> dict:
    own = p.drawn(generators[target], SIZES["own"] + SIZES["held_out"] + SIZES["test"], 100 + seed)
    found = p.parted(own, SIZES)
    found["photographs"] = p.photographs(data, 0, SIZES["other"], seed)
    found["turned"] = turned_images(p.drawn(generators[target], SIZES["other"], 200 + seed))
    for name in generators:
        if name != target:
            found[f"test {name}"] = p.drawn(generators[name], SIZES["test"], 300 + seed)
    if data == "clothing64":  # the faces are stored as JPEG, which alone would tell them
        found["test photographs"] = p.photographs(data, SIZES["other"], SIZES["test"], seed)
    return found


def judged(run: p.Run, data: str, target: str, generators: dict, seed: int, methods: tuple) -> None:
    methods = tuple(m for m in methods if seed in SEEDS.get(m, (0,)))
    if all(f"{data}/{target}/{m}/{seed}" in run.content["cells"] for m in methods):
        return
    drawn, head = samples(data, target, generators, seed), p.head_of(generators[target], whole=True)
    tests = [name for name in drawn if name.startswith("test ")]
    if seed == 0:
        sources = {name.removeprefix("test "): drawn[name] for name in tests}
        run.cell(f"{data}/{target}/leaks", lambda: p.leaks(drawn["test"], sources))
    cache: dict = {}

    fitted: dict = {}

    def one(method: str) -> dict:
        if method in ENSEMBLES:
            members = ENSEMBLES[method]
            for member in members:
                if member not in fitted:
                    one(member)
            attributors = [fitted[member][0] for member in members]
            parts = {n: [fitted[member][1][n] for member in members] for n in ("test", *tests)}
            return {n.removeprefix("test "): p.either(attributors, parts["test"], parts[n]) for n in tests}
        row = p.ROWS[method]
        extractor = row.extractor(head)
        if row.features not in cache:
            cache.clear()
            parts = few(drawn) if method in p.SEARCHES else drawn
            cache[row.features] = {name: extractor.extract(x) for name, x in parts.items()}
        f = cache[row.features]
        attributor = row.fit(extractor, f, seed)
        fitted[method] = attributor, {name: f[name] for name in ("test", *tests)}
        return {name.removeprefix("test "): p.score(attributor, f["test"], f[name]) for name in tests}

    for method in methods:
        run.cell(f"{data}/{target}/{method}/{seed}", lambda method=method: one(method))


def few(drawn: dict) -> dict:
    """For a search that learns nothing from own and other samples."""
    counts = {"own": 0, "photographs": 0, "turned": 0, "held": SEARCHED["held_out"]}
    return {name: x[: counts.get(name, SEARCHED["test"])] for name, x in drawn.items()}


def main(chosen: list[str]) -> None:
    run = p.Run(__file__, {"sizes": SIZES, "searched": SEARCHED})
    for data in chosen:
        generators = p.generators(data)
        run.content.setdefault("generators", {})[data] = {name: g.digest() for name, g in generators.items()}
        for methods in PASSES[data]:
            for seed in (0, 1, 2):
                for target in generators:
                    judged(run, data, target, generators, seed, methods)
    run.save()


if __name__ == "__main__":
    main(sys.argv[1:] or list(PASSES))
