"""Latent search: how much of a sample the whole generator cannot explain, by least squares on its latent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from morelli.errors import MismatchError, OutOfRange
from morelli.features.misfit import Misfit, check_eight_bits, misfit_of, unevenness_of_noise
from morelli.features.protocol import Facts, Features, Progress, SampleSpec
from morelli.features.row_search import RowSearch
from morelli.numerics.levenberg import Levenberg, Minimum
from morelli.numerics.program import Program
from morelli.numerics.state import State

BANK, AT_ONCE = 2_048, 256  # generated samples among which the nearest are found, and made in one batch
SIDE = 16  # pixels a side to which images are averaged for that
HOPS = (0.2, 1.0)  # standard deviations by which half of the later starts leave the best that was reached
PAIR = 2  # starts up to which a wave holds no hops and gives none up
PROBE = 8  # steps after which the worse half of a wave's starts is given up
ROUNDED = 0.1  # mean squared residual (1/12 is rounding alone) at which nothing is left to search for
REFINING, FEASIBLE = 20, 1e-4  # most steps towards what the file allows, and the mean squared distance that is none
CERTIFYING = 4  # times as many starts


@dataclass(frozen=True, eq=False)
class LatentSearch:
    """How far the nearest reconstruction is from what the sample's file allows: `features.misfit`.

    Levenberg–Marquardt on all pixels, from the latent that an encoder gives, where there is one, and those of the
    nearest generated samples: one, one more, two, four, …, until a residual is rounding or white noise, or `restarts`
    are used up. From the fourth wave on half of the starts are small hops away from the best end so far, and the worse
    half is given up after eight steps. For JPEG files the best is then moved on to the cells of the file's own
    coefficients.
    Each sample is searched for alone, so its batch cannot matter. Rows of tables are searched for by `RowSearch`.

    Attributes:
        generator: from latents [n, *latent], drawn from N(0, I), to samples [n, *spec.shape].
        restarts: starts at most; steps: of each, at most. tolerance: relative gain at which a start has ended.
        pull: of the latent towards zero, in grey steps; see `numerics.levenberg`.
        seed: of the generated samples.
        encoder: [n, *spec.shape] → [n, k], about the latents of images, in one row each.
    Raises:
        OutOfRange: a setting that has no meaning. MismatchError: samples of more than 8 bits.

    Source: ours; SM-Inv₂ of arXiv 2306.06210 asks the same and answers by Adam, with the plain distance as its score.
    """

    generator: Program
    spec: SampleSpec
    restarts: int = 32
    steps: int = 40
    tolerance: float = 1e-3
    pull: float = 0.0
    seed: int = 0
    encoder: Program | None = None
    bears: ClassVar[tuple[str, ...]] = ("noise", "jpeg")

    def __post_init__(self) -> None:
        if self.restarts not in range(1, BANK + 1):
            raise OutOfRange(f"a latent search has {self.restarts} restarts; expected 1 to {BANK}.")
        check_eight_bits(self.spec)
        self._solver(self.steps)

    @cached_property
    def _ready(self) -> dict[torch.device, _Nearest]:
        """The generated samples for each device that samples came in."""
        return {}

    @cached_property
    def least(self) -> float:
        """Excess below which nothing is told: of images what noise alone has; clean, noisy and JPEG files are alike."""
        return unevenness_of_noise(self.spec.shape) if self.spec.is_image else 0.0

    @cached_property
    def _rows(self) -> dict[torch.device, RowSearch]:
        """The same for rows of tables."""
        return {}

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, *spec.shape] → [n, 1], the excess: `least` for what a rounded, compressed or noisy own sample leaves.

        Of table rows it is the logarithm of 1 + `Explained.cost`. Notes: `psnr` (of the reconstruction, dB; of rows
        `rest`, the root mean squared miss), `steps` (of all starts), `starts`. Files whose compression is not known
        have a reason. Raises MismatchError for another shape.
        """
        self.spec.check(samples)
        if len(self.spec.shape) == 1:
            return self._explained(samples, progress)
        facts = [{}] * len(samples) if facts is None else facts
        ends = []
        for sample, known in zip(samples, facts, strict=True):
            ends.append(self._search(sample, known, self.restarts))
            if progress:
                progress(1)

        def column(name: str) -> Tensor:
            return samples.new_tensor([getattr(end, name) for end in ends], dtype=torch.float32)

        notes = {name: column(name) for name in ("psnr", "steps", "starts")}
        return Features(column("excess")[:, None], notes, tuple(end.reason for end in ends))

    def _explained(self, samples: Tensor, progress: Progress | None, restarts: int | None = None) -> Features:
        with torch.inference_mode(False), torch.no_grad():
            samples = samples.float().clone()
            if samples.device not in self._rows:
                self._rows[samples.device] = RowSearch(self.generator, self.spec, samples.device, self.seed)
            pull = self.pull or 1.0
            found = self._rows[samples.device].run(samples, restarts or self.restarts, self.steps, pull, progress)
        notes = {name: getattr(found, name).float() for name in ("rest", "steps", "starts")}
        return Features(found.cost.log1p().float()[:, None], notes, ("",) * len(samples))

    def certify(self, samples: Tensor, facts: Sequence[Facts]) -> SearchCertificate:
        """Of one sample [1, *spec.shape]: what its search reached, and what four times as many starts reach."""
        self.spec.check(samples)
        if len(self.spec.shape) == 1:
            return self._certified_row(samples)
        judged = self._search(samples[0], facts[0], self.restarts)
        starts = min(BANK, CERTIFYING * self.restarts)
        more = self._search(samples[0], facts[0], starts)
        return SearchCertificate(judged.excess, min(judged.excess, more.excess), max(judged.psnr, more.psnr), starts)

    def _certified_row(self, row: Tensor) -> SearchCertificate:
        starts = min(BANK, CERTIFYING * self.restarts)
        judged, more = self._explained(row, None), self._explained(row, None, starts)
        best = min(float(judged.values), float(more.values))
        rest = min(float(judged.notes["rest"]), float(more.notes["rest"]))
        return SearchCertificate(float(judged.values), best, -20 * math.log10(max(rest, 1e-9)), starts)

    def _solver(self, steps: int, target: float = 0.0) -> Levenberg:
        return Levenberg(steps, self.tolerance, target, self.pull, secant=not target)

    def _search(self, sample: Tensor, facts: Facts, restarts: int) -> _End:
        with torch.inference_mode(False), torch.no_grad():  # whatever the caller has switched on or off
            sample = sample.float().clone()
            if sample.device not in self._ready:
                self._ready[sample.device] = _Nearest(self, sample.device)
            return _Search(self._ready[sample.device], self, sample, facts).run(restarts)

    def state(self) -> State:
        names = ("restarts", "steps", "tolerance", "pull", "seed")
        settings: dict[str, Any] = {"type": "latent_search", "spec": self.spec.settings(), "least": self.least}
        parts = {"generator": self.generator.state()}
        if self.encoder is not None:
            parts["encoder"] = self.encoder.state()
        return State(settings | {name: getattr(self, name) for name in names}, parts=parts)

    @staticmethod
    def from_state(state: State) -> LatentSearch:
        settings = {name: value for name, value in state.settings.items() if name not in ("type", "spec", "least")}
        spec = SampleSpec.from_settings(state.settings["spec"])
        encoder = Program.from_state(state.parts["encoder"]) if "encoder" in state.parts else None
        search = LatentSearch(Program.from_state(state.parts["generator"]), spec, **settings, encoder=encoder)
        if not math.isclose(state.settings.get("least", 0.0), search.least, rel_tol=1e-9):
            raise MismatchError("this search was calibrated by another version, whose scores differ. Train it again.")
        return search


@dataclass(frozen=True)
class SearchCertificate:
    """Excess that was `judged`, the least that many `starts` reached, and the best reconstruction's `psnr` in dB."""

    judged: float
    best: float
    psnr: float
    starts: int

    def figures(self) -> dict[str, float]:
        return {"judged": self.judged, "best": self.best, "psnr": self.psnr, "starts": self.starts}


@dataclass(frozen=True)
class _End:
    """Where the search for one sample ended. `cost`: mean squared residual in steps."""

    cost: float
    excess: float
    psnr: float
    steps: int = 0
    starts: int = 0
    reason: str = ""


class _Nearest:
    """A generator on a device, and samples of it to start from."""

    def __init__(self, method: LatentSearch, device: torch.device) -> None:
        self.spec, self.shape = method.spec, method.generator.in_shape
        self.generator = method.generator.to(device).channels_last()
        self.encoder = None if method.encoder is None else method.encoder.to(device)
        if self.encoder is not None and self.encoder.results(1)[-1].shape != (1, math.prod(self.shape)):
            raise MismatchError("the encoder of this search gives other latents than its generator reads.")
        rng = torch.Generator().manual_seed(method.seed)
        self.latents = torch.randn(BANK, math.prod(self.shape), generator=rng).to(device)
        made = [self.made(some) for some in self.latents.split(AT_ONCE)]
        self.spread = made[0].std(0)
        self.seen = torch.cat([self._seen(some) for some in made])

    def made(self, latents: Tensor) -> Tensor:
        """[n, k] → [n, *spec.shape], clamped as samples are stored."""
        made, spec = self.generator(latents.reshape(-1, *self.shape)), self.spec
        if made[0].numel() != math.prod(spec.shape):
            raise MismatchError(f"the generator makes {tuple(made.shape[1:])}; samples are {spec.shape}.")
        return made.reshape(-1, *spec.shape).clamp(spec.low, spec.high)

    def starts(self, sample: Tensor, count: int) -> Tensor:
        """[count, k], the encoder's and then the nearest."""
        order = torch.cdist(self._seen(sample[None]), self.seen)[0].argsort(stable=True)
        first = self.latents[:0] if self.encoder is None else self.encoder(sample[None])
        return torch.cat([first, self.latents[order]])[:count]

    def _seen(self, samples: Tensor) -> Tensor:
        if not self.spec.is_image:
            return (samples / self.spread.clamp_min(1e-12)).flatten(1)
        return adaptive_avg_pool2d(samples, (min(SIDE, self.spec.shape[1]), min(SIDE, self.spec.shape[2]))).flatten(1)


class _Search:
    """For one sample."""

    def __init__(self, near: _Nearest, method: LatentSearch, sample: Tensor, facts: Facts) -> None:
        self.near, self.method, self.sample = near, method, sample
        self.rough, self.misfit, self.reason = misfit_of(sample, method.spec, facts, near.spread)

    def run(self, restarts: int) -> _End:
        nearest, rng = self.near.starts(self.sample, restarts), torch.Generator().manual_seed(self.method.seed)
        steps = used = 0
        best = _End(math.inf, math.inf, -math.inf)
        reached = (math.inf, nearest[0])
        while used < restarts:
            size = min(restarts - used, used or 1)
            hops = size // 2 if size > PAIR else 0
            fresh, nearest = nearest[: size - hops], nearest[size - hops :]
            away = torch.randn(hops, fresh.shape[1], generator=rng) * torch.empty(hops, 1).uniform_(
                *HOPS, generator=rng
            )
            wave = torch.cat([fresh, reached[1] + away.to(fresh)])
            found = self._wave(wave)
            used, steps = used + size, steps + int(found.steps.sum())
            first = found.cost.argmin()
            reached = min(reached, (float(found.cost[first]), found.value[first]), key=lambda pair: pair[0])
            end, more = self._judged(found.value[first][None])
            steps += more
            best = end if end.cost < best.cost else best
            if best.cost <= ROUNDED or best.excess <= self.method.least:
                break
        return replace(best, steps=steps, starts=used, reason=self.reason)

    def _wave(self, starts: Tensor) -> Minimum:
        """Where the starts ended, or were given up."""
        probe = min(PROBE, self.method.steps)
        found = self._solved(self.rough, starts, probe)
        kept = found.cost.argsort(stable=True)[: len(starts) // 2 if len(starts) > PAIR else len(starts)]
        going = kept[~found.converged[kept] & found.cost[kept].isfinite()]
        if probe < self.method.steps and len(going):
            later = self._solved(self.rough, found.value[going], self.method.steps - probe, found.damping[going])
            found.value[going], found.cost[going] = later.value, later.cost
            found.steps[going] += later.steps
        return found

    def _judged(self, z: Tensor) -> tuple[_End, int]:
        """Moved on to what the file allows, where that is not a point for every pixel; and the steps it took."""
        steps = 0
        if self.misfit is not self.rough:
            found = self._solved(self.misfit, z, REFINING, target=FEASIBLE)
            z, steps = found.value, int(found.steps.sum())
        made = self.near.made(z)
        rest, plain = self.misfit.residual(made), self.rough.residual(made)
        psnr = 20 * math.log10(self.rough.peak) - 10 * math.log10(max(float(plain.square().mean()), 1e-12))
        cost, least = float(rest.square().mean()), self.method.least
        rounded = self.misfit is self.rough and self.method.spec.is_image and cost <= ROUNDED
        excess = least if rounded else max(float(self.misfit.excess(rest)), least)
        return _End(cost, excess, psnr), steps

    def _solved(
        self, misfit: Misfit, z: Tensor, steps: int, damping: Tensor | None = None, target: float = 0.0
    ) -> Minimum:
        def residual(z: Tensor, rows: Tensor) -> Tensor:
            return misfit.residual(self.near.made(z))

        return self.method._solver(steps, target).solve(residual, z, damping)
