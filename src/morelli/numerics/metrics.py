"""How well scores separate own from foreign samples. Higher score = less like the model."""

from __future__ import annotations

import torch
from scipy.stats import rankdata
from torch import Tensor


def balanced_accuracy(own_attributed: Tensor, foreign_attributed: Tensor) -> float:
    """Mean of the share of own samples attributed and of foreign samples not attributed. Boolean [n], [m]."""
    return 0.5 * (own_attributed.double().mean().item() + 1 - foreign_attributed.double().mean().item())


def auroc(own: Tensor, foreign: Tensor) -> float:
    """Probability that a foreign score exceeds an own one, ties counted half. Scores [n], [m]."""
    ranks = rankdata(torch.cat([own, foreign]).double().cpu().numpy())
    n, m = len(own), len(foreign)
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))


def oscr(known: Tensor, correct: Tensor, unknown: Tensor) -> float:
    """Area under correct identifications of known samples over false ones of unknown samples, in [0, 1].

    Args:
        known, unknown: [n] and [m], each sample's score against its nearest candidate; ties count half.
        correct: boolean [n], whether that candidate is the right one.
    Source: Dhamija et al., NeurIPS 2018.
    """
    nearer = (known[:, None] < unknown).double() + 0.5 * (known[:, None] == unknown)
    return float((nearer.mean(1) * correct.double()).mean())


def interval_of_mean(values: Tensor, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of [k] values, one for each source; the sources are drawn anew.

    With few sources it is too narrow, and it is a point where all values are the same.
    """
    drawn = torch.randint(len(values), (draws, len(values)), generator=torch.Generator().manual_seed(seed))
    means = values.double()[drawn].mean(1)
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return low, high
