"""From every `run.json` to the tables and plots of the READMEs, and to docs/paper.md: ours beside the paper's.

Run: python experiments/publish.py
"""

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import paper
import torch
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
FAMILIES = paper.FAMILIES
START, END = "<!-- tables -->", "<!-- end of tables -->"  # of what is written anew in a page
Cells = dict[str, dict]


def cells(name: str) -> Cells:
    file = HERE / name / "run.json"
    return json.loads(file.read_text())["cells"] if file.exists() else {}


def percent(values: list[float]) -> str:
    """Mean ± standard deviation, in percent; a dash where nothing was computed."""
    if not values:
        return "–"
    found = 100 * torch.tensor(values, dtype=torch.float64)
    return f"{found.mean():.1f}" + (f" ± {found.std(correction=0):.1f}" if len(values) > 1 else "")


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def over_sources(row: dict, what: str = "balanced") -> float:
    """The mean of a row {source: scores} over its sources."""
    values = [cell[what] for cell in row.values() if isinstance(cell, dict)]
    return sum(values) / len(values)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def beside(ours: float | None, theirs: float | None) -> str:
    """Ours (the paper's), with a mark where ours is worse."""
    if ours is None:
        return "not run" if theirs is None else f"not run ({theirs:.1f})"
    return f"{100 * ours:.1f}" + ("" if theirs is None else f" ({theirs:.1f}){' ▼' if 100 * ours < theirs else ''}")


# Tables 1, 8–10

GAN_ROWS = (
    "SM-F",
    "SM-Inv₂",
    "SM-Inv_inc",
    "RawPAD",
    "DCTPAD",
    "FLIPAD",
    "FLIPAD, LDA",
    "closed form, LDA",
    "closed form, LDA, turned",
    "closed form, LDA, both",
    "SM-F or closed form",
    "SM-F or closed form, both",
)
DATA = {"celeba64": 0, "clothing64": 1}  # which of the paper's two data sets stands beside ours


def gan_seeds(found: Cells, data: str, target: str, method: str) -> list[dict]:
    keys = [f"{data}/{target}/{method}/{seed}" for seed in range(3)]
    return [found[key] for key in keys if key in found]


def gans() -> str:
    found, texts = cells("gans"), []
    present = [data for data in DATA if any(key.startswith(data) for key in found)]
    for data in present:
        rows, worst = [], []
        for method in GAN_ROWS:
            of = {t: gan_seeds(found, data, t, method) for t in FAMILIES}
            rows.append([method, *(percent([over_sources(s) for s in of[t]]) for t in FAMILIES)])
            pairs = {
                (t, source): mean([s[source]["balanced"] for s in of[t]])
                for t in FAMILIES
                if of[t]
                for source in of[t][0]
            }
            if pairs:
                (target, source), least = min(pairs.items(), key=lambda item: item[1])
                rows[-1].append(f"{100 * least:.1f} ({target} / {source})")
            else:
                rows[-1].append("–")
            worst.append(pairs)
        texts += [f"\n**{data}**: mean over sources ± spread over seeds\n", table(["", *FAMILIES, "worst pair"], rows)]
        texts += [f"\n**{data}**: what a trivial classifier reaches (AUROC of file size / mean colour, in percent)\n"]
        texts += [leaks({t: found[f"{data}/{t}/leaks"] for t in FAMILIES if f"{data}/{t}/leaks" in found})]
    bars(
        "gans",
        {
            data: {
                m: [mean([over_sources(s) for s in gan_seeds(found, data, t, m)]) for t in FAMILIES] for m in GAN_ROWS
            }
            for data in present
        },
    )
    return "\n".join(texts)


def leaks(found: dict[str, dict]) -> str:
    sources = list(dict.fromkeys(source for row in found.values() for source in row))
    rows = [
        [t, *(f"{100 * row[s]['size']:.0f} / {100 * row[s]['colour']:.0f}" if s in row else "–" for s in sources)]
        for t, row in found.items()
    ]
    return table(["target", *sources], rows)


def bars(name: str, panels: dict[str, dict[str, list[float | None]]]) -> None:
    """One panel per data set: methods across, one dot per target."""
    figure, axes = plt.subplots(1, len(panels), figsize=(6 * len(panels), 3.4), layout="constrained", squeeze=False)
    for axis, (title, rows) in zip(axes[0], panels.items(), strict=True):
        for i, values in enumerate(rows.values()):
            for j, (family, value) in enumerate(zip(FAMILIES, values, strict=True)):
                if value is not None:
                    axis.plot(
                        i + 0.12 * (j - 1.5), 100 * value, "o^sD"[j], color=f"C{j}", label=family if i == 0 else ""
                    )
        axis.set_xticks(range(len(rows)), rows, rotation=35, ha="right", fontsize=8)
        axis.axhline(99.75, color="0.7", lw=0.8)
        axis.set(title=title, ylabel="balanced accuracy, %", ylim=(45, 102))
        axis.legend(fontsize=7, loc="lower right")
    save(figure, name)


def save(figure: plt.Figure, name: str) -> None:
    figure.savefig(HERE / name / "plot.png", dpi=100)
    plt.close(figure)


# Tables 2 and 11

SEED_ROWS = ("SM-F", "RawPAD, LDA", "closed form, LDA", "closed form, LDA, turned", "SM-F or closed form")


def of_family(found: Cells, family: str, method: str) -> list[list[float]]:
    """Per target of the family: the balanced accuracies against its siblings."""
    targets = [key for key in found if key.rsplit("-", 1)[0] == family]
    return [[row["balanced"] for row in found[target][method].values()] for target in targets]


def seeds() -> str:
    found = cells("seeds")
    rows, panels = [], {}
    for method in SEED_ROWS:
        of = {family: of_family(found, family, method) for family in FAMILIES}
        texts = [
            percent([mean(t) for t in of[f]]) + (f"; worst {100 * min(map(min, of[f])):.1f}" if of[f] else "")
            for f in FAMILIES
        ]
        rows.append([method, *texts])
        panels[method] = [mean([mean(t) for t in of[f]]) for f in FAMILIES]
    bars("seeds", {"clothing64, five seeds of each architecture": panels})
    leaked = [v for cell in found.values() for row in cell["leaks"].values() for v in row.values()]
    text = "mean over five targets (each against four siblings) ± spread over targets; worst pair\n\n"
    text += table(["", *FAMILIES], rows)
    if leaked:
        text += f"\n\nTrivial classifiers (file size, mean colour) between siblings: AUROC {percent(leaked)}, at most "
        text += f"{100 * max(leaked):.1f} %."
    return text + "\n\n" + third_party()


def third_party() -> str:
    found = json.loads((HERE / "seeds" / "third_party.json").read_text())["cells"]
    targets = list(dict.fromkeys(key.split("/")[0] for key in found))
    of = {t: [cell for key, cell in found.items() if key.split("/")[0] == t] for t in targets}
    rows = [
        [row, *(percent([c[row][w] for c in of[t]]) for t in targets for w in ("balanced", "auroc"))]
        for row in next(iter(found.values()))
        if row != "leaks"
    ]
    leaked = [value for cell in found.values() for value in cell["leaks"].values()]
    text = "**Third-party siblings**: balanced accuracy, AUROC; two draws\n\n"
    head = ["", *(f"{t}, {w}" for t in targets for w in ("balanced", "AUROC"))]
    return text + table(head, rows) + f"\n\nTrivial classifiers there: AUROC at most {100 * max(leaked):.1f} %."


# Tables 3 and 13


def complete(found: Cells) -> list[str]:
    """The targets for which every condition was computed, so that columns compare."""
    return [t for t in FAMILIES if all(f"{t}/{condition}" in found for condition in paper.CONDITIONS)]


def perturbed(found: Cells, method: str, condition: str, what: str = "balanced") -> list[float]:
    """Per target: the mean over sources."""
    return [over_sources(found[f"{target}/{condition}"][method], what) for target in complete(found)]


def perturbations() -> str:
    found = cells("perturbations")
    methods = list(next(iter(found.values()), {}))
    rows = [[m, *(percent(perturbed(found, m, c)) for c in paper.CONDITIONS)] for m in methods]
    ranked = [[m, *(percent(perturbed(found, m, c, "auroc")) for c in paper.CONDITIONS)] for m in methods]
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for i, method in enumerate(methods):
        values = [mean(perturbed(found, method, c)) for c in paper.CONDITIONS]
        axis.plot([100 * v if v is not None else float("nan") for v in values], "o-", color=f"C{i}", label=method)
    for i, (name, values) in enumerate(paper.PERTURBATIONS.items()):
        axis.plot(values[1], ":", color=f"{0.3 + 0.2 * i}", label=f"{name}, paper (LSUN)")
    axis.set_xticks(range(len(paper.CONDITIONS)), paper.CONDITIONS)
    axis.set(ylabel="balanced accuracy, %", ylim=(48, 101.5))
    axis.legend(fontsize=7)
    save(figure, "perturbations")
    head = ["", *paper.CONDITIONS]
    text = f"balanced accuracy: mean over {', '.join(complete(found))} and all sources ± spread over these targets\n\n"
    text += table(head, rows)
    return text + "\n\nAUROC, the same way\n\n" + table(head, ranked)


# Table 12


def little_data() -> str:
    found = cells("little-data")
    names = list(next(iter(found.values()), {}))
    rows, rejected = [], []
    for name in names:
        values = {t: [over_sources(seed) for seed in found[t][name]] for t in FAMILIES if t in found}
        rows.append([name, *(percent(values.get(t, [])) for t in FAMILIES)])
        own = [next(iter(seed.values()))["false_rejection"] for t in found for seed in found[t][name]]
        rejected.append([name, f"{100 * mean(own):.2f}", f"{100 * max(own):.2f}"])
    text = "balanced accuracy: mean over sources ± spread over three choices of the own samples\n\n"
    text += table(["own samples, way", *FAMILIES], rows)
    text += "\n\nfalse rejections of 1,000 fresh own samples, in percent (promised: 0.5)\n\n"
    if names:
        figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
        for i, way in enumerate(dict.fromkeys(name.split(", ", 1)[1] for name in names)):
            points = [(int(n.split(",")[0]), r) for n, r in zip(names, rows, strict=True) if n.split(", ", 1)[1] == way]
            for j, _ in enumerate(FAMILIES):
                line = [(n, float(r[j + 1].split(" ")[0])) for n, r in points if r[j + 1] != "–"]
                if line:
                    label = way if j == 0 else ""
                    axis.plot(*zip(*line, strict=True), "o^sD"[j] + "-", color=f"C{i}", label=label, ms=4)
        axis.set(xlabel="own samples in all", ylabel="balanced accuracy, %")
        axis.legend(fontsize=7)
        save(figure, "little-data")
    return text + table(["", "mean", "largest"], rejected)


# Appendix H


def weights() -> str:
    found = cells("lambda")
    rows = []
    for solver in ("20 steps", "gap 5 %"):
        for weight in paper.WEIGHTS:
            row = [f"{solver}, {weight:g}"]
            for target in FAMILIES:
                cell = found.get(f"{solver}/{target}/{weight:g}")
                if cell is None:
                    row.append("–")
                    continue
                balanced = over_sources(cell)
                row.append(f"{100 * balanced:.1f} (gap {cell['gap']:.2g}, {100 * cell['moved']:.0f} % moved)")
            rows.append(row)
    figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for solver, style in (("20 steps", "o-"), ("gap 5 %", "s--")):
        for j, target in enumerate(FAMILIES):
            of = {w: found.get(f"{solver}/{target}/{w:g}") for w in paper.WEIGHTS}
            line = [(w, 100 * over_sources(c)) for w, c in of.items() if c]
            if line:
                axis.semilogx(*zip(*line, strict=True), style, color=f"C{j}", label=f"{target}, {solver}")
    axis.set(xlabel="weight of the lasso", ylabel="balanced accuracy, %")
    axis.legend(fontsize=7)
    save(figure, "lambda")
    return table(["inversion, weight", *FAMILIES], rows)


# Table 6


def runtime() -> str:
    found = cells("runtime")
    if "SM-F" not in found:
        return ""
    base = found["SM-F"]["extraction"]
    minutes = paper.MINUTES
    rows = []
    for method, cell in found.items():
        theirs = minutes.get(method)
        ratio = "–" if theirs is None else f"{theirs[0] / minutes['SM-F'][0]:.2f}"
        ours = [f"{cell['extraction']:.2f}", f"{cell['extraction'] / base:.2f}", ratio, f"{cell['fit']:.1f}"]
        rows.append([method, *ours, "–" if theirs is None else f"{60 * theirs[1]:.0f}"])
    figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
    axis.barh(list(found), [cell["extraction"] / base for cell in found.values()])
    axis.set_xscale("log")
    axis.axvline(1, color="0.6", lw=0.8)
    axis.set(xlabel="seconds per 1,000 samples, as a ratio to SM-F")
    axis.invert_yaxis()
    save(figure, "runtime")
    head = [
        "method",
        "features, s per 1,000",
        "ratio to SM-F",
        "the paper's ratio",
        "fit, s",
        "the paper's fit, s (A40)",
    ]
    starts = json.loads((HERE / "runtime" / "run.json").read_text()).get("starts", {})
    text = "\n\nWhere SM-Inv's search starts: three restarts of 40 steps, 85 own and 85 EBGAN images of clothes\n\n"
    text += table(["start", *next(iter(starts.values()), {})], [[n, *map(str, v.values())] for n, v in starts.items()])
    return table(head, rows) + text


def activations() -> str:
    rows = []
    for target, cell in cells("activations").items():
        for method, values in cell.items():
            far = values["distance of the means, in own spreads"]
            rows.append(
                [
                    f"{target}, {method}",
                    f"{values['correlation with the true activations']:.2f}",
                    f"{100 * values['positive, true']:.0f} / {100 * values['positive, recovered']:.0f}",
                    ", ".join(f"{name} {value:.2f}" for name, value in far.items()),
                ]
            )
    head = ["", "correlation with the truth", "positive, true / recovered, %", "distance of the means, in own spreads"]
    return table(head, rows)


# docs/paper.md


def beside_the_paper() -> str:
    texts = []
    found = cells("gans")
    for data, position in DATA.items():
        rows = []
        for method in GAN_ROWS:
            theirs = paper.GANS.get(method) or (paper.GANS["FLIPAD"] if "LDA" in method or " or " in method else None)
            row = [method]
            for i, target in enumerate(FAMILIES):
                ours = mean([over_sources(s) for s in gan_seeds(found, data, target, method)])
                row.append(beside(ours, theirs[position][i] if theirs else None))
            rows.append(row)
        name = ("CelebA", "LSUN")[position]
        texts += [f"\n### Table 1: {data} ({name} in the paper)\n", table(["", *FAMILIES], rows)]
    rows = []
    for method in SEED_ROWS:
        theirs = paper.SEEDS.get(method.split(",")[0]) or (paper.SEEDS["FLIPAD"] if method != "SM-F" else None)
        row = [method]
        for i, family in enumerate(FAMILIES):
            ours = mean([mean(t) for t in of_family(cells("seeds"), family, method)])
            row.append(beside(ours, theirs[1][i] if theirs else None))
        rows.append(row)
    texts += ["\n### Table 2: other seeds (LSUN in the paper)\n", table(["", *FAMILIES], rows)]
    rows, found = [], cells("perturbations")
    for method in next(iter(found.values()), {}):
        theirs = paper.PERTURBATIONS["RawPAD" if method.startswith("RawPAD") else "FLIPAD"][1]
        ours = [mean(perturbed(found, method, c)) for c in paper.CONDITIONS]
        rows.append([method, *(beside(o, t) for o, t in zip(ours, theirs, strict=True))])
    texts += ["\n### Table 3: perturbed, immunised (LSUN in the paper)\n", table(["", *paper.CONDITIONS], rows)]
    rows, found = [], cells("little-data")
    for name in next(iter(found.values()), {}):
        theirs = paper.LITTLE_DATA[1000][1]
        ours = [mean([over_sources(s) for s in found[t][name]]) if t in found else None for t in FAMILIES]
        rows.append([name, *(beside(o, t) for o, t in zip(ours, theirs, strict=True))])
    texts += ["\n### Table 12: little data (LSUN with 1,000 own samples in the paper)\n"]
    texts += [table(["own samples in all, way", *FAMILIES], rows)]
    return "\n".join(texts)


PAGES: dict[str, Callable[[], str]] = {
    "gans/README.md": gans,
    "seeds/README.md": seeds,
    "perturbations/README.md": perturbations,
    "little-data/README.md": little_data,
    "lambda/README.md": weights,
    "runtime/README.md": runtime,
    "activations/README.md": activations,
    "../docs/paper.md": beside_the_paper,
}


def main() -> None:
    for name, make in PAGES.items():
        page = HERE / name
        before, _, rest = page.read_text().partition(START)
        page.write_text(f"{before}{START}\n\n{make()}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
