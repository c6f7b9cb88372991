"""The attack cards and the plot."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from shares import (
    AGREE,
    GRADIENT,
    PLACES,
    STRENGTHS,
    TRANSFER,
    attacks,
    cell,
    forgery,
    knows,
    median_psnr,
    removal,
)

HERE = Path(__file__).parent


def cards() -> None:
    """`attack_card.json` is the default's; other methods have one each. The shape is that of docs/report.md, and more:
    of each row the method, what the attacker has, and the seeds."""
    seeds = len({seed for _, seed in PLACES})
    targets = sorted({target for target, _ in PLACES})
    for method in AGREE:
        rows = []
        for attack in attacks():
            if attack.startswith((GRADIENT, TRANSFER)) and not attack.endswith(f" of {method}"):
                continue
            for strength in ("own", *STRENGTHS):
                found = removal(method, attack, strength), forgery(method, attack, strength)
                for aim, share, source in zip(("removal", "forgery"), found, ("own", "photographs"), strict=True):
                    if share is None or attack == "nothing":
                        continue
                    reached = median_psnr(attack, strength, source)
                    low, high = share.wilson()
                    rows.append(
                        {"name": attack, "aim": aim, "psnr": reached, "success": round(share.value, 4)}
                        | {"low": round(low, 4), "high": round(high, 4), "samples": share.tried}
                        | {"note": f"attacker has: {knows(attack)}", "method": method, "knowledge": knows(attack)}
                        | {"seeds": seeds}
                    )
        card = {
            "title": f"Attacks on '{method}' of two small GANs",
            "note": f"Measured on attributors of generators that ship with Morelli ({', '.join(targets)}; {seeds} "
            "seeds), not on this one. Success among images that were judged rightly before; PSNR is the median. "
            "docs/attacks.md says what it means.",
            "attacks": rows,
        }
        name = "attack_card" + ("" if method == AGREE[0] else "-" + method.replace(", ", "-").replace(" ", "-"))
        (HERE / f"{name}.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def plot() -> None:
    shown = [a for a in attacks() if not a.startswith(TRANSFER) and a != "nothing"]
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.26 * len(shown) + 1.6), sharey=True, layout="constrained")
    for axis, find, title in zip(axes, (removal, forgery), ("hidden", "forged"), strict=True):
        for k, method in enumerate(("imprint", "flipad", "rawpad", "sm-f", "gallery")):
            for i, attack in enumerate(shown):
                strength = next((s for s in ("35", "own") if cell(PLACES[0], attack, s)), "35")
                if (share := find(method, attack, strength)) is not None:
                    label = method if i == 0 else None
                    axis.plot(100 * share.value, i + 0.14 * (k - 2), "os^Dv"[k], color=f"C{k}", ms=5, label=label)
        axis.set(title=f"{title}, %, at 35 dB or as it comes", xlim=(-3, 103))
        axis.set_yticks(range(len(shown)), shown)
        axis.grid(alpha=0.3)
    axes[0].invert_yaxis()
    axes[1].legend(fontsize=8, loc="lower right")
    figure.savefig(HERE / "plot.png", dpi=100)
