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
