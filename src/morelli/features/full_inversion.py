"""Full inversion: how near the whole generator can come to a sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from morelli.errors import MismatchError, OutOfRange, UnsuitableSolver
from morelli.features.latent_search import LatentSearch, SearchCertificate
from morelli.features.protocol import Facts, Features, Progress, SampleSpec
from morelli.numerics.program import Program
from morelli.numerics.state import State

AT_ONCE = 256  # latents searched in one batch; results do not depend on it up to rounding
BANK = 2_048  # generated samples among which the nearest are found
RUNGS = (1 / 8, 1 / 4, 1 / 2)  # of all steps, after which the worse half of the restarts left is given up
DECAY, EPSILON = (0.9, 0.999), 1e-8  # of Adam


@dataclass(frozen=True, eq=False)
class FullInversion:
    """The smallest distance to a sample that `restarts` searches through the generator's latents reach.

    Adam on the latent, all restarts of many samples in one batch. Distance: mean squared difference of values in
    [−1, 1], or of what `perceptual` makes of them.

    Attributes:
        generator: from latents [n, *latent], drawn from N(0, I), to samples [n, *spec.shape].
        restarts, steps, rate: of the search; the rate is Adam's.
        halving: give up the worse half of a sample's restarts after 1/8, 1/4 and 1/2 of the steps.
        start: "normal", N(0, I), the same for every sample; or "nearest", the latents of those of 2,048 generated
            samples that are nearest to the sample.
        perceptual: from samples in [−1, 1] to anything; a network of the user's or the one that we ship.
        seed: of the starts.
    Raises:
        OutOfRange: a setting that has no meaning.

    Source: SM-Inv₂ and SM-Inv_inc in arXiv 2306.06210, appendix (10 restarts, 1,000 steps, rate 0.1). Differs: restarts
    are halved, and SM-Inv_inc's Inception features are replaced by those of `perceptual`.
    """

    generator: Program
    spec: SampleSpec
    restarts: int = 10
    steps: int = 1000
    rate: float = 0.1
    halving: bool = True
    start: str = "normal"
    perceptual: Program | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.restarts not in range(1, BANK + 1) or self.steps < 1 or not 0 < self.rate < math.inf:
            raise OutOfRange(
                f"a full inversion has {self.restarts} restarts, {self.steps} steps and rate {self.rate}; expected at "
                f"least 1 of each, at most {BANK} restarts, and a positive rate."
            )
        if self.start not in ("normal", "nearest"):
            raise OutOfRange(f"a full inversion starts from '{self.start}'; expected normal or nearest.")

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, *spec.shape] → [n, 1], the distance. Raises MismatchError for another shape."""
        self.spec.check(samples)
        with torch.inference_mode(False), torch.enable_grad():  # whatever the caller has switched off
            values = self._distances(samples.float().clone(), progress)
        return Features(values[:, None], {"saturated": torch.zeros(len(values))}, ("",) * len(values))

    def certify(self, samples: Tensor, facts: Sequence[Facts]) -> SearchCertificate:
        """Of one image: the distance that this search reaches, and the least that least squares reach besides.

        Raises UnsuitableSolver where distances are not those of pixels.
        """
        if self.perceptual is not None or not self.spec.is_image:
            raise UnsuitableSolver("only a search by the pixels of images is certified. Use no perceptual network.")
        judged = float(self.extract(samples).values)
        other = LatentSearch(self.generator, self.spec, seed=self.seed).certify(samples, [{}])  # pixels, not JPEG cells
        return replace(other, judged=judged, best=min(judged, 4 * 10 ** (-other.psnr / 10)))  # as a square in [−1, 1]

    def _distances(self, samples: Tensor, progress: Progress | None) -> Tensor:
        values = samples.new_zeros(len(samples))
        if not len(samples):
            return values
        search = _Search(self, samples.device)
        count = max(1, AT_ONCE // self.restarts)
        for start in range(0, len(samples), count):
            images = self._scaled(samples[start : start + count])
            filled = torch.cat([images, images.new_zeros(count - len(images), *self.spec.shape)])
            values[start : start + count] = search.distance(filled)[: len(images)]
            if progress:
                progress(len(images))
        return values

    def _scaled(self, samples: Tensor) -> Tensor:
        """To [−1, 1], where the range is finite."""
        middle, half = (self.spec.high + self.spec.low) / 2, (self.spec.high - self.spec.low) / 2
        return (samples - middle) / half if math.isfinite(half) else samples

    def state(self) -> State:
        names = ("restarts", "steps", "rate", "halving", "start", "seed")
        settings: dict[str, Any] = {"type": "full_inversion", "spec": self.spec.settings()}
        parts = {"generator": self.generator.state()}
        if self.perceptual is not None:
            parts["perceptual"] = self.perceptual.state()
        return State(settings | {name: getattr(self, name) for name in names}, parts=parts)

    @staticmethod
    def from_state(state: State) -> FullInversion:
        settings = {name: value for name, value in state.settings.items() if name not in ("type", "spec")}
        programs = {name: Program.from_state(part) for name, part in state.parts.items()}
        spec = SampleSpec.from_settings(state.settings["spec"])
        return FullInversion(programs["generator"], spec, perceptual=programs.get("perceptual"), **settings)


class _Search:
    """The same search for one batch of samples after another, all of one size."""

    def __init__(self, method: FullInversion, device: torch.device) -> None:
        perceptual = method.perceptual
        self.method = replace(
            method,
            generator=method.generator.to(device),
            perceptual=None if perceptual is None else perceptual.to(device),
        )
        rng = torch.Generator().manual_seed(method.seed)
        count = method.restarts if method.start == "normal" else BANK
        shape = method.generator.in_shape
        self.latents = torch.stack([torch.randn(shape, generator=rng) for _ in range(count)]).to(device)
        if method.start == "nearest":
            with torch.no_grad():
                self.bank = torch.cat([self._made(batch).flatten(1) for batch in self.latents.split(AT_ONCE)])

    def distance(self, samples: Tensor) -> Tensor:
        """[n, *shape] in [−1, 1] → [n]."""
        n, method = len(samples), self.method
        left = method.restarts
        z = self._starts(samples)
        targets = self._seen(samples).repeat_interleave(left, 0)
        first, second = torch.zeros_like(z), torch.zeros_like(z)
        best = z.new_full((len(z),), math.inf)
        rungs = {math.ceil(share * method.steps) for share in RUNGS} if method.halving else set()
        for step in range(1, method.steps + 1):
            z.requires_grad_()
            loss = (self._seen(self._made(z)) - targets).flatten(1).square().mean(1)
            (slope,) = torch.autograd.grad(loss.sum(), z)
            z = z.detach()
            best = torch.minimum(best, loss.detach().nan_to_num(math.inf))
            first = DECAY[0] * first + (1 - DECAY[0]) * slope
            second = DECAY[1] * second + (1 - DECAY[1]) * slope.square()
            deviation = (second / (1 - DECAY[1] ** step)).sqrt()
            z = z - method.rate / (1 - DECAY[0] ** step) * first / (deviation + EPSILON)
            if step in rungs and left > 1:
                order = best.reshape(n, left).argsort(dim=1, stable=True)[:, : (left + 1) // 2]
                kept = (order + left * torch.arange(n, device=z.device)[:, None]).flatten()
                left = order.shape[1]
                z, first, second, best, targets = (x[kept] for x in (z, first, second, best, targets))
        return best.reshape(n, left).amin(1)

    def _starts(self, samples: Tensor) -> Tensor:
        if self.method.start == "normal":
            return self.latents.repeat(len(samples), *[1] * (self.latents.ndim - 1))
        distances = torch.cdist(samples.flatten(1), self.bank)
        return self.latents[distances.topk(self.method.restarts, largest=False).indices.flatten()]

    def _made(self, latents: Tensor) -> Tensor:
        made, spec = self.method.generator(latents), self.method.spec
        if made[0].numel() != math.prod(spec.shape):
            raise MismatchError(f"the generator makes {tuple(made.shape[1:])}; samples are {spec.shape}.")
        return self.method._scaled(made.reshape(-1, *spec.shape).clamp(spec.low, spec.high))  # as samples are stored

    def _seen(self, samples: Tensor) -> Tensor:
        return samples if self.method.perceptual is None else self.method.perceptual(samples)
