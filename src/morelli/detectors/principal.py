"""Principal axes of few samples in many dimensions, or of many in few, by eigenvectors of the smaller product."""

from __future__ import annotations

import torch
from torch import Tensor

from morelli.errors import MorelliError, OutOfRange


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
    values, vectors = torch.linalg.eigh(product.double())
    values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
    kept = values > 1e-9 * values[0].clamp_min(1e-300)
    if not kept.any():
        raise MorelliError("all features are the same, so there is nothing to learn; try a smaller lasso weight.")
    values, vectors = values[kept], vectors[:, kept]
    if narrow:
        axes = vectors.T.to(centred)
        return axes, centred @ axes.T
    axes = (vectors / values.sqrt()).to(centred).T @ centred
    return axes, (vectors * values.sqrt()).to(centred)
