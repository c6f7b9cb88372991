"""Whitening: rows with mean 0 and the identity as covariance, along principal axes."""

from __future__ import annotations

import torch
from torch import Tensor

from morelli.errors import OutOfRange


def fit_whitening(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [c] and matrix [c, c], float64, such that (rows − mean) @ matrix has the identity as covariance.

    Columns are standardised first; axes come by falling variance, their largest entry positive. The square matrix is
    inverted to go back. Raises OutOfRange where columns are constant or linearly dependent.
    """
    exact = rows.double()
    mean, deviation = exact.mean(0), exact.std(0)
    if not (deviation > 0).all():
        raise OutOfRange(f"column {int(deviation.argmin()) + 1} is constant, so rows cannot be whitened. Leave it out.")
    values, axes = torch.linalg.eigh(((exact - mean) / deviation).T.cov())
    if values[0] <= 1e-9 * values[-1]:
        raise OutOfRange("some columns are linear in the others, so rows cannot be whitened. Leave those out.")
    values, axes = values.flip(0), axes.flip(1)
    signs = axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    return mean, (axes * signs / values.sqrt()) / deviation[:, None]
