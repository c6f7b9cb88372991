"""Writes the tables of README.md from run.json.

Run: python experiments/precision/table.py
"""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
OWN = ("float32", "bf16", "fp16", "int8 weights", "int8 static", "compiled", "onnxruntime", "ψ 1.0", "ψ 0.7", "ψ 0.5")


def spread(values: list[float]) -> str:
    """Mean, and the least and most in brackets."""
    mean, low, high = (100 * x for x in (sum(values) / len(values), min(values), max(values)))
    return f"{mean:.1f} ({low:.1f}–{high:.1f})"


def tables() -> str:
    cells = json.loads((HERE / "run.json").read_text())["cells"]
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    levels: dict[str, list[float]] = {}
    for key, cell in cells.items():
        _, method, trained = key.split("/")
        rows.setdefault((method, trained), []).append(cell["attributed"])
        for way, level in cell["grey levels"].items():
            levels.setdefault(way, []).append(level)
    lines = ["| | grey levels from float32 |" + "".join(f" {m}, ψ {t} |" for m, t in rows)]
    lines += [
        "|---" * (len(rows) + 2) + "|",
        "| generators | |" + "".join(f" {len(found)} |" for found in rows.values()),
    ]
    for way in OWN:
        apart = f"{sum(levels[way]) / len(levels[way]):.2f}" if way in levels else ""
        shares = "".join(f" {spread([f[way] for f in found])} |" for found in rows.values())
        lines.append(f"| {way} | {apart} |{shares}")
    for name, wanted in (("siblings", ""), ("siblings, bf16", "bf16"), ("siblings, ψ 0.5", "ψ 0.5")):
        kinds = [k for k in rows[next(iter(rows))][0] if k not in OWN and k.partition(", ")[2] == wanted]
        shares = "".join(f" {spread([f[k] for f in found for k in kinds])} |" for found in rows.values())
        lines.append(f"| {name} | |{shares}")
    return "\n".join(lines)


if __name__ == "__main__":
    page = HERE / "README.md"
    text = re.sub(
        r"(<!-- tables -->\n).*?(\n<!-- end)", lambda m: f"{m[1]}\n{tables()}\n{m[2]}", page.read_text(), flags=re.S
    )
    page.write_text(text)
