"""What there is to see of one judged sample: its picture, its score among own ones, and where it deviates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morelli.attribution.attributor import Attributor
from morelli.attribution.places import pattern_of, shares_of
from morelli.attribution.sizes import FITTED
from morelli.detectors.protocol import Detector
from morelli.detectors.stacked import Stacked
from morelli.errors import MorelliError
from morelli.features.imprint import Imprint
from morelli.features.protocol import SampleSpec, Turnable
from morelli.numerics.calibration import threshold, usual
from morelli.numerics.file_form import USUAL
from morelli.numerics.perturbations import Window
from morelli.storage.depth import to_eight_bits
from morelli.storage.figures import map_uri, picture_uri, scale_uri
from morelli.storage.images import Fit
from morelli.storage.plots import score_plot
from morelli.storage.samples import Reading, read

THUMBNAIL, LOOK = 96, 256  # pixels a side
SIGNED, PLAIN = "RdBu_r", "viridis"


def read_again(verdict: Mapping[str, Any], spec: SampleSpec) -> Reading | None:
    """A judged picture; None for anything else, and where the file is gone or no longer what was judged."""
    if not spec.is_image or verdict["row"] is not None:
        return None
    try:
        reading = read(Path(verdict["file"]), spec, fit=_window_said(verdict["facts"]))
    except MorelliError:
        return None
    return reading if reading.facts["sha256"] == verdict["facts"].get("sha256") else None


def _window_said(facts: Mapping[str, Any]) -> Fit | None:
    """What was read of a picture of another size, if it still has that."""
    window, size = facts.get(FITTED), facts.get("size")
    if not (isinstance(window, list) and len(window) == 4 and all(isinstance(each, int) for each in window)):
        return None
    left, top, width, height = window

    def fit(high: int, wide: int) -> Window | None:
        inside = 0 <= top < top + height <= high and 0 <= left < left + width <= wide
        return (top, left, height, width) if size == [wide, high] and inside else None

    return fit


def picture(reading: Reading, spec: SampleSpec, side: int) -> str:
    """To look at, of eight bits."""
    shown = to_eight_bits(reading.samples, replace(spec, form=USUAL))[0].permute(1, 2, 0).numpy()
    return picture_uri(shown, side)


def scores(verdict: Mapping[str, Any], attributor: Attributor) -> str:
    """Its score among held-out own ones and samples of the population, in the condition that it was judged in."""
    condition = _condition(verdict, attributor)
    own, population = attributor.own_scores()[condition], attributor.population
    other = None
    if population is not None:
        centre, reach = usual(own)
        there = population.judged.condition == list(population.own).index(condition)
        other = "other sources", (population.judged.score[there] * reach + centre).numpy()
    score, cut = verdict["score"], threshold(own, attributor.rate)
    beyond = int((own >= score).sum())
    what = (
        f"Histogram of {len(own)} held-out own scores, from {float(own.min()):.4g} to {float(own.max()):.4g}, with the "
        f"threshold {cut:.4g} and this sample at {score:.4g}; {beyond} own scores are at least as large."
    )
    unit = "score, higher is less like the model"
    return score_plot(own.double().numpy(), other, [score], threshold=cut, unit=unit, what=what)


def maps(verdict: Mapping[str, Any], reading: Reading, attributor: Attributor) -> dict[str, Any] | None:
    """Average of own samples, this sample, and its deviation, as pictures with their scales; None without `places`."""
    places, condition = attributor.places, _condition(verdict, attributor)
    if places is None or condition not in places.mean:
        return None
    detector = attributor.detector if attributor.experts is None else attributor.experts.of[condition].detector
    values = _upright(attributor.extractor.extract(reading.samples, facts=[reading.facts]).values, verdict, attributor)
    shares, pattern = shares_of(attributor.extractor, detector, values), pattern_of(attributor.extractor, values)
    if shares is None or pattern is None:
        return None
    deviation = places.deviation(shares, condition)[0]
    channel = _channel(shares, attributor, condition)
    average, mine = places.average[channel], pattern[0, channel]
    imprint = isinstance(attributor.extractor, Imprint)
    limit = max(float(deviation.abs().max()), places.usual[condition]["largest"])
    found: dict[str, Any] = {
        "kind": "imprint" if imprint else "activation",
        "channel": channel,
        "channels": pattern.shape[1],
        "turned": verdict["notes"].get("orientation", "as it is"),
        "condition": condition,
        "usual": dict(places.usual[condition]),
        "largest": round(float(deviation.max()), 2),
        "mean": round(float(deviation.mean()), 2),
        "deviation": _map(deviation, -limit if imprint else 0.0, limit, SIGNED if imprint else PLAIN),
        "parts": _parts(detector, values),
    }
    if imprint:  # a single picture's residual is mostly content, so that each has a scale of its own
        both = [(each, float(each.abs().quantile(0.99))) for each in (average, mine)]
        found["average"], found["mine"] = (_map(each, -edge, edge, SIGNED) for each, edge in both)
    else:
        low, high = (float(x) for x in torch.stack([average, mine]).quantile(torch.tensor([0.01, 0.99])))
        found["average"], found["mine"] = (_map(each, low, high, PLAIN) for each in (average, mine))
    return found


def _condition(verdict: Mapping[str, Any], attributor: Attributor) -> str:
    known = attributor.own_scores()
    return str(verdict["notes"]["condition"]) if attributor.experts is not None else next(iter(known))


def _upright(values: Tensor, verdict: Mapping[str, Any], attributor: Attributor) -> Tensor:
    """Features in the orientation that was judged."""
    extractor, name = attributor.extractor, verdict["notes"].get("orientation")
    if name is None or not isinstance(extractor, Turnable):
        return values
    return values[:, extractor.turns[extractor.orientations.index(name)]]


def _channel(shares: Tensor, attributor: Attributor, condition: str) -> int:
    """Of an activation, the channel in which the sample deviates most."""
    places = attributor.places
    assert places is not None
    if shares.shape[1] == 1:
        return 0
    units = (shares[0] - places.mean[condition]) / places.spread[condition].clamp_min(1e-6)
    return int(units.square().mean((1, 2)).argmax())


def _parts(detector: Detector, values: Tensor) -> dict[str, float] | None:
    """How far an imprint's discriminant and its Gaussian object, in units of own samples."""
    if not isinstance(detector, Stacked):
        return None
    said = detector.objections(values.double())[0].clamp_min(0).tolist()
    return {name: round(each, 2) for name, each in zip(("discriminant", "distance"), said, strict=True)}


def _map(values: Tensor, low: float, high: float, colours: str) -> dict[str, Any]:
    picture = map_uri(values.double().numpy().astype(np.float32), low, high, colours)
    return {"picture": picture, "low": f"{low:.3g}", "high": f"{high:.3g}", "scale": scale_uri(colours)}
