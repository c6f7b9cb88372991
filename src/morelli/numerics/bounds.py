"""How large a likelihood ratio may be said to be, given how much it was calibrated on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morelli.numerics.likelihood_ratio import Calibrator, Scores, calibrator_from_state, fit_calibrator
from morelli.numerics.state import State

STEP = 0.01  # of log10
EXTREME = 9.0  # in place of infinity


def elub(own: Scores, foreign: Scores) -> tuple[float, float]:
    """Empirical lower and upper bounds of log10 likelihood ratios, from those of own and of foreign samples.

    Within them, whoever decides by the ratios does better than by the prior odds alone, whatever a wrong decision
    costs, even if one more unit on each side misleads entirely. So k units prove no ratio above k + 1.

    Source: Vergeer et al., Science & Justice 56 (2016). Differs: what is added is a unit, not a single score, and units
    weigh the same; where each score is a unit these are the published bounds, as `lir` has them.
    """
    kept = [x.values.double().clamp(-EXTREME, EXTREME) for x in (own, foreign)]
    low = max(float(torch.cat(kept).min()), -float(np.log10(own.count + 1)))
    high = min(float(torch.cat(kept).max()), float(np.log10(foreign.count + 1)))
    first, last = min(0, int(np.floor_divide(low, STEP))), max(0, int(np.floor_divide(high, STEP)) + 1)
    thresholds = torch.linspace(first * STEP, last * STEP, last - first + 1, dtype=torch.float64)
    odds = 10**thresholds
    missed = _spoilt(1 - _above(kept[0], own.weights, thresholds), own.count)
    misled = _spoilt(_above(kept[1], foreign.weights, thresholds), foreign.count)
    worse = odds.clamp_max(1) / (missed + odds * misled) < 1
    lower = (thresholds[worse & (thresholds <= 0)] + STEP).tolist()
    upper = (thresholds[worse & (thresholds >= 0)] - STEP).tolist()
    bounds = max([float(thresholds[0]), *lower]), min([float(thresholds[-1]), *upper])
    return min(bounds[0], 0.0), max(bounds[1], 0.0)


def _above(ratios: Tensor, weights: Tensor, thresholds: Tensor) -> Tensor:
    """Weighed share of the ratios above each threshold."""
    order = ratios.argsort()
    sums = torch.cat([weights.new_zeros(1), weights[order].cumsum(0)])
    return 1 - sums[torch.searchsorted(ratios[order], thresholds, right=True)] / sums[-1]


def _spoilt(share: Tensor, units: int) -> Tensor:
    """The share with one more unit, all of it wrong."""
    return (share * units + 1) / (units + 1)


@dataclass(frozen=True, eq=False)
class BoundedRatio:
    """A calibrator whose log10 ratios are kept within [lower, upper]."""

    calibrator: Calibrator
    lower: float
    upper: float

    @staticmethod
    def fit(kind: str, own: Scores, foreign: Scores) -> BoundedRatio:
        """`kind` is one of `likelihood_ratio.KINDS`."""
        calibrator = fit_calibrator(kind, own, foreign)
        sides = (Scores(_finite(calibrator.log10_ratio(x.values)), x.units) for x in (own, foreign))
        return BoundedRatio(calibrator, *elub(*sides))

    def log10_ratio(self, scores: Tensor) -> Tensor:
        """[n] → [n], float64."""
        return self.calibrator.log10_ratio(scores).clamp(self.lower, self.upper)

    def state(self) -> State:
        bounds = {"lower": self.lower, "upper": self.upper}
        return State(bounds, parts={"calibrator": self.calibrator.state()})

    @staticmethod
    def from_state(state: State) -> BoundedRatio:
        bounds = float(state.settings["lower"]), float(state.settings["upper"])
        return BoundedRatio(calibrator_from_state(state.parts["calibrator"]), *bounds)


def _finite(ratios: Tensor) -> Tensor:
    return ratios.clamp(-EXTREME, EXTREME)
