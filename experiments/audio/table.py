"""Write the tables of this experiment from run-*.json into its README, between the markers.

Run: python experiments/audio/table.py
"""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
FIRST, SECOND = "<!-- tables -->", "<!-- end -->"
METHODS = ("imprint", "spectrum", "raw", "closed form")
GROUPS = ("own", "copy trained on", "sibling", "other architecture", "griffin-lim", "espeak")


def cells(name: str) -> dict:
    file = HERE / f"run-{name.replace(' ', '-')}.json"
    return json.loads(file.read_text())["cells"] if file.exists() else {}


def group(target: str, source: str) -> str:
    if source in GROUPS:
        return source
    if source.endswith("-tuned"):
        return "copy trained on"
    return "sibling" if source.split("-")[0] == target.split("-")[0] else "other architecture"


def gathered(method: str, condition: str, whole: int) -> dict[str, list[float]]:
    """Of each group of sources the attributed shares in percent, a number for every draw, target and source."""
    found: dict[str, list[float]] = {name: [] for name in GROUPS}
    for key, cell in cells(method).items():
        if len(parts := key.split("/")) == 4 and condition in cell:
            found[group(parts[2], parts[3])].append(100 * cell[condition][whole])
    return found


def shown(values: list[float], own: bool) -> str:
    worst = min if own else max
    return f"{sum(values) / len(values):.1f} ({worst(values):.1f})" if values else "–"


def table(rows: list[tuple[str, dict[str, list[float]]]]) -> str:
    lines = ["| attributed, % | " + " | ".join(GROUPS) + " |", "|---" * (len(GROUPS) + 1) + "|"]
    for name, found in rows:
        if any(found.values()):
            values = (shown(found[each], each == "own") for each in GROUPS)
            lines.append("| " + " | ".join((name, *values)) + " |")
    return "\n".join(lines)


def sections() -> str:
    first = next(cell for key, cell in cells("imprint").items() if key.count("/") == 3)
    by_method = [(name, gathered(name, "none", 0)) for name in METHODS]
    parts = ["**Clean files, single windows: mean (worst)**", table(by_method)]
    for whole, what in ((0, "windows of a second"), (1, "whole utterances, three windows or so pooled")):
        rows = [(f"{condition}", gathered("imprint", condition, whole)) for condition in first]
        parts += [f"**imprint, {what}: mean (worst)**", table(rows)]
    return "\n\n".join([*parts, buried(), alone(), inverted(), spoken()])


def buried() -> str:
    names = ("own", "sibling", "other architecture", "espeak")
    lines = [
        "| attributed, % | told from shifted | " + " | ".join(names) + " | own, pooled | sibling | other | espeak |"
    ]
    lines.append("|---" * 10 + "|")
    for run, what in (("faint", ""), ("upright", ", no shifts")):
        found = cells(run)
        for family in ("melgan", "hifigan"):
            for level in dict.fromkeys(key.split("/")[3] for key in found):
                some = [c for key, c in found.items() if key.split("/")[2].startswith(family) and key.endswith(level)]
                if some:
                    apart = f"{100 * sum(c['separated'] for c in some) / len(some):.1f}"
                    values = [shown([100 * c[n][whole] for c in some], n == "own") for whole in (0, 1) for n in names]
                    lines.append(f"| {family}, {level} dB{what} | " + " | ".join((apart, *values)) + " |")
    return "**Vocoders put below the original, windows and pooled: mean (worst)**\n\n" + "\n".join(lines)


def alone() -> str:
    found = {key.split("/")[1]: cell for key, cell in cells("parts").items()}
    if not found:
        return ""
    first = next(iter(found.values()))
    columns = [(target, condition) for target in found for condition in first]
    lines = ["| | " + " | ".join(f"{target}, {condition} dB" for target, condition in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for part in next(iter(first.values())):
        values = (f"{100 * found[target][condition][part]:.1f}" for target, condition in columns)
        lines.append("| " + " | ".join((part, *values)) + " |")
    return (
        "**AUROC against the sibling, %, with parts of the imprint, vocoders put below the original**\n\n"
        + "\n".join(lines)
    )


def inverted() -> str:
    lines = [
        "| target | channels | closed form explains | 20 steps explain | waveform back, dB |",
        "|---|---|---|---|---|",
    ]
    for key, cell in cells("inversion").items():
        back = cell["waveform back from the closed form, dB"]
        shares = (f"{100 * cell[kind]['explained']:.1f} %" for kind in ("closed-form", "steps"))
        lines.append(f"| {key.split('/')[1]} | {cell['channels']} | " + " | ".join(shares) + f" | {back:.0f} |")
    return "**What an inversion recovers of the true activation's variation**\n\n" + "\n".join(lines)


def spoken() -> str:
    found = {key.split("/")[1]: cell for key, cell in cells("vocoders").items()}
    lines = ["| source | log-STFT distance to the original |", "|---|---|"]
    lines += [f"| {name} | {cell['distance']:.2f} ± {cell['spread']:.2f} |" for name, cell in found.items()]
    return "**The vocoders**\n\n" + "\n".join(lines)


def main() -> None:
    readme = HERE / "README.md"
    text = readme.read_text()
    new = f"{FIRST}\n{sections()}\n{SECOND}"
    readme.write_text(re.sub(f"{FIRST}.*{SECOND}", lambda _: new, text, flags=re.S))


if __name__ == "__main__":
    main()
