"""Write the tables and the plot of this experiment from run-*.json into its README, between the markers.

Run: python experiments/imprint/table.py
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
FIRST, SECOND = "<!-- tables -->", "<!-- end -->"
TOGETHER, NONE = ", 4 together", "not run yet"


def cells(name: str) -> dict:
    file = HERE / f"run-{name}.json"
    return json.loads(file.read_text())["cells"] if file.exists() else {}


def kin(target: str, other: str) -> bool:
    """One architecture and one data set."""
    return (other.rsplit("-", 1)[0] == target.rsplit("-", 1)[0] and "-" in other) or {target, other} <= {
        "celeba64_vae",
        "celeba64_betavae",
    }


def balanced(found: dict, target: str, *, siblings: bool) -> list[float]:
    """In percent, of each pair."""
    if target.startswith("faces"):
        others = [] if siblings else [n for n in found if n != "own"]
    else:
        others = [n for n in found if n != "own" and kin(target, n) == siblings]
    return [50 * (found["own"] + 1 - found[n]) for n in others]


def spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values):.1f})" if values else "–"


def row(first: str, values: Iterable[str]) -> str:
    return "| " + " | ".join((first, *values)) + " |"


def by_condition() -> str:
    found = {key.split("/", 1)[1]: cell for key, cell in cells("imprint").items()}
    conditions = [c for c in next(iter(found.values())) if isinstance(next(iter(found.values()))[c], dict)]
    conditions = [c for c in conditions if c != "separated" and not c.endswith(TOGETHER)]
    lines = [
        row("", ("own attributed", "siblings", "other sources", "own, 4 together", "siblings", "others")),
        "|---" * 7 + "|",
    ]
    for condition in conditions:
        values = []
        for name in (condition, condition + TOGETHER):
            own = [100 * cell[name]["own"] for cell in found.values()]
            values.append(f"{sum(own) / len(own):.1f} ({min(own):.1f})")
            for siblings in (True, False):
                values.append(
                    spread([b for t, cell in found.items() for b in balanced(cell[name], t, siblings=siblings)])
                )
        lines.append(row(condition, values))
    return "\n".join(lines)


def by_target() -> str:
    lines = [
        row("", ("8 bits: siblings", "others", "JPEG 80: siblings", "others", "noise 0.1: siblings", "others", "s")),
        "|---" * 8 + "|",
    ]
    for key, cell in cells("imprint").items():
        target = key.split("/", 1)[1]
        values = [
            spread(balanced(cell[c], target, siblings=s))
            for c in ("none", "jpeg:80", "noise:0.1")
            for s in (True, False)
        ]
        lines.append(row(target, (*values, f"{cell['seconds']:.0f}")))
    return "\n".join(lines)


def whole() -> str:
    """By imprints alone, and made again by the whole generator, too: the same targets and images."""
    ours = {key.split("/", 1)[1]: cell for key, cell in cells("imprint").items()}
    found = {key.split("/", 1)[1]: cell for key, cell in cells("whole").items() if key.split("/", 1)[1] in ours}
    if not found:
        return NONE
    four = f"siblings{TOGETHER}"
    lines = [row("alone; made again", ("own attributed", "siblings", "other sources", four)), "|---" * 5 + "|"]
    conditions = [c for c in next(iter(found.values())) if c not in ("seconds", "separated") and TOGETHER not in c]
    for condition in conditions:
        values = ["; ".join(spread([100 * by[t][condition]["own"] for t in found]) for by in (ours, found))]
        for name, siblings in ((condition, True), (condition, False), (condition + TOGETHER, True)):
            pairs = ([b for t in found for b in balanced(by[t][name], t, siblings=siblings)] for by in (ours, found))
            values.append("; ".join(map(spread, pairs)))
        lines.append(row(condition, values))
    lines += ["", row("siblings, alone; made again", found), "|---" * (len(found) + 1) + "|"]
    for condition in conditions:
        each = ((spread(balanced(by[t][condition], t, siblings=True)) for by in (ours, found)) for t in found)
        lines.append(row(condition, map("; ".join, each)))
    return "\n".join(lines)


def zoo(made_again: bool = False) -> str:
    """Generators that are no GANs: own attributed, and each foreign source attributed."""
    found = {key.split("/", 1)[1]: cell for key, cell in cells("zoo").items()}
    if made_again:
        again = {key.split("/", 1)[1]: cell for key, cell in cells("whole").items()}
        found = {target: again[target] for target in found if target in again}
    lines = []
    for target, cell in found.items():
        names = [n for n in cell["none"] if n != "own"]
        lines += ["", row(target, ("own", *names)), "|---" * (len(names) + 2) + "|"]
        for condition in (c for c in cell if c not in ("seconds", "separated") and TOGETHER not in c):
            lines.append(row(condition, (f"{100 * cell[condition][n]:.1f}" for n in ("own", *names))))
    return "\n".join(lines).strip() or NONE


def upright() -> str:
    """The targets with hard siblings, once more without the search over orientations."""
    found = {key.split("/", 1)[1]: cell for key, cell in cells("upright").items()}
    ours = {key.split("/", 1)[1]: cell for key, cell in cells("imprint").items()}
    conditions = [c for c in next(iter(found.values()), {}) if c not in ("seconds", "separated") and TOGETHER not in c]
    lines = [row("any orientation; upright only", found), "|---" * (len(found) + 1) + "|"]
    for condition in conditions:
        values = [
            "; ".join(spread(balanced(each[target][condition], target, siblings=True)) for each in (ours, found))
            for target in found
        ]
        lines.append(row(condition, values))
    return "\n".join(lines) if found else NONE


def taught() -> str:
    """Siblings that were not learned from: with nothing, another sibling beside own images turned, or it alone."""
    found, ours = cells("taught"), cells("imprint")
    targets = list(dict.fromkeys(key.split("/")[1] for key in found))
    lines = [row("no sibling; one beside turned ones; one alone", targets), "|---" * (len(targets) + 1) + "|"]
    for condition in (c for c in next(iter(found.values()), {}) if c not in ("seconds", "separated")):
        values = []
        for target in targets:
            both, alone = (found.get(f"taught/{target}/{way}", {}).get(condition) for way in ("both", "alone"))
            judged = {n for n in both if kin(target, n)} | {"own"}
            without = {n: x for n, x in ours[f"imprint/{target}"][condition].items() if n in judged}
            three = [without, *(cell for cell in (both, alone) if cell)]
            values.append("; ".join(spread(balanced(cell, target, siblings=True)) for cell in three))
        lines.append(row(condition, values))
    return "\n".join(line for line in lines if TOGETHER not in line) if found else NONE


def oracle() -> str:
    """Siblings whose own images were learned from."""
    found = {key.split("/", 1)[1]: cell for key, cell in cells("oracle").items()}
    lines = [row("", found), "|---" * (len(found) + 1) + "|"]
    for condition in next(iter(found.values()), {}):
        values = []
        for cell in found.values():
            pairs = cell[condition].values()
            values.append(
                f"{spread([100 * x['balanced'] for x in pairs])}; AUROC {100 * min(x['auroc'] for x in pairs):.1f}"
            )
        lines.append(row(condition, values))
    return "\n".join(lines) if found else NONE


def against() -> str:
    found = {key.split("/", 1)[1]: dict(cell) for key, cell in cells("baselines").items()}
    if not found:
        return NONE
    for key, cell in cells("slow").items():
        found[key.split("/")[1]] |= cell
    ours = {key.split("/", 1)[1]: cell["none"] for key, cell in cells("imprint").items()}
    methods = ["imprint", *next(iter(found.values()))]
    lines = [row("", found), "|---" * (len(found) + 1) + "|"]
    for method in methods:
        values = []
        for target, cell in found.items():
            judged = ours[target] if method == "imprint" else cell.get(method)
            if judged is None:
                values.append("–")
                continue
            values.append(
                f"{spread(balanced(judged, target, siblings=True))}; {spread(balanced(judged, target, siblings=False))}"
            )
        lines.append(row(method, values))
    return "\n".join(lines)


def search() -> str:
    """Attributed by imprint, by a search through the whole generator, and by both; the search's scores."""
    lines = []
    for key, cell in cells("search").items():
        conditions = {c: found for c, found in cell.items() if c != "threshold"}
        names = ["own", *(n for n in next(iter(conditions.values())) if n != "own")]
        title = f"{key.split('/')[1]}, threshold {cell['threshold']:.3f}"
        lines += ["", row(title, names), "|---" * (len(names) + 1) + "|"]
        for condition, found in conditions.items():
            lines.append(row(condition, (searched(found[n]) for n in names)))
    return "\n".join(lines).strip() or NONE


def searched(found: dict) -> str:
    shares = "; ".join(f"{100 * share:.0f}" for share in found["attributed"])
    return f"{shares} ({found['scores'][0]:.3f}–{found['scores'][-1]:.3f}, {found['seconds']:.1f} s)"


def sizes() -> str:
    """Files of other sizes: shares attributed, and inconclusive."""
    found = {key.split("/", 1)[1]: cell for key, cell in cells("sizes").items()}
    lines = []
    for target, cell in found.items():
        names = ["own", *(n for n in next(iter(cell.values())) if n != "own")]
        lines += ["", row(target, names), "|---" * (len(names) + 1) + "|"]
        for kind, shares in cell.items():
            each = ("; ".join(f"{100 * share:.0f}" for share in shares[n].values()) for n in names)
            lines.append(row(kind, each))
    return "\n".join(lines).strip() or NONE


def little() -> str:
    found = cells("little")
    if not found:
        return NONE
    targets = list(dict.fromkeys(key.split("/")[2] for key in found))
    lines = [row("own samples", targets), "|---" * (len(targets) + 1) + "|"]
    for count in sorted({key.split("/")[1] for key in found}, key=int):
        values = []
        for target in targets:
            cell = {n: x for n, x in found.get(f"little/{count}/{target}", {}).items() if n != "seconds"}
            if not cell:
                values.append("–")
                continue
            pairs = balanced(cell, target, siblings=True) + balanced(cell, target, siblings=False)
            values.append(f"{spread(pairs)}; {100 * (1 - cell['own']):.1f}")
        lines.append(row(count, values))
    return "\n".join(lines)


def parts() -> str:
    found = {key.split("/", 1)[1]: cell for key, cell in cells("parts").items()}
    if not found:
        return NONE
    blocks = []
    for condition in next(iter(found.values())):
        lines = [row(condition, found), "|---" * (len(found) + 1) + "|"]
        for part in next(iter(found.values()))[condition]:
            lines.append(row(part, (f"{100 * cell[condition][part]:.1f}" for cell in found.values())))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def plot() -> None:
    """Attributed shares of own samples, siblings and others after everything that may happen."""
    found = {key.split("/", 1)[1]: cell for key, cell in cells("imprint").items()}
    first = next(iter(found.values()))
    conditions = [c for c in first if isinstance(first[c], dict) and "own" in first[c] and not c.endswith(TOGETHER)]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, suffix, title in zip(axes, ("", TOGETHER), ("one image", "four of one source"), strict=True):
        for place, condition in enumerate(conditions):
            groups: dict[str, list[float]] = {"own": [], "siblings": [], "other sources": []}
            for target, cell in found.items():
                for name, share in cell[condition + suffix].items():
                    group = (
                        "own"
                        if name == "own"
                        else "siblings"
                        if kin(target, name) and not target.startswith("faces")
                        else "other sources"
                    )
                    groups[group].append(100 * share)
            for shift, (group, colour) in enumerate(zip(groups, ("tab:green", "tab:red", "tab:blue"), strict=True)):
                values = groups[group]
                x = [place + 0.25 * (shift - 1) + 0.03 * ((i % 5) - 2) for i in range(len(values))]
                axis.plot(x, values, ".", color=colour, alpha=0.6, label=group if place == 0 else None)
        axis.set_xticks(range(len(conditions)), conditions, rotation=45, ha="right")
        axis.set_title(title)
        axis.grid(axis="y", alpha=0.3)
    axes[0].set_ylabel("attributed, %; one dot a pair")
    axes[1].legend(handles=axes[0].lines[:3], loc="center left")
    figure.savefig(HERE / "plot.png", dpi=110)


def main() -> None:
    tables = {
        "Balanced accuracy, %: mean of all pairs, the worst in brackets": by_condition(),
        "By target": by_target(),
        "With the whole generator: balanced accuracy, %": whole(),
        "Other kinds of generators: attributed, %": zoo(),
        "Other kinds of generators, with the whole one: attributed, %": zoo(made_again=True),
        "What the search over orientations costs: siblings of the hard targets": upright(),
        "With a sibling to learn from: other siblings": taught(),
        "An oracle, one orientation: a discriminant that learned from the sibling it judges": oracle(),
        "Against other methods, files as the generators wrote them: siblings; others": against(),
        "Attributed by imprint; by a search through the whole generator; by both, % (scores, time an image)": search(),
        "Files of other sizes: attributed; inconclusive, %": sizes(),
        "Little data, files as the generators wrote them: mean and worst pair; fresh own samples rejected, %": little(),
        "What the parts are worth: AUROC, %, of the harder of two siblings": parts(),
    }
    body = "\n\n".join(f"**{title}**\n\n{table}" for title, table in tables.items() if table != NONE)
    readme = HERE / "README.md"
    text = re.sub(f"{FIRST}.*{SECOND}", lambda _: f"{FIRST}\n{body}\n{SECOND}", readme.read_text(), flags=re.S)
    readme.write_text(text)
    plot()


if __name__ == "__main__":
    main()
