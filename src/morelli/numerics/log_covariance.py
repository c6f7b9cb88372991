"""How the values of small patches vary together, as a vector: covariances on a scale where differences are straight."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-2  # share of the mean eigenvalue that is added to every one


def log_covariance(patches: Tensor) -> Tensor:
    """Patches [n, places, d] → [n, d (d + 1) / 2]: the upper triangle of the logarithm of their covariance.

    Source: Arsigny et al., SIAM J. Matrix Anal. 2007.
    """
    patches = patches - patches.mean(1, keepdim=True)
    values, axes = torch.linalg.eigh(patches.mT @ patches / patches.shape[1])
    values = (values + FLOOR * values.mean(1, keepdim=True)).clamp_min(1e-9)
    logarithm = (axes * values.log()[:, None]) @ axes.mT
    rows, columns = torch.triu_indices(*logarithm.shape[1:], device=patches.device)
    return logarithm[:, rows, columns]
