"""Final-layer inversion: the activation that explains a sample, found by a lasso towards the anchor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, max_pool2d

from morelli.errors import MismatchError, UnsuitableSolver
from morelli.features.observation import OBSERVATIONS, Observation, Point
from morelli.features.prior import PRIORS, Prior, Sparse
from morelli.features.protocol import Facts, Features, Progress, SampleSpec
from morelli.features.windows import Window
from morelli.numerics.fidelity import Cells
from morelli.numerics.head import Head
from morelli.numerics.lasso import LassoProblem, Solution, Solver, Status, objective
from morelli.numerics.solvers import solver_from_settings, solver_settings
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.interior_point import InteriorPoint
from morelli.numerics.solvers.pdhg import Pdhg
from morelli.numerics.state import State, from_named, named

BATCH, NUMBERS = 512, 2**26  # samples and activations at a time; results do not depend on it


def attribution_solver() -> Fista:
    """The same 20 steps for every sample, stopped on purpose long before convergence; the gap is still reported.

    Chosen on one clothing GAN with another as the only negative, where more steps attributed worse. With other
    negatives converged inversions were better on clean files; see docs/choosing.md and `attribution.kinds.INVERSIONS`.
    """
    return Fista(tolerance=1.0, min_steps=20)


@dataclass(frozen=True, eq=False)
class Inversion:
    """Features ẑ − anchor, max-pooled where asked.

    Attributes:
        head: of the generator in question; decides what samples must look like.
        weight: α of the lasso in the ½-form. The paper uses 5e-4 for small GANs.
        pool: size and stride of the max-pooling of ẑ; 1 is none. The paper pools LSGAN's by 2.
        solver: its settings are part of the feature and are saved with it.
        observation: what a stored value says about the pre-activation behind it; the paper's is the point.
        prior: what is known of the activation; the paper's is sparsity around the anchor.
        window: for large images, how much is solved at a time, or at all; None for everything at once.

    Source: arXiv 2306.06210, sections 4 and 5. Differs: features are ẑ − anchor, not ẑ, which a detector that
    standardises cannot tell apart; every sample carries the certificate of its own inversion.
    """

    head: Head
    weight: float = 5e-4
    pool: int = 1
    solver: Solver = field(default_factory=attribution_solver)
    observation: Observation = field(default_factory=Point)
    prior: Prior = field(default_factory=Sparse)
    window: Window | None = None

    @cached_property
    def _ready(self) -> dict[tuple[torch.device, torch.dtype], tuple[Head, LassoProblem]]:
        """Head and prepared problem for each device and precision that samples came in."""
        return {}

    @property
    def spec(self) -> SampleSpec:
        stored = self.head.stored
        return SampleSpec(self.head.map.out_shape, stored.low, stored.high, self.head.form)

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, *spec.shape] → features, with notes `saturated` (share of outputs), `gap` and `steps`.

        A sample outside the head's output range is inverted as far as the range goes, and its reason says so. `facts`
        are those of the samples' files; an observation that reads them takes none as "not known".

        Raises:
            MismatchError: another shape. UnsuitableSolver: the solver does not take this observation or prior.
        """
        self.spec.check(samples)
        facts = [{}] * len(samples) if facts is None else facts
        step = max(1, min(BATCH, NUMBERS // math.prod(self.head.map.in_shape)))
        starts = range(0, max(1, len(samples)), step)
        parts = [self._extract(samples[k : k + step], progress, facts[k : k + step]) for k in starts]
        return Features.concatenate(parts)

    def prepare(self, device: str = "cpu") -> None:
        """Work out what depends on the head alone, for float32 samples. Raises UnsuitableSolver before any is read."""
        self._prepared(torch.zeros(0, *self.spec.shape, device=device))

    def problem(self, samples: Tensor, facts: Sequence[Facts]) -> LassoProblem:
        """What is solved for samples inside the head's output range, all that depends on the map alone worked out.

        Raises MismatchError with a window, where each sample is many problems.
        """
        head, prepared = self._prepared(samples)
        return replace(prepared, fidelity=self.observation.fidelity(head, samples, facts))

    def _prepared(self, samples: Tensor) -> tuple[Head, LassoProblem]:
        key = (samples.device, samples.dtype)
        if key not in self._ready:
            head = self.head.to(*key)
            problem = self._posed(head, samples[:0], [])
            if self.window is not None:
                problem = self.window.cut(problem)
            self._ready[key] = head, self.solver.prepare(problem)
        return self._ready[key]

    def _posed(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> LassoProblem:
        norm = None if head.conditioning is None else head.conditioning.largest
        return self.prior.problem(head, self.observation.fidelity(head, samples, facts), self.weight, norm)

    def _solve(self, samples: Tensor, facts: Sequence[Facts], progress: Progress | None) -> Solution:
        head, prepared = self._prepared(samples)
        fidelity = self.observation.fidelity(head, samples, facts)
        if self.window is None:
            return self.solver.solve(replace(prepared, fidelity=fidelity), progress)
        return self.window.solve(self.solver, prepared, head.map, fidelity, progress)

    def _extract(self, samples: Tensor, progress: Progress | None, facts: Sequence[Facts]) -> Features:
        outside = self.spec.outside(samples).tolist()
        samples = samples.clamp(self.head.activation.low, self.head.activation.high)
        solution = self._solve(samples, facts, progress)
        reasons = tuple(map(_reason, solution.status, outside))
        saturated = self.head.activation.saturated(samples).flatten(1).float().mean(1)
        notes = {"saturated": saturated, "gap": solution.gap, "steps": solution.steps.to(samples)}
        head, _ = self._prepared(samples)
        anchor = head.anchor if self.window is None else self.window.crop_of(head.anchor)
        activation = self.prior.activation(head, solution.value) + anchor
        return Features(self._pooled(activation) - self._pooled(anchor[None]), notes, reasons)

    def certify(self, samples: Tensor, facts: Sequence[Facts]) -> Certificate:
        """How far this extractor's inversions are from the optimum, proved in float64 by an exact solver.

        By the interior point where it takes the problem, else by PDHG to a gap of a thousandth.

        Raises:
            UnsuitableSolver: with windows there is no single problem; or the closed form of a Gaussian prior.
        """
        if self.window is not None or not isinstance(self.prior, Sparse):
            raise UnsuitableSolver("only a lasso over the whole sample is certified. Use no window and prior.")
        samples = samples.clamp(self.head.activation.low, self.head.activation.high)
        u = self._solve(samples, facts, None).value.to("cpu", torch.float64)
        problem = self._posed(self.head.to("cpu", torch.float64), samples.to("cpu", torch.float64), facts)
        reached, exact = objective(problem, u), _exact(problem)
        least = objective(problem, exact.value) * (1 - exact.gap)
        return Certificate(reached / least.clamp_min(1e-30) - 1, exact.gap)

    def _pooled(self, z: Tensor) -> Tensor:
        if self.pool == 1:
            return z
        if z.ndim not in (3, 4):
            raise MismatchError(f"pooling needs activations with one or two axes beside channels, not {z.shape[1:]}.")
        return max_pool2d(z, self.pool) if z.ndim == 4 else max_pool1d(z, self.pool)

    def state(self) -> State:
        settings = {
            "type": "inversion",
            "weight": self.weight,
            "pool": self.pool,
            "solver": solver_settings(self.solver),
            "observation": named(self.observation, OBSERVATIONS),
            "prior": named(self.prior, PRIORS),
            "window": None if self.window is None else self.window.settings(),
        }
        head = replace(self.head, generator=None, autoencoder=None)
        return State(settings, parts={"head": head.state()})

    @staticmethod
    def from_state(state: State) -> Inversion:
        settings = state.settings
        head = Head.from_state(state.parts["head"])
        return Inversion(
            head,
            settings["weight"],
            settings["pool"],
            solver_from_settings(settings["solver"]),
            from_named(settings.get("observation", {"type": "point"}), OBSERVATIONS),
            from_named(settings.get("prior", {"type": "sparse"}), PRIORS),
            Window.from_settings(settings.get("window")),
        )


@dataclass(frozen=True, eq=False)
class Certificate:
    """Per sample, [n] each: `excess`, by at most what share of the optimum the objective is above it (1: twice the
    optimum), and the relative duality gap of the exact solution that proves it."""

    excess: Tensor
    gap: Tensor

    def figures(self) -> dict[str, float]:
        """Of a single sample."""
        return {"excess": float(self.excess), "gap": float(self.gap)}


def _exact(problem: LassoProblem) -> Solution:
    try:
        return InteriorPoint().solve(problem)
    except UnsuitableSolver:
        separable = isinstance(problem.fidelity, Cells)
        solver: Solver = Pdhg(1e-3, max_steps=10_000) if separable else Fista(1e-3, max_steps=50_000)
        return solver.solve(problem)


def _reason(status: Status, outside: bool) -> str:
    if outside:
        return "values lie outside the range that the model's output activation can make."
    return "" if status in (Status.CONVERGED, Status.CLOSED_FORM) else f"inversion: {status.value}"


def saturated_share(features: Features) -> Tensor:
    """[n]; zeros for extractors that undo no activation."""
    return features.notes.get("saturated", torch.zeros(len(features)))
