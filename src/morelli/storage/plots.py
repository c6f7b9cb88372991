"""Plots as inline SVG: sharp on paper, in the page's own type and colours, the same bytes on every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
from numpy.typing import NDArray

from morelli.numerics.likelihood_ratio import Scores
from morelli.numerics.validation import tippett

Values = NDArray[np.floating]

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 34, 44
BINS = 40
COLOURS = {"own": "#1b6ca8", "other": "#b4472c", "ink": "#1c2126", "quiet": "#5a6570", "faint": "#d5dade"}
SHADE = {"own": "stroke:#1b6ca8;fill:#1b6ca8;fill-opacity:.25", "other": "stroke:#b4472c;fill:none"}


@dataclass(frozen=True)
class Frame:
    """From data to the drawing, with linear axes."""

    low: float
    high: float
    top: float

    def x(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (inside - self.low) / (self.high - self.low), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top, 1)


def score_plot(
    own: Values,
    other: tuple[str, Values] | None,
    marks: Sequence[float],
    *,
    threshold: float | None,
    unit: str,
    what: str,
) -> str:
    """Held-out own scores as a filled histogram, others outlined, a line for each marked score.

    Every histogram adds up to one. What lies far out is drawn at the edge, and its mark says how far.

    Args:
        other: what else is shown, and its scores. threshold: None where there is not one for all. unit: of the axis.
        what: for those who cannot see it.
    """
    groups = [] if other is None or not len(other[1]) else [other]
    end = float(own.max()) if threshold is None else max(float(own.max()), threshold)
    reach = end - float(own.min()) or 1.0
    low, high = float(own.min()) - 0.1 * reach, end + 1.2 * reach
    if groups:
        low = min(low, max(float(np.quantile(groups[0][1], 0.02)), low - reach))
    if marks:
        low = min(low, max(min(marks), low - reach))
    edges = np.linspace(low, high, BINS + 1)
    shares = [_shares(values, edges) for values in (own, *(values for _, values in groups))]
    frame = Frame(low, high, (1.25 if marks else 1.1) * max(share.max() for share in shares))
    drawn = [_steps(share, edges, frame, kind) for share, kind in zip(shares, ("own", "other"), strict=False)]
    if threshold is not None:
        drawn.append(_upright(frame, threshold, "dashed"))
    drawn += [_upright(frame, mark, "mark") for mark in marks]
    if len(marks) == 1:
        drawn.append(_flag(frame, marks[0]))
    legend = [("own", "own, held out"), *(("other", name) for name, _ in groups)]
    if threshold is not None:
        legend.append(("dashed", f"threshold {threshold:.4g}"))
    return _drawing([*drawn, *_axes(frame, unit, "share")], legend, what)


def tippett_plot(own: Scores, foreign: Scores, mark: float | None, what: str) -> str:
    """Of each log10 likelihood ratio, the weighed share of own and of foreign samples whose own is no smaller."""
    at = torch.cat([own.values, foreign.values]).double().unique()
    both = np.append(at.numpy(), [] if mark is None else mark)
    low, high = min(-1.0, float(both.min())) - 0.2, max(1.0, float(both.max())) + 0.2
    frame = Frame(low, high, 1.2)
    drawn = [_upright(frame, 0.0, "zero")]
    for shares, kind in zip(tippett(own, foreign, at), ("own", "other"), strict=True):
        xs = np.concatenate([[low], np.repeat(at.numpy(), 2), [high]])
        ys = np.repeat(np.append(shares.numpy(), 0.0), 2)
        points = " ".join(f"{frame.x(x)},{frame.y(y)}" for x, y in _thinned(xs, ys))
        drawn.append(f'<polyline class="{kind} line" points="{points}" style="stroke:{COLOURS[kind]};fill:none"/>')
    if mark is not None:
        drawn += [_upright(frame, mark, "mark"), _flag(frame, mark)]
    legend = [("own", "own samples"), ("other", "samples of other sources")]
    return _drawing([*drawn, *_axes(frame, "log10 likelihood ratio", "share at least as large")], legend, what)


def _shares(values: Values, edges: Values) -> Values:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return counts / max(1, len(values))


def _thinned(xs: Values, ys: Values) -> list[tuple[float, float]]:
    """Corners alone: of a level stretch its ends."""
    level = np.abs(np.diff(ys)) < 1e-9
    corner = np.concatenate([[True], ~(level[:-1] & level[1:]), [True]])
    return list(zip(xs[corner].tolist(), ys[corner].tolist(), strict=True))


def _steps(shares: Values, edges: Values, frame: Frame, kind: str) -> str:
    points = [f"M{frame.x(float(edges[0]))},{frame.y(0)}"]
    for share, right in zip(shares.tolist(), edges[1:].tolist(), strict=True):
        points.append(f"V{frame.y(share)}H{frame.x(right)}")
    return f'<path class="{kind}" d="{"".join(points)}V{frame.y(0)}" style="{SHADE[kind]};stroke-width:1.5"/>'


def _upright(frame: Frame, value: float, kind: str) -> str:
    x, dashes = frame.x(value), ";stroke-dasharray:5 4" if kind == "dashed" else ""
    width, colour = (2.2, COLOURS["ink"]) if kind == "mark" else (1.2, COLOURS["quiet"])
    style = f"stroke:{colour};stroke-width:{width}{dashes}"
    return f'<line class="{kind}" x1="{x}" y1="{TOP}" x2="{x}" y2="{HEIGHT - BOTTOM}" style="{style}"/>'


def _flag(frame: Frame, value: float) -> str:
    """The marked value in figures, with an arrow where it lies beyond the frame."""
    x = frame.x(value)
    text = f"{value:.4g}"
    text = f"{text} →" if value > frame.high else f"← {text}" if value < frame.low else text
    right = x > (LEFT + WIDTH - RIGHT) / 2
    anchor, at = ("end", x - 5) if right else ("start", x + 5)
    return _text(f"this sample: {text}", at, TOP + 12, anchor, "ink", bold=True)


def _axes(frame: Frame, below: str, beside: str) -> list[str]:
    floor, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    style = f"stroke:{COLOURS['quiet']};stroke-width:1"
    found = [f'<line class="axis" x1="{LEFT}" y1="{floor}" x2="{end}" y2="{floor}" style="{style}"/>']
    for value in _ticks(frame.low, frame.high):
        x = frame.x(value)
        found.append(f'<line class="axis" x1="{x}" y1="{floor}" x2="{x}" y2="{floor + 4}" style="{style}"/>')
        found.append(_text(f"{value:g}", x, floor + 17, "middle"))
    for value in _ticks(0, frame.top, 4):
        found.append(_text(f"{value:g}", LEFT - 6, frame.y(value) + 4, "end"))
    found.append(_text(below, (LEFT + end) / 2, HEIGHT - 6, "middle"))
    turn = f'transform="rotate(-90 12 {(TOP + floor) / 2})"'
    return [*found, _text(beside, 12, (TOP + floor) / 2, "middle", more=turn)]


def _ticks(low: float, high: float, count: int = 6) -> list[float]:
    raw = (high - low) / count
    size = 10 ** np.floor(np.log10(raw))
    step = float(size * next(k for k in (1, 2, 2.5, 5, 10) if k * size >= raw * 0.999))
    first = int(np.ceil(low / step - 1e-9))
    return [round(k * step, 10) + 0.0 for k in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _text(
    text: str, x: float, y: float, anchor: str, colour: str = "quiet", *, bold: bool = False, more: str = ""
) -> str:
    style = f"fill:{COLOURS[colour]};font-size:13px" + (";font-weight:600" if bold else "")
    at = f'class="{colour}" x="{x:g}" y="{y:g}" text-anchor="{anchor}" {more}'
    return f'<text {at} style="{style}">{escape(text)}</text>'


def _drawing(drawn: Sequence[str], legend: Sequence[tuple[str, str]], what: str) -> str:
    keys, at = [], float(LEFT)
    for kind, name in legend:
        colour = COLOURS.get(kind, COLOURS["quiet"])
        dashes = ";stroke-dasharray:5 4" if kind == "dashed" else ""
        style = f"stroke:{colour};stroke-width:2.5{dashes}"
        keys.append(f'<line class="{kind} line" x1="{at:g}" y1="12" x2="{at + 18:g}" y2="12" style="{style}"/>')
        keys.append(_text(name, at + 23, 16, "start"))
        at += 37 + 6.9 * len(name)
    return (
        f'<svg class="plot" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'aria-label="{escape(what, quote=True)}">{"".join([*keys, *drawn])}</svg>'
    )
