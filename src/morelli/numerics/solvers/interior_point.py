"""The exact solver: a primal-dual interior point on the dual, in float64, with a tight certificate at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from morelli.errors import UnsuitableSolver
from morelli.numerics.fidelity import Cells
from morelli.numerics.lasso import LassoProblem, Solution, Status, lower_bound, objective, relative_gap, zero_solution
from morelli.numerics.normal import Normal, normal_equations

BOUNDARY = 0.995  # share of the way to the boundary of the feasible set that a step may go


@dataclass(frozen=True)
class InteriorPoint:
    """max ⟨o, ν⟩ − ½‖ν‖² over |adjoint(ν)| ≤ weight, whose multipliers are the activation.

    Two Newton systems a step with one factorisation of I + map·D·adjoint (`numerics.normal`): banded for convolutions,
    small dense matrices in batches for heads of few outputs. For ground truth and certification, and for tables. It
    takes points (`Cells.at`, precisions allowed) without a floor, and always computes in float64 on the CPU.

    Attributes:
        tolerance: a sample is done when its relative duality gap is below this; max_steps: or given up after these.

    Source: Mehrotra 1992 (predictor-corrector). ν stays strictly feasible, so that the gap needs no scaling.
    """

    tolerance: float = 1e-6
    max_steps: int = 60

    def prepare(self, problem: LassoProblem) -> LassoProblem:
        cells = problem.fidelity
        if not isinstance(cells, Cells) or not cells.points or problem.floor is not None:
            raise UnsuitableSolver("InteriorPoint takes points and no floor; this problem has more. Use Pdhg.")
        return replace(problem, factor=problem.factor or normal_equations(problem.map))

    def solve(self, problem: LassoProblem, progress: Callable[[int], None] | None = None) -> Solution:
        problem = self.prepare(problem)
        n, empty = len(problem.fidelity), zero_solution(problem)
        value, gap, steps, status = empty.value, empty.gap, empty.steps, list(empty.status)
        normal = cast(Normal, problem.factor)
        exact = replace(
            problem,
            map=problem.map.to("cpu", torch.float64),
            fidelity=problem.fidelity.to("cpu", torch.float64),
            weight=problem.weight.to("cpu", torch.float64) if isinstance(problem.weight, Tensor) else problem.weight,
        )
        for start in range(0, n, normal.together):
            count = min(n - start, normal.together)
            some = torch.arange(start, start + normal.together).clamp_max(n - 1)  # always as many; see `numerics.slots`
            found = _Path(replace(exact, fidelity=exact.fidelity.rows(some)), normal).follow(self)
            kept = slice(start, start + count)
            value[kept], gap[kept], steps[kept] = (
                found.value[:count].to(value),
                found.gap[:count].to(gap),
                found.steps[:count],
            )
            status[kept] = found.status[:count]
            if progress:
                progress(count)
        return Solution(value, tuple(status), gap, steps)


class _Path:
    """The central path of a few samples, everything flat: [n, outputs] and [n, inputs]."""

    def __init__(self, problem: LassoProblem, normal: Normal) -> None:
        self.problem, self.normal = problem, normal
        cells = cast(Cells, problem.fidelity)
        self.target, precision = cells.low.flatten(1), cells.precision
        self.ridge = torch.ones_like(self.target) if precision is None else 1 / precision.flatten(1)
        n = len(self.target)
        weight = torch.as_tensor(problem.weight, dtype=torch.float64).expand(problem.map.in_shape).reshape(1, -1)
        self.nu = torch.zeros_like(self.target)
        self.slack = weight.expand(n, -1).clone()[None].repeat(2, 1, 1)  # weight ∓ adjoint(ν)
        slope = self._adjoint(self.target)
        reached = (self._apply(slope).square().sum(1) / slope.square().sum(1).clamp_min(1e-300))[:, None]
        size = slope.abs().mean(1, keepdim=True) / reached.clamp_min(1e-300)  # of a steepest-descent activation
        self.multiplier = torch.where(size > 0, size, 1.0).expand_as(slope).clone()[None].repeat(2, 1, 1)

    def _apply(self, z: Tensor) -> Tensor:
        return self.problem.map.apply(z.reshape(-1, *self.problem.map.in_shape)).flatten(1)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.problem.map.adjoint(y.reshape(-1, *self.problem.map.out_shape)).flatten(1)

    def follow(self, pace: InteriorPoint) -> Solution:
        n = len(self.target)
        best, bound = torch.full((n,), torch.inf, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        value = torch.zeros(n, *self.problem.map.in_shape, dtype=torch.float64)
        steps = torch.zeros(n, dtype=torch.int64)
        gap = torch.ones(n, dtype=torch.float64)
        finite = self.target.isfinite().all(1)
        self.target[~finite] = 0.0
        for step in range(pace.max_steps + 1):
            u = (self.multiplier[0] - self.multiplier[1]).reshape(value.shape)
            reached = objective(self.problem, u)
            active = gap > pace.tolerance
            better = (reached < best) & active
            best = torch.where(better, reached, best)
            value[better] = u[better]
            rest = self.nu.reshape(-1, *self.problem.map.out_shape)
            bound = torch.maximum(bound, lower_bound(self.problem, rest, self.problem.map.adjoint(rest)))
            gap = torch.where(active, relative_gap(best, bound), gap)
            steps[active] = step
            if step == pace.max_steps or not ((gap > pace.tolerance) & finite).any():
                break
            self._advance()
        status = [Status.CONVERGED if g <= pace.tolerance else Status.STEP_LIMIT for g in gap.tolist()]
        for i in (~finite).nonzero().flatten().tolist():
            status[i], gap[i] = Status.NON_FINITE, 1.0
        return Solution(value, tuple(status), gap, steps)

    def _advance(self) -> None:
        ratio = self.multiplier / self.slack
        solve = self.normal.factorise(self.ridge, ratio.sum(0))
        missing = self.target - self.ridge * self.nu - self._apply(self.multiplier[0] - self.multiplier[1])
        products = self.multiplier * self.slack
        average = products.mean((0, 2), keepdim=True)
        # predictor: straight to complementarity zero
        _, slack, multiplier = self._direction(solve, missing, -products, ratio)
        far = self._reach(self.slack, slack), self._reach(self.multiplier, multiplier)
        predicted = ((self.slack + far[0] * slack) * (self.multiplier + far[1] * multiplier)).mean((0, 2), keepdim=True)
        centring = (predicted / average).clamp(0, 1) ** 3
        # corrector: to the centre, with the predictor's second-order error taken back
        aim = centring * average - products - slack * multiplier
        nu, slack, multiplier = self._direction(solve, missing, aim, ratio)
        along = BOUNDARY * self._reach(self.slack, slack)
        self.nu += along[0] * nu
        self.slack += along * slack
        self.multiplier += BOUNDARY * self._reach(self.multiplier, multiplier) * multiplier

    def _direction(
        self, solve: Callable[[Tensor], Tensor], missing: Tensor, aim: Tensor, ratio: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        towards = aim / self.slack
        nu = solve(missing - self._apply(towards[0] - towards[1]))
        slope = self._adjoint(nu)
        slack = torch.stack([-slope, slope])
        return nu, slack, towards - ratio * slack

    def _reach(self, value: Tensor, direction: Tensor) -> Tensor:
        """[1, n, 1]: the longest step, at most 1, that keeps every value positive."""
        steps = torch.where(direction < 0, -value / direction, torch.inf)
        return steps.amin((0, 2)).clamp_max(1.0)[None, :, None]
