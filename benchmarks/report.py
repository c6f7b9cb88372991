"""How the inversion benchmark's figures are kept and shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table

END = "PaperFista's end"  # the goal: at least as accurate as PaperFista after its last step
STOP = "PaperFista's stop"  # or where its own stopping rule holds, if that is earlier
GAPS = {"gap 2 %": 0.02, "gap 1 %": 0.01}  # certified goals for every sample, from the loosest


@dataclass(frozen=True)
class Row:
    """A solver at a goal.

    Attributes:
        reached: where not, everything is that of the step limit, and the seconds are a bound from below.
        images: that were timed (table rows in the dense case); steps: mean.
        seconds: of every repeat; times `scale` they are those of all steps, where only a few were timed.
        seconds_per_image: their median, without set-up; setup_seconds: once per map.
        times_floor: seconds per step and image over the higher floor of this machine.
        suboptimality: mean (P − P*)/P* of the known samples. gap: largest certified one, gap_median: median of all.
        peak_bytes: most memory held beyond that before, in a solve; setup_peak_bytes: in the set-up.
        ratio_to_paper, ratio_to_fista: their seconds per image to the same goal over these; above 1 is faster.
        at_least: ratios that are only bounds from below, since the other did not get there.
    """

    case: str
    solver: str
    goal: str
    reached: bool
    images: int
    seconds: list[float]
    seconds_per_image: float
    setup_seconds: float = 0.0
    scale: float = 1.0
    steps: float | None = None
    seconds_per_step_and_image: float | None = None
    times_floor: float | None = None
    suboptimality: float | None = None
    gap: float | None = None
    gap_median: float | None = None
    setup_peak_bytes: int | None = None
    peak_bytes: int | None = None
    ratio_to_paper: float | None = None
    ratio_to_fista: float | None = None
    at_least: tuple[str, ...] = ()


def with_ratios(rows: list[Row], rivals: dict[str, str] | None = None) -> list[Row]:
    """`rivals`: the field of the ratio → the solver it is to."""
    rivals = rivals or {"ratio_to_paper": "PaperFista", "ratio_to_fista": "FISTA, step 1/L"}
    times = {(row.solver, row.goal): row for row in rows}

    def rated(row: Row) -> Row:
        found = {field: times.get((solver, row.goal)) for field, solver in rivals.items()}
        known = {field: other for field, other in found.items() if other is not None and row.reached}
        ratios: dict[str, Any] = {k: other.seconds_per_image / row.seconds_per_image for k, other in known.items()}
        return replace(row, **ratios, at_least=tuple(field for field, other in known.items() if not other.reached))

    return [rated(row) for row in rows]


COLUMNS: tuple[str, ...] = ("images", "steps", "ms/image", "µs/step·image", "× floor", "set-up s", "MB set-up")
COLUMNS += ("MB solve", "(P−P*)/P*", "gap", "× PaperFista", "× FISTA")


def table(rows: list[Row]) -> Table:
    made = Table("case", "solver", "goal", title="Inversion: time per image to the same goal, set-up apart")
    for column in COLUMNS:
        made.add_column(column, justify="right")
    for k, row in enumerate(rows):
        step = row.seconds_per_step_and_image
        peaks = [None if peak is None else peak / 1e6 for peak in (row.setup_peak_bytes, row.peak_bytes)]
        cells = [short(row.images), short(row.steps), ("" if row.reached else ">") + short(1e3 * row.seconds_per_image)]
        cells += map(short, (None if step is None else 1e6 * step, row.times_floor, row.setup_seconds, *peaks))
        cells += map(short, (row.suboptimality, row.gap))
        for field in ("ratio_to_paper", "ratio_to_fista"):
            cells.append((">" if field in row.at_least else "") + short(getattr(row, field)))
        last = k + 1 == len(rows) or rows[k + 1].case != row.case
        made.add_row(row.case, row.solver, row.goal, *cells, end_section=last)
    return made


def short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def sentences(facts: dict[str, Any]) -> list[str]:
    """On one case."""
    paper, floor, truth = facts["paper"], facts["floor"], facts["truth"]
    largest, smallest = facts["conditioning"]["largest"], facts["conditioning"]["smallest"]
    least = f"smallest {smallest:.3g}" if smallest is not None else "smallest not computed"
    lines = [
        f"{facts['case']}: {facts['title']}, {facts['origin']}; {facts['images']} images, weight {facts['weight']}."
    ]
    lines.append(f"  Eigenvalues of map·adjoint: largest {largest:.4g}, {least}.")
    lines.append(f"  P* of {facts['known']} by {truth['by']}, at most {truth['width']:.1g} low.")
    if "not_applicable" in paper:
        lines.append(f"  PaperFista does not apply: {paper['not_applicable']}")
    else:
        rule, fewer = "its own rule never held", ""
        if paper["own_rule"]:
            at = paper["own_rule"]
            rule = f"its own rule would stop it after {at['steps']}, at (P−P*)/P* = {at['suboptimality']:.3g}"
        if paper["steps"] < paper["published_steps"]:
            fewer = f", where the paper takes {paper['published_steps']}"
        times = paper["step_1_over_L"] / paper["step"]
        lines.append(f"  PaperFista: {paper['steps']} steps{fewer}; {rule}. 1/L is {times:.3g} × its step.")
    lines.append(
        f"  {floor['flop_per_step'] / 1e6:.3g} MFLOP a step; {floor['gemm_flop_per_second'] / 1e9:.3g} GFLOP/s and "
        f"{floor['copy_bytes_per_second'] / 1e9:.3g} GB/s here: floors {floor['arithmetic_seconds'] * 1e6:.3g} and "
        f"{floor['bandwidth_seconds'] * 1e6:.3g} µs a step and image."
    )
    return lines


def growth(entry: dict[str, Any]) -> str:
    """On one size of the scaling."""
    memory = entry["peak_bytes_per_megapixel"]
    held = "unknown" if memory is None else f"{memory / 1e6:.0f} MB"
    return (
        f"PDHG, 3×3, 32 → 3 at {entry['side']}²: {entry['seconds_per_step_and_megapixel']:.3g} s a step and megapixel, "
        f"set-up {entry['setup_seconds']:.3g} s ({entry['factor']}), memory {held} a megapixel."
    )


def thousand_sentence(found: dict[str, Any]) -> str:
    return (
        f"1,000 images of 64² ({found['title']}), tolerance {found['tolerance']}: "
        f"{found['seconds_per_1000_images']:.3g} s, scaled from {found['images_measured']} in "
        f"{found['seconds_measured']:.3g} s; median gap {found['gap_median']:.2g}, {found['steps_mean']:.0f} steps."
    )
