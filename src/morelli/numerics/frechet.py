"""How well a bank stands for the world: Fréchet frequency distance, and two measures of diversity.

Source: arXiv 2307.15977, whose distance it is. Differs: covariances are shrunk (Ledoit-Wolf), since there are fewer
models than frequencies; the paper's definition of diversity was not to be had, so the two here are ours.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from morelli.errors import TooFewSamples

EXACT = "donot_use_mm_for_euclid_dist"  # a row is at distance 0 from its copy


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) between rows [n, d] and [m, d]. Raises TooFewSamples below two rows."""
    if min(len(first), len(second)) < 2:
        raise TooFewSamples(
            f"there are {len(first)} and {len(second)} spectra; a covariance needs at least two of each."
        )
    (mean, covariance), (other_mean, other) = _gaussian(first), _gaussian(second)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()  # the trace of the square root
    trace = np.trace(covariance + other) - 2 * shared
    return float(np.square(mean - other_mean).sum() + max(trace, 0.0))


def bootstrap(
    first: Tensor, second: Tensor, *, draws: int = 200, level: float = 0.9, seed: int = 0
) -> tuple[float, float]:
    """The interval that holds `level` of the Fréchet distances when rows of both sides are drawn again."""
    rng = torch.Generator().manual_seed(seed)
    found = [
        frechet_distance(*(rows[torch.randint(len(rows), (len(rows),), generator=rng)] for rows in (first, second)))
        for _ in range(draws)
    ]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def spread(rows: Tensor) -> float:
    """Mean Euclidean distance of two different rows of [n, d]. Raises TooFewSamples below two."""
    if len(rows) < 2:
        raise TooFewSamples(f"{len(rows)} rows were given; a distance needs at least two.")
    return float(torch.pdist(rows.double()).mean())


def coverage(real: Tensor, bank: Tensor, k: int = 5) -> float:
    """Share of real rows [n, d] that are within reach of some bank row [m, d]: no farther than its own k-th neighbour.

    Raises TooFewSamples where the bank has no k-th neighbour, or no real row is given.
    Source: Naeem et al., ICML 2020, with the roles turned.
    """
    if len(bank) <= k:
        raise TooFewSamples(f"the bank has {len(bank)} rows; coverage by the {k}th neighbour needs more than {k}.")
    if not len(real):
        raise TooFewSamples("there is no real row; coverage is a share of at least one.")
    bank, real = bank.double(), real.double()
    reach = torch.cdist(bank, bank, compute_mode=EXACT).kthvalue(k + 1, 1).values  # the nearest is the row itself
    return float((torch.cdist(real, bank, compute_mode=EXACT) <= reach).any(1).double().mean())


def _gaussian(rows: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = rows.detach().double().cpu().numpy()
    return values.mean(0), ledoit_wolf(values)[0]
