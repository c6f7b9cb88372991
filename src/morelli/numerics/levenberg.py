"""Levenberg–Marquardt: nonlinear least squares with few unknowns and many residuals, for many problems at once."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.func import jvp, vmap

from morelli.errors import MismatchError, OutOfRange

COLUMNS = 2**25  # residuals times unknowns whose derivatives are worked out together
FIRST = 1e-2  # damping at the start, in mean squared columns of the Jacobian
STUCK = 1e12  # damping, in the same unit, at which a step is no longer one
SHRINK = 1 / 3  # by which a step as good as predicted divides the damping, at most
FAITHFUL = 0.25  # of the predicted gain: what a step has to bring for its Jacobian to be used on


class Residual(Protocol):
    """What is to become small. Every row of `z` [p, k] belongs to the problem that `rows` [p] names: → [p, m].

    Differentiable, by operations that `torch.func` knows. The value of a row must not depend on the others.
    """

    def __call__(self, z: Tensor, rows: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where each problem ended.

    Attributes:
        value: [n, k], the best point. cost: [n], the mean squared residual there; infinite where it is not finite.
        converged: [n], boolean: a step gained less than the tolerance, or none gained at all. False at the step limit,
            and where nothing was finite.
        steps: [n], steps tried. damping: [n], to go on with.
    """

    value: Tensor
    cost: Tensor
    converged: Tensor
    steps: Tensor
    damping: Tensor


@dataclass(frozen=True)
class Levenberg:
    """min Σ residual(z)² + pull²·‖z‖², to a local minimum near the start.

    The Jacobian is exact (forward mode, as many derivatives as unknowns) but for `secant`, the k×k systems are solved
    by Cholesky factors in float64, and every problem has its own damping, moved by how much of the predicted gain came
    true. Problems that are done leave the batch.

    Attributes:
        max_steps: tries a problem has. tolerance: relative gain of the cost below which it is done.
        target: mean squared residual at which it is done; 0 for never.
        pull: weight of a prior N(0, I) on z, in standard deviations of the residual.
        secant: after a step that brought what was predicted, correct the Jacobian by that step (Broyden) instead of
            working it out again. Short of the target nothing is done before an exact one has said so. Pays where
            derivatives are dear, and keeps each Jacobian in memory.
    Raises:
        OutOfRange: a setting that has no meaning.

    Source: Marquardt 1963; the rule for the damping is Nielsen's (IMM-REP-1999-05); the secant version is that of
    Madsen, Nielsen and Tingleff, "Methods for non-linear least squares problems" (2004), which differs in when it
    works the Jacobian out again.
    """

    max_steps: int = 50
    tolerance: float = 1e-3
    target: float = 0.0
    pull: float = 0.0
    secant: bool = False

    def __post_init__(self) -> None:
        if self.max_steps < 1 or not 0 <= self.tolerance < 1 or not 0 <= self.target < math.inf:
            raise OutOfRange(
                f"Levenberg–Marquardt has {self.max_steps} steps, tolerance {self.tolerance} and target {self.target}; "
                "expected at least one step, a tolerance in [0, 1) and a target of at least 0."
            )
        if not 0 <= self.pull < math.inf:
            raise OutOfRange(f"the pull towards zero is {self.pull}; expected a finite number of at least 0.")

    def solve(self, residual: Residual, start: Tensor, damping: Tensor | None = None) -> Minimum:
        """From `start` [n, k], with the damping [n] of an earlier `Minimum` where the search goes on.

        Raises MismatchError where the start is no matrix.
        """
        if start.ndim != 2:
            raise MismatchError(f"the start is {list(start.shape)}; expected [n, k]. Flatten each point.")
        n, device = len(start), start.device
        found = Minimum(
            start.clone(),
            start.new_full((n,), math.inf),
            torch.zeros(n, dtype=torch.bool, device=device),
            torch.zeros(n, dtype=torch.int64, device=device),
            start.new_full((n,), math.nan),
        )
        if not n:
            return found
        rows = torch.arange(n, device=device)
        at = self._at(residual, start, rows, None if damping is None else damping.double())
        found.cost[:] = at.mean.to(found.cost)
        busy = at.cost.isfinite() & (at.mean > self.target)
        found.converged[:] = at.mean <= self.target
        at, rows = at.rows(busy), rows[busy]
        for _ in range(self.max_steps):
            if not len(rows):
                break
            done, at = self._stepped(residual, at, rows)
            found.value[rows], found.cost[rows] = at.z, at.mean.to(found.cost)
            found.damping[rows] = at.damping.to(found.damping)
            found.steps[rows] += 1
            found.converged[rows] = done
            at, rows = at.rows(~done), rows[~done]
        return found

    def _at(self, residual: Residual, z: Tensor, rows: Tensor, damping: Tensor | None) -> _Points:
        r = residual(z, rows)
        columns = _jacobian(residual, z, rows, r.shape[1])
        normal, slope = self._normal(columns, z, r)
        unit = _unit(normal)
        fresh = FIRST * unit
        damping = fresh if damping is None else torch.where(damping.isfinite(), damping, fresh)
        exact = torch.ones_like(unit, dtype=torch.bool)
        kept = columns if self.secant else columns[:, :0]
        return _Points(z, r, self._cost(z, r), kept, exact, normal, slope, unit, damping, torch.full_like(unit, 2.0))

    def _stepped(self, residual: Residual, at: _Points, rows: Tensor) -> tuple[Tensor, _Points]:
        """Which problems are done, and where each is now."""
        eye = torch.eye(at.z.shape[1], dtype=torch.float64, device=at.z.device)
        factor, failed = torch.linalg.cholesky_ex(at.normal + at.damping[:, None, None] * eye)
        step = -torch.cholesky_solve(at.slope[..., None], factor)[..., 0]
        predicted = (step * (at.damping[:, None] * step - at.slope)).sum(1)
        z = at.z + step.to(at.z)
        r = residual(z, rows)
        cost = self._cost(z, r)
        gain = at.cost - cost
        taken = (gain > 0) & (failed == 0)  # false for NaN
        ratio = torch.where(taken, gain / predicted.clamp_min(1e-300), 0.0).clamp(0, 2)
        eased = at.damping * (1 - (2 * ratio - 1) ** 3).clamp_min(SHRINK)
        damping = torch.where(taken, eased, at.damping * at.growth)
        growth = torch.where(taken, 2.0, 2 * at.growth)
        now = _Points(
            torch.where(taken[:, None], z, at.z),
            torch.where(taken[:, None], r, at.r),
            torch.where(taken, cost, at.cost),
            at.columns,
            at.exact & ~taken,
            at.normal.clone(),
            at.slope.clone(),
            at.unit.clone(),
            damping,
            growth,
        )
        little = taken & (gain <= self.tolerance * cost)
        done = (at.exact & (little | (damping > STUCK * at.unit))) | (now.mean <= self.target)
        corrected = taken & ~little & (ratio >= FAITHFUL) & ~done if self.secant else torch.zeros_like(done)
        again = (taken | ~at.exact) & ~corrected & ~done
        if corrected.any():
            moved = now.z[corrected] - at.z[corrected]
            columns = at.columns[corrected]
            missed = r[corrected] - at.r[corrected] - (moved[:, None] @ columns)[:, 0]
            self._renew(now, corrected, columns + moved[..., None] * (missed / moved.square().sum(1, True))[:, None])
        if again.any():
            self._renew(now, again, _jacobian(residual, now.z[again], rows[again], r.shape[1]))
            now.exact[again] = True
        return done, now

    def _renew(self, now: _Points, some: Tensor, columns: Tensor) -> None:
        """Other Jacobians [p, k, m] for some of the points."""
        normal, now.slope[some] = self._normal(columns, now.z[some], now.r[some])
        now.normal[some], now.unit[some] = normal, _unit(normal)
        if self.secant:
            now.columns[some] = columns

    def _cost(self, z: Tensor, r: Tensor) -> Tensor:
        return r.double().square().sum(1) + self.pull**2 * z.double().square().sum(1)

    def _normal(self, columns: Tensor, z: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        """JᵀJ [p, k, k] and Jᵀr [p, k], of the pull as well, in float64."""
        eye = torch.eye(z.shape[1], dtype=torch.float64, device=z.device)
        normal = (columns @ columns.transpose(1, 2)).double() + self.pull**2 * eye
        slope = (columns @ r[..., None])[..., 0].double() + self.pull**2 * z.double()
        return normal, slope


@dataclass(frozen=True, eq=False)
class _Points:
    """Problems at work: where, residual, cost, Jacobian [p, k, m] if it is kept, whether nothing has corrected it,
    JᵀJ, Jᵀr, mean squared column, damping and how fast it would grow.
    """

    z: Tensor
    r: Tensor
    cost: Tensor
    columns: Tensor
    exact: Tensor
    normal: Tensor
    slope: Tensor
    unit: Tensor
    damping: Tensor
    growth: Tensor

    @property
    def mean(self) -> Tensor:
        return (self.r.double().square().mean(1)).nan_to_num(math.inf)

    def rows(self, kept: Tensor) -> _Points:
        return self if bool(kept.all()) else _Points(*(getattr(self, name)[kept] for name in self.__annotations__))


def _unit(normal: Tensor) -> Tensor:
    return normal.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)


def _jacobian(residual: Residual, z: Tensor, rows: Tensor, size: int) -> Tensor:
    """[p, k, m], transposed: row j of each is the derivative by unknown j."""
    p, k = z.shape
    together = max(1, COLUMNS // max(1, p * size))

    def along(direction: Tensor) -> Tensor:
        moved: Tensor = jvp(lambda at: residual(at, rows), (z,), (direction.expand_as(z),))[1]
        return moved

    eye = torch.eye(k, dtype=z.dtype, device=z.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's forward mode warns of its own parts, once
        found: Tensor = vmap(along, chunk_size=min(k, together))(eye)
    return found.transpose(0, 1)
