"""Ridge: a linear discriminant by penalised least squares, with the score that every sample would have got unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.linalg.blas import ssyrk
from torch import Tensor

from morelli.detectors.protocol import Progress
from morelli.errors import MorelliError, OutOfRange, TooFewSamples
from morelli.numerics.state import State

LEAST = 0.1  # of the median deviation of what varies: what hardly does is not blown up


@dataclass(frozen=True, eq=False)
class Ridge:
    """Score = ⟨direction, features⟩ + offset; near −1 for own samples and 1 for others."""

    direction: Tensor  # [d]
    offset: Tensor  # []

    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n]."""
        return features.flatten(1) @ self.direction.to(features) + self.offset.to(features)

    def state(self) -> State:
        return State({"type": "ridge"}, {"direction": self.direction, "offset": self.offset})

    @staticmethod
    def from_state(state: State) -> Ridge:
        return Ridge(state.tensors["direction"], state.tensors["offset"])


@dataclass(frozen=True)
class RidgeRecipe:
    """Least squares towards −1 for own and 1 for other samples, both classes weighing the same.

    Attributes:
        penalties: in units of the mean eigenvalue of the Gram matrix; the one with the least error on samples that
            were left out is taken.
    """

    penalties: tuple[float, ...] = (0.03, 0.3)

    def steps(self, own: int, other: int) -> int:
        return 1

    def settings(self) -> dict[str, Any]:
        return {"type": "ridge"} | asdict(self)

    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Ridge:
        """Raises what `fit_left_out` raises; `seed` has no effect."""
        found, _ = self.fit_left_out(own, other)
        if progress:
            progress(1)
        return found

    def fit_left_out(self, own: Tensor, other: Tensor | None) -> tuple[Ridge, Tensor]:
        """The detector, and for each sample [own + other] the score of one that was fitted without it.

        In closed form, as ridge regression with a free offset allows it. What all samples share stays as it is: the
        scale of features, the weights of the classes, and the penalty in absolute numbers. The centre does not, as all
        samples but one would give that one away.

        Raises:
            TooFewSamples: fewer than two samples of either class. OutOfRange: features are not finite.
            MorelliError: all own samples have the same features.
        """
        if other is None or min(len(own), len(other)) < 2:
            raise TooFewSamples(
                "a ridge discriminant needs at least two own and two other samples. "
                "Without other samples use detector 'mahalanobis'."
            )
        own, other = own.flatten(1).float(), other.flatten(1).float()
        deviation, size = own.std(0), torch.maximum(own.amax(0), -own.amin(0))
        data = torch.cat([own, other])
        weights = torch.cat([x.new_full((len(x),), len(data) / (2 * len(x))) for x in (own, other)])
        centre = weights @ data / len(data)
        if not (deviation.isfinite().all() and centre.isfinite().all()):  # as cheap as it gets: no pass over the data
            raise OutOfRange("features are not finite; check the range of the samples.")
        varying = deviation[deviation > 1e-6 * size]  # beyond rounding
        if not len(varying):
            raise MorelliError("features of all own samples are the same, so no discriminant can be fitted to them.")
        scale = deviation.clamp_min(LEAST * varying.median())
        labels = torch.cat([-torch.ones(len(own)), torch.ones(len(other))]).to(data)
        centre /= scale
        rows = data.div_(scale).sub_(centre).mul_(weights.sqrt()[:, None])
        solve = _by_features(rows) if rows.shape[1] < len(rows) else _by_samples(rows)
        targets, one = weights.double().sqrt() * labels.double(), float(rows.norm(dim=1).double().square().mean())
        best = None
        for penalty in self.penalties:
            dual, inverse = solve(targets, penalty * one)
            seen = inverse - weights.double() / (penalty * one * len(data))  # with the centre found anew
            misses = dual / seen  # weighted label less weighted score, had it been left out
            error = float(misses.square().mean())
            if best is None or error < best[0]:
                best = error, dual, labels.double() - misses / weights.double().sqrt()
        assert best is not None
        direction = best[1].float() @ rows
        ridge = Ridge(direction / scale, -(direction @ centre))
        return ridge, best[2].float()


Solve = Callable[[Tensor, float], tuple[Tensor, Tensor]]


def _by_samples(rows: Tensor) -> Solve:
    """(targets, λ) → (rows rowsᵀ + λ)⁻¹ targets, and the diagonal of that inverse.

    In float32, which the penalty allows: the condition is at most the number of samples over the least of them.
    """
    gram = _gram(rows)

    def solve(targets: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram + penalty * torch.eye(len(gram)).to(gram)))
        return (inverse @ targets.to(inverse)).double(), inverse.diagonal().double()

    return solve


def _by_features(rows: Tensor) -> Solve:
    """The same where there are fewer features than samples."""
    rows = rows.double()
    products = rows.T @ rows

    def solve(targets: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
        factor = torch.linalg.cholesky(products + penalty * torch.eye(len(products)).to(products))
        leverage = torch.linalg.solve_triangular(factor, rows.T, upper=False)
        fitted = leverage.T @ (leverage @ targets)
        return (targets - fitted) / penalty, (1 - leverage.square().sum(0)) / penalty

    return solve


def _gram(rows: Tensor) -> Tensor:
    """rows rowsᵀ; on a CPU half the work, for it is symmetric."""
    if rows.device.type != "cpu":
        return rows @ rows.T
    half = torch.from_numpy(ssyrk(1.0, rows.numpy().T, trans=1, lower=1))
    return half + half.T - half.diag().diag()
