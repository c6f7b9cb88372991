"""The attack cards and the plot."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from shares import (
    AGREE,
    GRADIENT,
    PLACES,
    TRANSFER,
    attacks,
    cell,
    forgery,
    knows,
    median_psnr,
    removal,
)

HERE = Path(__file__).parent
SHOWN = ("40", "35", "30")


def cards() -> None:
    """`attack_card.json` is the default's; other methods have one each.

    The shape is that of docs/report.md, with the method, what the attacker has and the number of seeds besides.
    """
    seeds, targets = len({seed for _, seed in PLACES}), sorted({target for target, _ in PLACES})
    for method in AGREE:
        card = {
            "title": f"Attacks on '{method}' of two small GANs",
            "note": f"Measured on attributors of generators that ship with Morelli ({', '.join(targets)}; {seeds} "
            "seeds), not on this one. Success among images that were judged rightly before; PSNR is the median. "
            "docs/attacks.md says what it means.",
            "attacks": rows_of(method, seeds),
        }
        name = "attack_card" if method == AGREE[0] else f"attack_card-{method}"
        (HERE / f"{name}.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def rows_of(method: str, seeds: int) -> list[dict[str, Any]]:
    """At 35 and 30 dB, or as the attack comes; gradients at 40 too."""
    rows = []
    for attack in attacks():
        gradient = attack.startswith((GRADIENT, TRANSFER))
        if attack == "nothing" or (gradient and not attack.endswith(f" of {method}")):
            continue
        strengths = [s for s in SHOWN if any(cell(place, attack, s) for place in PLACES)] or ["own"]
        for strength in strengths:
            found = removal(method, attack, strength), forgery(method, attack, strength)
            for aim, share, source in zip(("removal", "forgery"), found, ("own", "photographs"), strict=True):
                if share is not None:
                    low, high = share.wilson()
                    rows.append(
                        {
                            "name": attack,
                            "aim": aim,
                            "psnr": median_psnr(attack, strength, source),
                            "success": round(share.value, 4),
                            "low": round(low, 4),
                            "high": round(high, 4),
                            "samples": share.tried,
                            "note": f"attacker has: {knows(attack)}",
                            "method": method,
                            "knowledge": knows(attack),
                            "seeds": seeds,
                        }
                    )
    return rows


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
    axes[1].legend(fontsize=8, loc="upper right")
    figure.savefig(HERE / "plot.png", dpi=100)
