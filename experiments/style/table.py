"""From run.json to the tables of README.md. Run: python experiments/style/table.py"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from publish import END, START, percent, table
from run import CONDITIONS, IMPRINTS, ROWS

HERE = Path(__file__).parent
KINDS = {
    "other seed": lambda target, source: source.startswith("style-") and source[6] != target[6],
    "fine-tuned copy": lambda target, source: source == f"{target}-tuned",
    "DCGANs": lambda target, source: source.startswith("dcgan"),
    "photographs": lambda target, source: source == "photographs",
}


CELLS = json.loads((HERE / "run.json").read_text())["cells"]  # of target/draw/what


def row(name: str, condition: str) -> list[str]:
    """Per kind of source: mean and spread over pairs and draws, and the worst."""
    if name in IMPRINTS:
        found = {key: cell[condition] for key, cell in CELLS.items() if key.endswith(f"/{name}")}
    else:
        found = {key: cell[name] for key, cell in CELLS.items() if key.endswith(f"/{condition}")}
    line = []
    for belongs in KINDS.values():
        values = [
            scores["balanced"]
            for key, cell in found.items()
            for source, scores in cell.items()
            if isinstance(scores, dict) and belongs(key.split("/")[0], source)
        ]
        line.append(f"{percent(values)} ({100 * min(values):.1f})" if values else "–")
    return [name, *line, str(len(found))]


def leaks() -> list[str]:
    known = [cell["leaks"] for cell in CELLS.values() if "leaks" in cell]
    values = {
        kind: [pair[kind] for cell in known for n, pair in cell.items() if "style" in n] for kind in ("size", "colour")
    }
    return [f"{kind} {percent(v)}, at most {100 * max(v):.1f}" for kind, v in values.items() if v]


def main() -> None:
    parts = ["Balanced accuracy, %: mean ± spread over targets, sources and draws (worst); at most 99.75"]
    for condition in CONDITIONS:
        rows = [row(name, condition) for name in (*IMPRINTS, *ROWS)]
        parts.append(f"**{condition}**\n\n" + table(["", *KINDS, "cells"], rows))
    parts.append("AUROC of trivial classifiers between siblings: " + "; ".join(leaks()))
    page = HERE / "README.md"
    before, _, rest = page.read_text().partition(START)
    after = rest.partition(END)[2]
    page.write_text(before + START + "\n" + "\n\n".join(parts) + "\n" + END + after)


if __name__ == "__main__":
    main()
