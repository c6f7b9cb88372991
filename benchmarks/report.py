"""How the inversion benchmark's figures are shown."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def table(rows: list[dict]) -> Table:
    made = Table("head", "solver", "goal", *(), title="Inversion, ratios to PaperFista at the same goal")
    for column in (
        "seconds",
        "min",
        "images",
        "(P−P*)/P* ≤",
        "≥",
        "gap",
        "steps",
        "peak MB",
        "ratio",
        "without set-up",
    ):
        made.add_column(column, justify="right")
    for entry in rows:
        peak = entry["peak_bytes"] / 1e6 if entry["peak_bytes"] is not None else None
        numbers = (entry["seconds"], entry["seconds_min"], entry["images"], entry["suboptimality"])
        numbers += (entry["suboptimality_at_least"], entry["gap"], entry["steps"], peak)
        numbers += (entry["ratio_to_paper"], entry["ratio_to_paper_without_setup"])
        made.add_row(entry["head"], entry["solver"], entry["goal"], *map(short, numbers))
    return made


def short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def sentences(facts: dict[str, Any]) -> list[str]:
    lines = [
        f"{facts['head']} ({facts['origin']}): P* is the best dual bound, at most {facts['reference_width']:.1g} low."
    ]
    times = facts["step_1_over_L"] / facts["paper"]["step"]
    lines.append(f"  1/L is {facts['step_1_over_L']:.3g}, {times:.3g} × the published step.")
    if "not_applicable" in facts["paper"]:
        lines.append(f"  PaperFista does not apply: {facts['paper']['not_applicable']}")
    elif not facts["paper"]["own_rule_held"]:
        lines.append("  PaperFista ended at its step limit, not by its own rule.")
    lines.append(
        f"  {facts['flop_per_step'] / 1e6:.3g} MFLOP a step; {facts['gemm_flop_per_second'] / 1e9:.3g} GFLOP/s and "
        f"{facts['copy_bytes_per_second'] / 1e9:.3g} GB/s here: floors {facts['arithmetic_floor_seconds'] * 1e6:.3g} "
        f"and {facts['bandwidth_floor_seconds'] * 1e6:.3g} µs a step and image."
    )
    for name, seconds in facts["seconds_per_step_and_image"].items():
        above, setup = facts["times_above_floor"][name], facts["setup_seconds"].get(name, 0.0)
        lines.append(f"  {name}: {seconds * 1e6:.3g} µs, {above:.3g} × the higher floor; set-up {setup:.3g} s a call.")
    return lines
