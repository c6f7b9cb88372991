"""Principal axes of few samples in many dimensions, or of many in few, by eigenvectors of the smaller product."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from morelli.errors import MorelliError, OutOfRange

FEW = 8  # times the axes wanted that there must be for Lanczos


def principal_axes(centred: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """[n, d] with mean 0 → orthonormal rows [k, d] of largest variance first, and their coordinates [n, k].

    k is at most `count`, n − 1 and d; axes without variance are left out.

    Raises:
        OutOfRange: values are not finite.
        MorelliError: nothing varies.
    """
    if not centred.isfinite().all():
        raise OutOfRange("features for the detector are not finite; check the range of the samples.")
    k = min(count, len(centred) - 1, centred.shape[1])
    narrow = centred.shape[1] < len(centred)  # the smaller of both products holds the same eigenvalues
    product = centred.T @ centred if narrow else centred @ centred.T
    values, vectors = _largest(product.double(), k)
    kept = values > 1e-9 * values[0].clamp_min(1e-300)
    if not kept.any():
        raise MorelliError("all features are the same, so there is nothing to learn; try a smaller lasso weight.")
    values, vectors = values[kept], vectors[:, kept]
    if narrow:
        axes = vectors.T.to(centred)
        return axes, centred @ axes.T
    axes = (vectors / values.sqrt()).to(centred).T @ centred
    return axes, (vectors * values.sqrt()).to(centred)


def _largest(product: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues of a symmetric matrix, largest first, and their vectors as columns.

    By Lanczos where only a few of many are wanted: 3.5 times faster for 128 of 3,000 of noise.
    """
    if count * FEW > len(product):
        values, vectors = torch.linalg.eigh(product)
        return values.flip(0)[:count], vectors.flip(1)[:, :count]
    start = np.random.default_rng(0).standard_normal(len(product))
    found = eigsh(product.cpu().numpy(), count, which="LA", v0=start)
    values, vectors = (torch.from_numpy(np.flip(part, -1).copy()).to(product) for part in found)
    return values, vectors
