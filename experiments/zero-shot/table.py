"""Write the tables and the plot of this experiment from run.json into its README, between the markers.

Run: python experiments/zero-shot/table.py
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
GROUPS = {
    "families": "Families: other architectures, training or data",
    "seeds": "Seeds: five of each of four small GANs",
}
MEASURES = (
    ("accuracy", "1:N accuracy, %", "accuracy interval"),
    ("oscr", "open set, OSCR, %", ""),
    ("verification auc", "1:1, AUC, %", "verification interval"),
)
FIRST, SECOND = "<!-- tables -->", "<!-- end -->"


def main() -> None:
    cells = json.loads((HERE / "run.json").read_text())["cells"]
    parts = []
    for group, title in GROUPS.items():
        models = len(next(cell for key, cell in cells.items() if key.startswith(group + "/"))["by model"])
        for measure in MEASURES:
            parts.append(f"**{title}; {models} models; {measure[1]}**\n\n{table(cells, group, *measure)}")
    parts.append(f"**Identified at a promised rate of 5 %, %; half of the models are enrolled**\n\n{promises(cells)}")
    readme = HERE / "README.md"
    text = re.sub(
        f"{FIRST}.*{SECOND}", f"{FIRST}\n" + "\n\n".join(parts) + f"\n{SECOND}", readme.read_text(), flags=re.S
    )
    readme.write_text(text)
    plot(cells)


def table(cells: dict, group: str, measure: str, title: str, interval: str) -> str:
    keys = [key.split("/", 2) for key in cells if key.startswith(group + "/")]
    conditions, methods = (list(dict.fromkeys(key[i] for key in keys)) for i in (1, 2))
    lines = [row("", ("8 bits" if c == "none" else c for c in conditions)), "|---" * (len(conditions) + 1) + "|"]
    for method in methods:
        values = []
        for condition in conditions:
            cell = cells[f"{group}/{condition}/{method}"]
            shown = f"{100 * cell[measure]:.1f}"
            if interval and condition == conditions[0]:
                shown += f" ({100 * cell[interval][0]:.0f}–{100 * cell[interval][1]:.0f})"
            values.append(shown)
        lines.append(row(method, values))
    return "\n".join(lines)


def promises(cells: dict) -> str:
    lines = [row("", ("of unknown models", "of known ones", "rightly")), "|---" * 4 + "|"]
    for key, cell in cells.items():
        if key.startswith("promise/"):
            _, condition, size = key.split("/")
            name = f"{'8 bits' if condition == 'none' else condition}, {size} at once"
            shares = ("identified, of unknown models", "identified, of known models", "rightly")
            lines.append(row(name, (f"{100 * cell[share]:.0f}" for share in shares)))
    return "\n".join(lines)


def row(first: str, values: Iterable[str]) -> str:
    return "| " + " | ".join((first, *values)) + " |"


def plot(cells: dict) -> None:
    """Accuracy of every model, by method, clean."""
    found = {key.split("/", 2)[2]: cell["by model"] for key, cell in cells.items() if key.startswith("families/none/")}
    names = list(next(iter(found.values())))
    figure, axis = plt.subplots(figsize=(9, 0.32 * len(found) + 2.6), layout="constrained")
    image = axis.imshow([[100 * by[name] for name in names] for by in found.values()], vmin=0, vmax=100, cmap="viridis")
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    axis.set_yticks(range(len(found)), found, fontsize=8)
    for y, by in enumerate(found.values()):
        for x, name in enumerate(names):
            value = 100 * by[name]
            axis.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=7, color="w" if value < 60 else "k")
    figure.colorbar(image, label="queries identified, %", shrink=0.8)
    axis.set_title("1:N, 10 enrolled images each, 8 bits alone", fontsize=10)
    figure.savefig(HERE / "plot.png", dpi=110)


if __name__ == "__main__":
    main()
