"""From scores of held-out own samples to p-values and thresholds. Higher score = less like the model."""

from __future__ import annotations

import math

import torch
from scipy.stats import beta
from torch import Tensor

from morelli.errors import OutOfRange, TooFewSamples

USUAL = 0.95  # quantile of held-out scores that is 1 from the median


def p_values(held_out: Tensor, scores: Tensor) -> Tensor:
    """Split-conformal p-values: (1 + number of held-out scores ≥ score)/(n + 1).

    Rejecting at p ≤ rate rejects an own sample with probability ≤ rate, whatever the detector.

    Args:
        held_out: [n], never seen in training.
        scores: [m].
    Returns:
        [m], in [1/(n+1), 1]. A NaN score gets the smallest p-value.
    Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World.
    """
    ordered = held_out.double().sort().values
    below = torch.searchsorted(ordered, scores.double().nan_to_num(nan=math.inf))
    return (1 + len(ordered) - below).double() / (len(ordered) + 1)


def threshold(held_out: Tensor, rate: float) -> float:
    """The score above which p ≤ rate; itself still attributed.

    Raises:
        OutOfRange: the rate is not in (0, 1).
        TooFewSamples: the rate is below 1/(n+1), so no score could ever be rejected.
    """
    if not 0 < rate < 1:
        raise OutOfRange(f"the false-rejection rate is {rate}; it must lie between 0 and 1, for example 0.005.")
    n = len(held_out)
    allowed = math.floor(rate * (n + 1) + 1e-9)  # p ≤ rate ⇔ 1 + #{held-out ≥ s} ≤ allowed
    if allowed < 1:
        raise TooFewSamples(
            f"{n} held-out own samples cannot resolve a false-rejection rate of {rate:g}: the smallest p-value "
            f"is {1 / (n + 1):.2g}. Give at least {math.ceil(1 / rate) - 1} held-out samples or a larger rate."
        )
    return float(held_out.double().sort().values[n - allowed])


def rejection_interval(count: int, rate: float, level: float = 0.95) -> tuple[float, float]:
    """Where the false-rejection rate of one calibration lies; over calibrations it is at most `rate` on average.

    Given `count` held-out scores it is Beta(k, count + 1 − k), k = ⌊rate·(count + 1)⌋, if scores do not tie.

    Source: Vovk, Conditional validity of inductive conformal predictors, 2012, proposition 2.
    """
    allowed = math.floor(rate * (count + 1) + 1e-9)
    low, high = beta.ppf([(1 - level) / 2, (1 + level) / 2], allowed, count + 1 - allowed)
    return float(low), float(high)


def relative(held_out: Tensor, scores: Tensor) -> Tensor:
    """Scores as seen from held-out own ones: their median is 0 and their 95th percentile 1. [m] → [m], float64.

    So scores of different detectors can be compared. It does not depend on the false-rejection rate.
    """
    centre, reach = usual(held_out)
    return (scores.double().cpu() - centre) / reach


def usual(held_out: Tensor) -> tuple[float, float]:
    """The median of held-out scores, and the way from there to their 95th percentile, or 1 where there is none."""
    centre, far = held_out.double().quantile(torch.tensor([0.5, USUAL], dtype=torch.float64)).tolist()
    return centre, far - centre if far > centre else 1.0


def benjamini_hochberg(chances: Tensor, rate: float) -> Tensor:
    """Which of a queue's samples [m] to call "not attributed", boolean, by their p-values.

    Of those that are called so, at most `rate`·(share of own samples in the queue) are own ones on average: the mean of
    (own ones called)/(all called), where none called counts 0, over queues and calibrations. It holds for conformal
    p-values of one calibration although they hang together, as they do so positively (PRDS). It is no statement on
    what is left, nor on this one queue. With n held-out scores no p-value is below 1/(n + 1), so
    that of m samples none is called unless at least m/(rate·(n + 1)) can be.

    Raises OutOfRange unless the rate is in (0, 1).
    Source: Benjamini & Hochberg, 1995; Bates et al., Testing for outliers with conformal p-values, 2023.
    """
    if not 0 < rate < 1:
        raise OutOfRange(f"the false-discovery rate is {rate}; it must lie between 0 and 1, for example 0.05.")
    ordered = chances.double().sort().values
    allowed = rate * torch.arange(1, len(ordered) + 1, dtype=torch.float64) / max(1, len(ordered))
    below = (ordered <= allowed * (1 + 1e-12)).nonzero()
    if not len(below):
        return torch.zeros(len(chances), dtype=torch.bool)
    return chances.double() <= ordered[below[-1, 0]]
