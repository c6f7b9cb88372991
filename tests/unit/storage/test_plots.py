"""Plots: sound XML, everything inside the frame, what is far out named, and the same text on every run."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from morelli.numerics.likelihood_ratio import Scores
from morelli.storage.plots import HEIGHT, WIDTH, score_plot, tippett_plot

OWN = np.linspace(-1.0, 1.0, 100)
FAR = np.linspace(5.0, 50.0, 200)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


@pytest.mark.parametrize("mark", [-80.0, 0.0, 1.9, 400.0])
def test_scores_stay_inside_the_frame(mark: float) -> None:
    svg = score_plot(OWN, ("others", FAR), [mark], threshold=1.5, unit="score", what="a <plot>")
    assert svg == score_plot(OWN, ("others", FAR), [mark], threshold=1.5, unit="score", what="a <plot>")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "a <plot>"
    for key, limit in (("x", WIDTH), ("x1", WIDTH), ("x2", WIDTH), ("y", HEIGHT), ("y1", HEIGHT), ("y2", HEIGHT)):
        assert all(0 <= float(each.get(key, 0)) <= limit for each in root.iter())
    for path in root.iter("path"):
        across = [float(x) for x in re.findall(r"[HM](-?[\d.]+)", path.get("d") or "")]
        assert across == sorted(across)
        assert min(across) >= 0 and max(across) <= WIDTH
    flag = next(text for text in texts(svg) if text.startswith("this sample"))
    assert f"{mark:.4g}" in flag
    assert ("→" in flag, "←" in flag) == (mark == 400, mark == -80)


def test_histograms_add_up_to_one() -> None:
    """Heights, back from the drawing: one value in every bin gives a flat one."""
    svg = score_plot(np.repeat([0.0], 50), None, [], threshold=1.0, unit="u", what="w")
    heights = {float(y) for y in re.findall(r"V([\d.]+)H", svg)}
    assert len(heights) == 2  # all in one bin
    assert "threshold 1" in texts(svg)


def curves(svg: str) -> list[list[tuple[float, ...]]]:
    lines = ElementTree.fromstring(svg).iter("polyline")
    return [[tuple(map(float, point.split(","))) for point in line.get("points", "").split()] for line in lines]


def test_tippett_plots_fall_from_one_to_nothing() -> None:
    own, foreign = (Scores.single(torch.tensor(values)) for values in ([1.0, 2.0], [-2.0, -1.0, 0.5]))
    svg = tippett_plot(own, foreign, 0.7, "w")
    first, second = curves(svg)
    for points in (first, second):
        ys = [y for _, y in points]
        assert ys == sorted(ys)  # downwards
    assert first[0][1] == second[0][1] < first[-1][1] == second[-1][1]
    steps = sorted({y for _, y in second})
    assert len(steps) == 4
    assert np.allclose(np.diff(steps), np.diff(steps)[0], atol=0.2)
    assert "this sample: 0.7" in texts(svg)


def test_tippett_plots_weigh_sources_alike() -> None:
    """Nine samples of one source below 1, one of another above: half, not a tenth, is above."""
    foreign = Scores(torch.tensor([*torch.linspace(-2, -1, 9), 1.0]), torch.tensor([0] * 9 + [1]))
    _, points = curves(tippett_plot(Scores.single(torch.tensor([0.5])), foreign, None, "w"))
    top, floor = points[0][1], points[-1][1]
    last = sorted({y for _, y in points})[-2]  # above nothing, the lowest step
    assert (floor - last) / (floor - top) == pytest.approx(0.5, abs=0.01)


def test_names_cannot_break_out() -> None:
    svg = score_plot(OWN, ("</svg><script>", FAR), [0.0], threshold=1.0, unit='"<b>', what='"><script>')
    assert "<script" not in svg and "<b>" not in svg
    ElementTree.fromstring(svg)
