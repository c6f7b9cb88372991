"""The inversion solvers against the published one, on the same problems, maps and threads. See README.md.

python benchmarks/inversion.py [--quick] [--json FILE] [--only NAME ...] [--device cpu|cuda]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from heads import CASES, QUICK, Case, Plan
from machine import describe
from race import measure
from report import growth, sentences, table, thousand_sentence
from rich.console import Console
from scaling import scaling, thousand

EXTRAS = ("scaling", "thousand")


def on(case: Case, device: str) -> Case:
    linear, fidelity = case.problem.map.to(device, torch.float32), case.problem.fidelity.to(device, torch.float32)
    return replace(case, problem=replace(case.problem, map=linear, fidelity=fidelity))


def run(plan: Plan, names: list[str], device: str) -> dict[str, Any]:
    """The whole report; progress goes to stderr."""
    started = time.perf_counter()

    def say(name: str, text: str) -> None:
        print(f"[{time.perf_counter() - started:6.0f} s] {name}: {text}", file=sys.stderr, flush=True)

    report: dict[str, Any] = {"machine": describe(device), "plan": asdict(plan), "cases": [], "rows": []}
    for name in (name for name in CASES if name in names):
        say(name, "head and samples")
        case = on(CASES[name](plan), device)
        facts, rows = measure(name, case, plan, device, partial(say, name))
        report["cases"].append(facts)
        report["rows"] += rows
    if "scaling" in names:
        report["scaling"] = []
        for side in plan.sides:
            say("scaling", f"{side}²")
            report["scaling"].append(scaling(side, device))
    if "thousand" in names:
        say("thousand", f"{plan.thousand} images of 64²")
        report["thousand"] = thousand(plan, device)
    report["seconds"] = time.perf_counter() - started
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes; PaperFista stops earlier than published")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    everything = [*CASES, *EXTRAS]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=everything, help=", ".join(everything))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    given = parser.parse_args()
    plan = QUICK if given.quick else Plan().on(given.device)
    report = run(plan, given.only or everything, given.device)
    screen = Console(width=max(190, Console().width))
    if report["rows"]:
        screen.print(table(report["rows"]))
    lines = [line for facts in report["cases"] for line in sentences(facts)]
    lines += [growth(entry) for entry in report.get("scaling", [])]
    lines += [thousand_sentence(report["thousand"])] if "thousand" in report else []
    lines += [", ".join(f"{name} {value}" for name, value in report["machine"].items())]
    for line in lines:
        screen.print(line, highlight=False, soft_wrap=True)
    if given.json:
        whole = report | {"rows": [asdict(row) for row in report["rows"]], "quick": given.quick}
        given.json.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with torch.no_grad():
        main()
