"""From scores under two propositions to likelihood ratios, log10. Higher score = less like the model, as everywhere.

Calibrators see scores of own samples and of foreign ones, both sides weighing the same: no prior enters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi
from typing import Protocol

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from morelli.errors import OutOfRange, TooFewSamples
from morelli.numerics.state import State

LN10 = log(10)
RIDGE = 1.0  # of the logistic slope, against as many logarithms as there are scores; scikit-learn's and lir's default
KINDS = ("logistic", "pav", "kde")
AT_ONCE = 2**22  # pairs of a score and a kernel


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores [n] and the unit [n] that each belongs to, as integers: a source, or a sample with its copies.

    Every unit weighs the same, however many scores it has: scores of one unit hang together.

    Raises:
        TooFewSamples: no scores. OutOfRange: not one unit for each.
    """

    values: Tensor
    units: Tensor

    def __post_init__(self) -> None:
        if not len(self.values):
            raise TooFewSamples("there are no scores under one of the propositions; give some under both.")
        if self.values.shape != self.units.shape:
            raise OutOfRange(f"there are {len(self.units)} units for {len(self.values)} scores; give one for each.")

    @staticmethod
    def single(values: Tensor) -> Scores:
        """Each score is a unit."""
        return Scores(values.double(), torch.arange(len(values)))

    @property
    def count(self) -> int:
        """Of units."""
        return len(self.units.unique())

    @property
    def weights(self) -> Tensor:
        """[n], float64, which sum to 1."""
        _, unit, sizes = self.units.unique(return_inverse=True, return_counts=True)
        return 1 / (len(sizes) * sizes[unit].double())

    def some(self, chosen: Tensor) -> Scores:
        """Those of a boolean [n]."""
        return Scores(self.values[chosen], self.units[chosen])


class Calibrator(Protocol):
    """Scores [n] → log10 likelihood ratios [n], float64, of "own" against "foreign"; may be infinite."""

    def log10_ratio(self, scores: Tensor) -> Tensor: ...
    def state(self) -> State: ...


@dataclass(frozen=True)
class Logistic:
    """The natural logarithm of the ratio is slope·score + intercept. Source: Brümmer & du Preez, 2006."""

    slope: float
    intercept: float

    @staticmethod
    def fit(own: Scores, foreign: Scores) -> Logistic:
        values, labels, weights = _balanced(own, foreign)
        model = LogisticRegression(C=1 / RIDGE, solver="newton-cholesky", tol=1e-10, max_iter=1000)
        model.fit(values[:, None], labels, weights)
        return Logistic(float(model.coef_[0, 0]), float(model.intercept_[0]))

    def log10_ratio(self, scores: Tensor) -> Tensor:
        return (self.slope * scores.double() + self.intercept) / LN10

    def state(self) -> State:
        return State({"type": "logistic", "slope": self.slope, "intercept": self.intercept})


@dataclass(frozen=True, eq=False)
class Pav:
    """Pool adjacent violators: the best decreasing probability of "own" [k] at `scores` [k], linear in between."""

    scores: Tensor
    chance: Tensor

    @staticmethod
    def fit(own: Scores, foreign: Scores) -> Pav:
        values, labels, weights = _balanced(own, foreign)
        model = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(values, labels, sample_weight=weights)
        return Pav(torch.from_numpy(model.X_thresholds_), torch.from_numpy(model.y_thresholds_))

    def log10_ratio(self, scores: Tensor) -> Tensor:
        at = np.interp(scores.double().cpu().numpy(), self.scores.numpy(), self.chance.numpy())
        chance = torch.from_numpy(at)
        return chance.log10() - (1 - chance).log10()

    def state(self) -> State:
        return State({"type": "pav"}, {"scores": self.scores, "chance": self.chance})


@dataclass(frozen=True, eq=False)
class Kde:
    """The ratio of two Gaussian kernel densities, each with Silverman's bandwidth. Far out it says little: bound it.

    The ratio need not fall as scores grow. Attributes: own, foreign: the scores and weights that were fitted.
    """

    own: tuple[Tensor, Tensor]
    foreign: tuple[Tensor, Tensor]

    @staticmethod
    def fit(own: Scores, foreign: Scores) -> Kde:
        return Kde((own.values.double(), own.weights), (foreign.values.double(), foreign.weights))

    def log10_ratio(self, scores: Tensor) -> Tensor:
        return (_log_density(scores.double(), *self.own) - _log_density(scores.double(), *self.foreign)) / LN10

    def state(self) -> State:
        names = ("own", "own_weights", "foreign", "foreign_weights")
        return State({"type": "kde"}, dict(zip(names, (*self.own, *self.foreign), strict=True)))


FITS: dict[str, Callable[[Scores, Scores], Calibrator]] = {"logistic": Logistic.fit, "pav": Pav.fit, "kde": Kde.fit}


def fit_calibrator(kind: str, own: Scores, foreign: Scores) -> Calibrator:
    """`kind` is one of KINDS. Raises OutOfRange where it is not, or scores are not finite."""
    if kind not in FITS:
        raise OutOfRange(f"the calibrator is '{kind}'; expected one of {', '.join(KINDS)}.")
    if not (own.values.isfinite().all() and foreign.values.isfinite().all()):
        raise OutOfRange("scores are not finite; leave out samples that could not be judged.")
    return FITS[kind](own, foreign)


def calibrator_from_state(state: State) -> Calibrator:
    kind, tensors = state.settings["type"], state.tensors
    if kind == "logistic":
        return Logistic(float(state.settings["slope"]), float(state.settings["intercept"]))
    if kind == "pav":
        return Pav(tensors["scores"], tensors["chance"])
    return Kde((tensors["own"], tensors["own_weights"]), (tensors["foreign"], tensors["foreign_weights"]))


def _balanced(own: Scores, foreign: Scores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, labels (own is 1) and weights, which sum to the number of values, half of it on each side."""
    values = torch.cat([own.values.double(), foreign.values.double()]).cpu().numpy()
    labels = np.concatenate([np.ones(len(own.values)), np.zeros(len(foreign.values))])
    weights = torch.cat([own.weights, foreign.weights]).cpu().numpy() * len(values) / 2
    return values, labels, weights


def _log_density(at: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """[n] from kernels at `values`; scores that are all the same get a bandwidth of 1, as in `lir`."""
    mean = (weights * values).sum()
    spread = float((weights * (values - mean).square()).sum().sqrt()) or 1.0
    bandwidth = spread * (4 / 3 * float(weights.square().sum())) ** 0.2  # 1/Σw² is how many scores count
    heights = weights.log() - log(bandwidth) - 0.5 * log(2 * pi)
    parts = at.split(max(1, AT_ONCE // len(values)))
    found = (-0.5 * ((part[:, None] - values) / bandwidth).square() + heights for part in parts)
    return torch.cat([torch.logsumexp(kernels, 1) for kernels in found]) if len(at) else at.clone()
