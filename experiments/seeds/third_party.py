"""Siblings that nobody here trained: two CelebA VAEs of one architecture that differ in their loss only.

Run: python experiments/seeds/third_party.py          (two minutes; needs the shared third-party generators)
"""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.app.sources import turned_images

SIZES = {"own": 1000, "held_out": 500, "test": 200}
SEEDS = (0, 1)
ROWS = ("SM-F", "RawPAD, LDA", "closed form, LDA, turned", "ridge, LDA, turned")
p.SPEC = p.morelli.SampleSpec((3, 64, 64), 0.0, 1.0)


def judged(target: str, sibling: str, generators: dict, seed: int) -> dict:
    drawn = p.parted(p.drawn(generators[target], sum(SIZES.values()), 100 + seed), SIZES)
    drawn["turned"] = turned_images(p.drawn(generators[target], SIZES["own"], 200 + seed))
    drawn["photographs"] = drawn["turned"]  # the faces at hand are JPEG files, which alone would tell them
    drawn["sibling"] = p.drawn(generators[sibling], SIZES["test"], 300 + seed)
    found: dict = {"leaks": p.leaks(drawn["test"], {"sibling": drawn["sibling"]})["sibling"]}
    for name, attributor, f in p.fitted(ROWS, p.head_of(generators[target]), drawn):
        found[name] = p.score(attributor, f["test"], f["sibling"])
    return found


def main() -> None:
    decoder = runpy.run_path(str(p.ROOT / "experiments/third_party/run.py"))["vae_decoder"]
    names = ("celeba64_vae", "celeba64_betavae")
    generators = {
        name: p.morelli.TorchGenerator(decoder(f"{name}.safetensors"), (10,), announce=lambda line: None)
        for name in names
    }
    run = p.Run(__file__, {"sizes": SIZES}, "third_party.json")
    for target, sibling in (names, names[::-1]):
        for seed in SEEDS:
            run.cell(f"{target}/{seed}", lambda t=target, s=sibling, k=seed: judged(t, s, generators, k))


if __name__ == "__main__":
    main()
