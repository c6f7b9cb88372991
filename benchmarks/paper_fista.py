"""The published inversion solver, as the yardstick of the benchmarks. Not part of the package, on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from morelli.errors import OutOfRange
from morelli.numerics.lasso import LassoProblem, Solution, Status, duality_gap
from morelli.numerics.linear import squared_norm


class NotApplicable(OutOfRange):
    """The hand-set step is too long for this head: the iteration would diverge, so there is nothing to time."""


@dataclass(frozen=True)
class PaperFista:
    """FISTA with a step set by hand, stopped by an absolute change; the batch steps on until its slowest is done.

    `Solution.gap` is computed once, at the end. `Status.CONVERGED` means here that the method's own rule held.

    Attributes:
        step: .025 for the DCGAN and LSGAN heads trained on CelebA, .00075 on LSUN, .01 for Stable Diffusion, .001
            for tables.
        start: the first u. The published one is the anchor (so that z = 2·anchor, a slip); None is zero.
        change: done when the largest per-sample mean |Δu| is at most this: 1e-5 for images, 1e-4 for tables.
        max_steps: 10,000 for GANs and tables, 1,000 for latent diffusion.

    Source: arXiv 2306.06210, released settings. Differs: runs on our maps, so that only the method is compared,
    and refuses a step that cannot converge.
    """

    step: float = 0.025
    start: Tensor | None = None
    change: float = 1e-5
    max_steps: int = 10_000

    def check(self, problem: LassoProblem) -> None:
        """Raises NotApplicable for a step above 4/(3L): there the momentum makes FISTA diverge (without it, 2/L)."""
        norm = squared_norm(problem.map) if problem.norm is None else problem.norm
        longest = 4 / (3 * norm) if norm > 0 else math.inf
        if self.step > longest:
            raise NotApplicable(
                f"the published step is {self.step}; with L = {norm:.4g} FISTA converges only below {longest:.4g}."
            )

    def iterates(self, problem: LassoProblem) -> Iterator[tuple[int, Tensor, float]]:
        """(steps taken, u, largest per-sample mean |Δu|), after every step up to the limit, the stopping rule aside."""
        target, linear, weight = problem.fidelity.centre, problem.map, float(problem.weight)
        first = target.new_zeros(linear.in_shape) if self.start is None else self.start.to(target)
        u = first.expand(len(target), *linear.in_shape)
        ahead, momentum = u, 1.0
        for taken in range(1, self.max_steps + 1):
            gradient = linear.adjoint(linear.apply(ahead) - target)
            new = softshrink(ahead - self.step * gradient, self.step * weight)
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = new + (momentum - 1) / following * (new - u)
            moved = float((new - u).abs().flatten(1).mean(1).max())
            u, momentum = new, following
            yield taken, u, moved

    def solve(self, problem: LassoProblem, progress: Callable[[int], None] | None = None) -> Solution:
        """Raises NotApplicable, see `check`."""
        n = len(problem.fidelity.centre)
        self.check(problem)
        taken, u, done = 0, problem.fidelity.centre.new_zeros(n, *problem.map.in_shape), True
        for taken, u, moved in self.iterates(problem) if n else ():  # noqa: B007
            if done := moved <= self.change:
                break
        ended = Status.CONVERGED if done else Status.STEP_LIMIT
        finite = u.flatten(1).isfinite().all(1)
        status = tuple(ended if ok else Status.NON_FINITE for ok in finite.tolist())
        gap = torch.where(finite, duality_gap(problem, u), 1.0)
        if progress and n:
            progress(n)
        return Solution(u, status, gap, torch.full((n,), taken, dtype=torch.int64))
