"""From scores of held-out own samples to p-values and thresholds. Higher score = less like the model."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morelli.errors import OutOfRange, TooFewSamples


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
