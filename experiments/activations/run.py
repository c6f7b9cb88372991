"""Figures 4, 8, 9 and 11–13: what the inverted activations of own samples look like beside those of others.

Run: python experiments/activations/run.py          (two minutes; writes one picture per generator)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import matplotlib

matplotlib.use("Agg")
import protocol as p
from matplotlib import pyplot as plt

COUNT, CHANNELS = 200, 4
METHODS = {"20 steps": "FLIPAD, LDA", "closed form": "closed form, LDA"}


def main() -> None:
    run = p.Run(__file__, {"samples": COUNT, "channels": CHANNELS, "methods": METHODS})
    generators = p.generators("clothing64")
    run.content["generators"] = {name: g.digest() for name, g in generators.items()}
    for target in generators:
        run.cell(target, lambda target=target: pictured(target, generators))
    run.save()


def pictured(target: str, generators: dict) -> dict:
    """Draws the picture; returns how well own activations are recovered, and how far other sources' are from them."""
    own, head = generators[target], p.head_of(generators[target])
    true = own.activations(COUNT, 100) - head.anchor
    samples = {"own": p.drawn(own, COUNT, 100)}
    samples |= {name: p.drawn(generators[name], COUNT, 300) for name in generators if name != target}
    samples["photographs"] = p.photographs("clothing64", 0, COUNT, 0)
    found: dict = {}
    for label, method in METHODS.items():
        extractor = p.replace(p.ROWS[method].extractor(head), pool=1)
        f = {name: extractor.extract(x).values for name, x in samples.items()}
        spread = f["own"].std(0) + 0.05
        found[label] = {
            "correlation with the true activations": round(correlation(f["own"], true), 4),
            "positive, true": round((true + head.anchor > 1e-6).double().mean().item(), 4),
            "positive, recovered": round((f["own"] + head.anchor > 1e-6).double().mean().item(), 4),
            "distance of the means, in own spreads": {
                name: round(((x.mean(0) - f["own"].mean(0)) / spread).square().mean().sqrt().item(), 4)
                for name, x in f.items()
                if name != "own"
            },
        }
        if label == "closed form":
            draw(target, {"own, true": true, "own, recovered": f.pop("own")} | f)
    return found


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


def draw(target: str, activations: dict[str, torch.Tensor]) -> None:
    """Mean deviation from the anchor, for the channels in which others differ most from own."""
    means = {name: x.mean(0) for name, x in activations.items()}
    others = torch.stack([m for name, m in means.items() if not name.startswith("own")])
    differ = (others - means["own, recovered"]).abs().mean((0, 2, 3)).topk(CHANNELS).indices
    figure, axes = plt.subplots(CHANNELS, len(means), figsize=(1.5 * len(means), 1.6 * CHANNELS), layout="constrained")
    for i, channel in enumerate(differ.tolist()):
        limit = max(m[channel].abs().quantile(0.99).item() for m in means.values())
        for j, (name, mean) in enumerate(means.items()):
            axis = axes[i, j]
            image = axis.imshow(mean[channel], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axis.set_xticks([])
            axis.set_yticks([])
            if i == 0:
                axis.set_title(name, fontsize=8)
            if j == 0:
                axis.set_ylabel(f"channel {channel}", fontsize=8)
        figure.colorbar(image, ax=axes[i, :], fraction=0.02)
    figure.suptitle(f"{target}: mean deviation of the activation from the anchor, {COUNT} samples", fontsize=9)
    path = Path(__file__).with_name(f"{target}.png")
    figure.savefig(path, dpi=100)
    plt.close(figure)
    p.Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
