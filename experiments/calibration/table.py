"""Write the tables and the Tippett plot of this experiment from run.json into its README, between the markers.

Run: python experiments/calibration/table.py
"""

import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from morelli.numerics.likelihood_ratio import Scores
from morelli.numerics.validation import tippett

HERE = Path(__file__).parent
FIRST, SECOND = "<!-- tables -->", "<!-- end -->"
AT = torch.linspace(-2.6, 1.8, 441, dtype=torch.float64)


def row(*values: object) -> str:
    return "| " + " | ".join(map(str, values)) + " |"


def promised(cells: dict, where: str, tested: str) -> list[str]:
    """What calibration said, sources left out in turn, beside what unseen sources gave."""
    population, found = cells["population"]["conditions"][where], cells[tested]
    wrong, seen = population["false_attribution"], found["unseen"].values()
    rate = sum(x["attributed"] for x in seen) / len(seen)
    measures = found["measures"]
    return [
        f"{100 * wrong['rate']:.1f} ({100 * wrong['low']:.1f}–{100 * wrong['high']:.1f}; {wrong['sources']} sources)",
        f"{100 * rate:.1f}",
        f"{100 * (1 - found['own']['attributed']):.1f}",
        f"{10 ** population['lower']:.2g}–{10 ** population['upper']:.2g}",
        f"{population['cllr']:.3f} ({population['cllr_min']:.3f})",
        f"{measures['cllr']:.3f} ({measures['cllr_min']:.3f})",
        f"{100 * measures['misleading_own']:.1f}; {100 * measures['misleading_foreign']:.1f}",
    ]


def validation(cells: dict, targets: list[str], pairs: dict[str, str]) -> str:
    head = ("", "attributed, %: promised (95 %)", "unseen sources", "own rejected, %", "LR bounds")
    lines = [row(*head, "Cllr (least), left out", "unseen sources", "misleading, %: own; unseen"), "|---" * 8 + "|"]
    for target in targets:
        lines += [row(f"{target}, {name}", *promised(cells[target], pairs[name], name)) for name in pairs]
    return "\n".join(lines)


def calibrators(cells: dict, targets: list[str]) -> str:
    kinds = list(cells[f"{targets[0]}/calibrators"])
    lines = [row("Cllr (least; devPAV)", *kinds), "|---" * (len(kinds) + 1) + "|"]
    for target in targets:
        found = cells[f"{target}/calibrators"]
        for where in found[kinds[0]]:
            values = [found[kind][where] for kind in kinds]
            off = ["–" if v["devpav"] is None else f"{v['devpav']:.2f}" for v in values]
            shown = (f"{v['cllr']:.3f} ({v['cllr_min']:.3f}; {d})" for v, d in zip(values, off, strict=True))
            lines.append(row(f"{target}, {where}", *shown))
    return "\n".join(lines)


def queues(cells: dict, targets: list[str], pairs: dict[str, str]) -> str:
    lines = [row("", "samples", "of them own", "called", "of them own"), "|---" * 5 + "|"]
    for target in targets:
        for name in pairs:
            found = cells[target][name]["queue"]
            lines.append(row(f"{target}, {name}", *(found[k] for k in ("samples", "own", "called", "own called"))))
    return "\n".join(lines)


def joined(values: list[list[float]]) -> Scores:
    units = [torch.full((len(v),), i) for i, v in enumerate(values)]
    return Scores(torch.tensor([x for each in values for x in each], dtype=torch.float64), torch.cat(units))


def plot(cells: dict, targets: list[str], pairs: dict[str, str]) -> None:
    """Tippett: shares of own and of foreign samples whose ratio is at least so large."""
    size = (10.5, 2.9 * len(targets))
    figure, axes = plt.subplots(
        len(targets), len(pairs), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for target, line in zip(targets, axes, strict=True):
        for name, axis in zip(pairs, line, strict=True):
            own, foreign = cells[target]["left out"][pairs[name]]
            left_out = tippett(Scores.single(torch.tensor(own)), Scores.single(torch.tensor(foreign)), AT)
            found = cells[target][name]
            fresh = tippett(joined([found["own"]["log10"]]), joined([x["log10"] for x in found["unseen"].values()]), AT)
            for values, style, what in (
                (left_out, "--", "left out in turn"),
                (fresh, "-", "fresh own, unseen sources"),
            ):
                for side, colour in zip(values, ("#1b6ca8", "#c8553d"), strict=True):
                    axis.plot(AT, 100 * side, style, color=colour, label=what if colour == "#1b6ca8" else None)
            axis.axvline(0, color="grey", linewidth=0.8)
            axis.set_title(f"{target}, {name}", fontsize=10)
            axis.grid(alpha=0.25)
    for axis in axes[-1]:
        axis.set_xlabel("log10 LR at least")
    for line in axes:
        line[0].set_ylabel("% of samples")
    axes[0][0].legend(fontsize=8, frameon=False, loc="center")
    figure.savefig(HERE / "plot.png", dpi=110)


def main() -> None:
    content = json.loads((HERE / "run.json").read_text())
    cells, settings = content["cells"], content["settings"]
    targets = [key for key in cells if "/" not in key]
    pairs = dict(zip(("none", "jpeg:80", "noise:0.1"), settings["conditions"], strict=True))
    tables = {
        "Promised by the population, and found on sources that were in neither training nor population": validation(
            cells, targets, pairs
        ),
        "Three calibrators, sources left out in turn": calibrators(cells, targets),
        f"Queues at a false-discovery rate of {settings['fdr']:.0%}: one each": queues(cells, targets, pairs),
    }
    body = "\n\n".join(f"**{title}**\n\n{table}" for title, table in tables.items())
    readme = HERE / "README.md"
    text = re.sub(f"{FIRST}.*{SECOND}", lambda _: f"{FIRST}\n{body}\n{SECOND}", readme.read_text(), flags=re.S)
    readme.write_text(text)
    plot(cells, targets, pairs)


if __name__ == "__main__":
    main()
