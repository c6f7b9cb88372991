"""Closed forms behind the same seam: minimum norm around the anchor, and ridge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch

from morelli.numerics.gram import GramFactor
from morelli.numerics.lasso import LassoProblem, Solution, Status, duality_gap, factorised, zero_solution
from morelli.numerics.slots import slot_count


@dataclass(frozen=True)
class LeastSquares:
    """u = adjoint((map·adjoint + ridge·‖map‖²·I)⁻¹ centre): one exact solve and no steps.

    With a ridge near zero the smallest ‖u‖₂ that reaches the middle of what the sample allows; otherwise the ridge
    regression. It does not minimise the lasso, whose gap is reported all the same.

    Attributes:
        ridge: as a share of the squared norm of the map; 1e-6 only keeps float32 stable.
        factor: as in `Pdhg`.
    """

    ridge: float = 1e-6
    factor: str = "auto"

    def prepare(self, problem: LassoProblem) -> LassoProblem:
        return factorised(problem, self.ridge, self.factor)

    def solve(self, problem: LassoProblem, progress: Callable[[int], None] | None = None) -> Solution:
        problem = self.prepare(problem)
        n, found, together = len(problem.fidelity), zero_solution(problem), slot_count(problem)
        if not n or not problem.norm:
            return found
        factor = cast(GramFactor, problem.factor)
        for start in range(0, n, together):
            count = min(n - start, together)
            some = torch.arange(start, start + together).clamp_max(n - 1)  # always as many; see `numerics.slots`
            part = replace(problem, fidelity=problem.fidelity.rows(some.to(found.value.device)))
            u = problem.map.adjoint(factor.solve(part.fidelity.centre))
            found.value[start : start + count] = u[:count]
            found.gap[start : start + count] = duality_gap(part, u)[:count]
            if progress:
                progress(count)
        finite = found.gap.isfinite()
        status = tuple(Status.CLOSED_FORM if ok else Status.NON_FINITE for ok in finite.tolist())
        return replace(found, status=status, gap=torch.where(finite, found.gap, 1.0))
