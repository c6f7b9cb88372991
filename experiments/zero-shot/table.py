"""Write the tables and the plot of this experiment from run.json into its README, between the markers.

Run: python experiments/zero-shot/table.py
"""

import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
GROUPS = {
    "families": "Families: other architectures, training or data",
    "seeds": "Seeds: five of each of four small GANs",
}
COLUMNS = (
    ("accuracy", "1:N accuracy, %", "accuracy interval"),
    ("macro F1", "macro F1, %", ""),
    ("oscr", "OSCR, %", ""),
    ("verification auc", "1:1 AUC, %", "verification interval"),
)
FIRST, SECOND = "<!-- tables -->", "<!-- end -->"


def main() -> None:
    cells = json.loads((HERE / "run.json").read_text())["cells"]
    parts = []
    for group, title in GROUPS.items():
        keys = [key.split("/", 2) for key in cells if key.startswith(group + "/")]
        models = len(next(cell for key, cell in cells.items() if key.startswith(group + "/"))["by model"])
        for condition in dict.fromkeys(condition for _, condition, _ in keys):
            shown = "8 bits alone" if condition == "none" else condition
            parts.append(f"**{title}; {models} models; {shown}**\n\n{table(cells, f'{group}/{condition}')}")
    readme = HERE / "README.md"
    text = re.sub(
        f"{FIRST}.*{SECOND}", f"{FIRST}\n" + "\n\n".join(parts) + f"\n{SECOND}", readme.read_text(), flags=re.S
    )
    readme.write_text(text)
    plot(cells)


def table(cells: dict, prefix: str) -> str:
    lines = ["| | " + " | ".join(title for _, title, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for key, cell in cells.items():
        if key.startswith(prefix + "/"):
            values = [
                f"{100 * cell[name]:.1f}" + (f" ({100 * cell[i][0]:.0f}–{100 * cell[i][1]:.0f})" if i else "")
                for name, _, i in COLUMNS
            ]
            lines.append(f"| {key.removeprefix(prefix + '/')} | " + " | ".join(values) + " |")
    return "\n".join(lines)


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
