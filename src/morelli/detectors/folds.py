"""Cross-conformal calibration of any detector: every own sample trains it and every own sample calibrates it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from morelli.detectors.protocol import Detector, DetectorRecipe, Progress
from morelli.errors import OutOfRange, TooFewSamples
from morelli.numerics.state import State


@dataclass(frozen=True, eq=False)
class Folds:
    """Score = share of the held-out own samples that a sample beats, each in the eyes of the detector without it.

    A share is in [0, 1]. A sample that beats all of them gets 1 + its mean distance beyond the largest held-out
    scores, in their standard deviations, so that such samples keep an order.

    `p_values(grid, score)` is the cross-conformal p-value: (1 + number of own samples i whose held-out score is ≥
    the sample's, by the detector that was fitted without i)/(n + 1). Rejecting at p ≤ rate rejects an own sample with
    probability ≤ `bound(rate)`, whatever the detector, and usually close to the rate.

    Attributes:
        detectors: one per fold, fitted without it.
        held_out: per fold, the sorted scores [n_k] of its samples.
    Raises:
        OutOfRange: held-out scores are not finite.
    Source: Vovk, Cross-conformal predictors, 2015; Barber et al., Predictive inference with the jackknife+, 2021.
    The bound: 2·Σ w_k p_k is a p-value (Vovk & Wang, Combining p-values via averaging, 2020), p_k those of the folds.
    """

    detectors: tuple[Detector, ...]
    held_out: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        if not all(scores.isfinite().all() for scores in self.held_out):
            raise OutOfRange("held-out scores are not finite; check the range of the samples.")

    @property
    def grid(self) -> Tensor:
        """[n] = (i − 0.5)/n for i = 1..n: what to calibrate with; a share of j/n beats exactly j of them."""
        n = sum(map(len, self.held_out))
        return (torch.arange(n, dtype=torch.float64) + 0.5) / n

    def bound(self, rate: float) -> float:
        """The proved probability that an own sample is rejected at p ≤ rate."""
        folds, n = len(self.detectors), len(self.grid)
        return 2 * rate + 2 * (1 - rate) * (folds - 1) / (n + folds)

    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n], float64. NaN where any detector's score is NaN."""
        scores = torch.stack([detector.score(features).double() for detector in self.detectors])
        held_out = [ordered.to(scores) for ordered in self.held_out]
        pairs = list(zip(held_out, scores, strict=True))
        beaten = torch.stack([torch.searchsorted(ordered, row) for ordered, row in pairs]).sum(0)
        beyond = torch.stack([(row - ordered[-1]) / _spread(ordered) for ordered, row in pairs]).mean(0)
        n = sum(map(len, held_out))
        score = torch.where(beaten == n, 1 + beyond, beaten.double() / n)
        return score.masked_fill(scores.isnan().any(0), math.nan)

    def state(self) -> State:
        tensors = {f"held_out{k}": scores for k, scores in enumerate(self.held_out)}
        return State({"type": "folds"}, tensors, {f"detector{k}": d.state() for k, d in enumerate(self.detectors)})

    @staticmethod
    def from_state(state: State, revive: Callable[[State], Detector]) -> Folds:
        """`revive` rebuilds the detectors inside."""
        folds = range(len(state.parts))
        detectors = tuple(revive(state.parts[f"detector{k}"]) for k in folds)
        return Folds(detectors, tuple(state.tensors[f"held_out{k}"] for k in folds))


@dataclass(frozen=True)
class FoldsRecipe:
    """Split own samples at random into folds, fit `recipe` without each in turn, and score the fold left out.

    All other samples are in every fit. Own samples must be exchangeable: two cut from one image are not.

    Attributes:
        folds: at least 2; more give each detector more samples and cost as many fits.
    Raises:
        OutOfRange: fewer than two folds.
    """

    recipe: DetectorRecipe
    folds: int = 5

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise OutOfRange(f"{self.folds} folds were asked for; give at least 2, for example 5.")

    def steps(self, own: int, other: int) -> int:
        return sum(self.recipe.steps(own - len(fold), other) for fold in torch.arange(own).tensor_split(self.folds))

    def settings(self) -> dict[str, Any]:
        return {"type": "folds", "folds": self.folds, "recipe": self.recipe.settings()}

    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Folds:
        """Raises TooFewSamples with fewer than two own samples per fold, and what `recipe` raises."""
        if len(own) < 2 * self.folds:
            raise TooFewSamples(
                f"{self.folds} folds were asked of {len(own)} own samples; give at least {2 * self.folds} samples, "
                "better hundreds, or fewer folds."
            )
        rng = torch.Generator().manual_seed(seed)
        parts = torch.randperm(len(own), generator=rng).to(own.device).tensor_split(self.folds)
        seeds = torch.randint(2**31, (self.folds,), generator=rng).tolist()
        detectors, held_out = [], []
        for k, part in enumerate(parts):
            rest = torch.cat([*parts[:k], *parts[k + 1 :]])
            detectors.append(self.recipe.fit(own[rest], other, seeds[k], progress))
            held_out.append(detectors[k].score(own[part]).double().cpu().sort().values)
        return Folds(tuple(detectors), tuple(held_out))


def _spread(scores: Tensor) -> Tensor:
    """Standard deviation; 1 where it is nothing but rounding."""
    spread = scores.std(correction=0)
    return torch.where(spread > 1e-9 * scores.abs().max(), spread, 1.0)
