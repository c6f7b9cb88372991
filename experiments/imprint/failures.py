"""Pictures of what the default method gets wrong: siblings attributed, and own samples not.

Run: python experiments/imprint/failures.py [target condition]
"""

import sys
from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import run as r

HERE = Path(__file__).parent
SHOWN = 8


def sheet(target: str, condition: str) -> None:
    """One row each: own samples by falling p-value from the least, then a sibling's by p-value from the greatest."""
    spec, sources = r.spec_of(target), r.tests(target)
    attributor, _ = r.trained(target, r.pixels(target, r.OWN, 100))
    rows = {}
    for name in ("own", r.others(target)[0], r.others(target)[1]):
        changed = r.after(sources[name], condition, 7)
        found = r.verdicts(attributor, sources[name], condition, spec)
        order = sorted(range(len(found)), key=lambda i: found[i].p_value, reverse=name != "own")[:SHOWN]
        rows[name] = [(changed[i], found[i]) for i in order]
    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(1.5 * SHOWN, 1.9 * len(rows)), layout="constrained")
    for line, (name, shown) in zip(axes, rows.items(), strict=True):
        for axis, (picture, verdict) in zip(line, shown, strict=True):
            axis.imshow(picture.permute(1, 2, 0).numpy())
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{verdict.outcome.value}\np = {verdict.p_value:.3f}", fontsize=7)
        line[0].set_ylabel("own, least alike" if name == "own" else f"{name}, most alike", fontsize=8)
    figure.suptitle(f"{target}, {condition}")
    kept = HERE / f"failures-{target}-{condition.replace(':', '')}.webp"
    figure.savefig(kept, dpi=90, pil_kwargs={"quality": 75, "method": 6})


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    for wanted in [sys.argv[1:3]] if sys.argv[1:] else [["lsgan-3", "noise:0.1"], [r.VAE, "jpeg:80"]]:
        sheet(*wanted)
