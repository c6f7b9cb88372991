"""Latent reconstruction: what the whole generator leaves of an image, from the latent that a learned encoder reads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from morelli.errors import MismatchError, OutOfRange
from morelli.features.protocol import Progress, SampleSpec
from morelli.numerics.levenberg import Levenberg
from morelli.numerics.program import Program
from morelli.numerics.spectrum import dct2
from morelli.numerics.state import State

EDGES = (0, 1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 2)  # of bands, in shares of the finest cosine
BANDS = len(EDGES) - 1
FLOOR = 1e-2  # squared grey steps; rounding leaves 1/12
FEW = 16  # latents, up to which derivatives are cheap
AT_ONCE = 16  # always as many, since other numbers of samples are summed in another order
DRAWN, COARSE = 8192, 16  # images made to start from, and pixels a side that they are compared at, about
STARTS, LONGER = 16, 6  # of the nearest ones, and steps from there
LOW = 4  # bands in which a wrong guess shows


@dataclass(frozen=True, eq=False)
class LatentReconstruction:
    """Log energies of the rest, then of the image itself, in bands of frequency, and the latent's length.

    The encoder's first guess is a little wrong, and it reads what that guess gives as wrongly: so the guess is moved
    by the difference of what it reads in the image and in the image made, some times over. An image of this generator
    comes back nearly as it was. Of any other image more is left, and how much more than usual depends on what it shows,
    for which the energies of the image itself are there. Where there are few latents and more is left of low
    frequencies than there is `doubt` from, it is searched for again from the nearest of many images made: of a VAE with
    ten latents one noisy own image in twelve is else made wrongly.

    Attributes:
        generator: [n, *latent] → [n, *spec.shape]. encoder: [n, *spec.shape] → [n, k], about the latents.
        rounds: how often the guess is moved.
        steps: of Levenberg–Marquardt on all pixels after that, where there are at most `FEW` latents: such generators
            fold, and an encoder's guesses are further off.
    Raises:
        MismatchError: samples that are no images, or programs that do not fit them or each other.
        OutOfRange: fewer than no rounds or steps.

    Source: ours. Moving on by what an encoder reads is iterative refinement as in ReStyle (Alaluf et al., ICCV 2021,
    arXiv 2104.02699), without a network for it: the encoder stands for the generator's inverse.
    """

    generator: Program
    encoder: Program
    spec: SampleSpec
    rounds: int = 2
    steps: int = 2

    def __post_init__(self) -> None:
        if not self.spec.is_image or self.encoder.in_shape != self.spec.shape:
            raise MismatchError(
                f"samples are {self.spec.shape} and the encoder reads {self.encoder.in_shape}; expected images of one "
                "shape for both."
            )
        read = self.encoder.results(1)[-1].shape
        if read != (1, math.prod(self.generator.in_shape)):
            raise MismatchError(f"the encoder gives {tuple(read[1:])}; the generator reads {self.generator.in_shape}.")
        made = tuple(self.generator.results(1)[-1].shape[1:])
        if made != self.spec.shape:
            raise MismatchError(f"the generator makes {made}; samples are {self.spec.shape}.")
        if min(self.rounds, self.steps) < 0:
            raise OutOfRange(f"a reconstruction has {self.rounds} rounds and {self.steps} steps; expected 0 or more.")

    @cached_property
    def _ready(self) -> dict[torch.device, tuple[Program, Program]]:
        """Generator and encoder for each device that samples came in."""
        return {}

    @property
    def few(self) -> bool:
        """Whether there are so few latents that anything is searched for."""
        return math.prod(self.generator.in_shape) <= FEW

    def left(
        self,
        samples: Tensor,
        known: Tensor | None = None,
        progress: Progress | None = None,
        *,
        doubt: float = math.inf,
    ) -> Tensor:
        """[n, *spec.shape] → [n, 2 BANDS + 1], float32. Raises MismatchError for another shape.

        Of a part only what is `known` [n, 1, h, w] counts; around it is taken what was made.

        Args:
            doubt: the `lowness` of features from which on images of few latents are searched for again.
        """
        self.spec.check(samples)
        values = [samples.new_zeros(0, 2 * BANDS + 1, dtype=torch.float32)]
        with torch.inference_mode(False), torch.no_grad():  # whatever the caller has switched on or off
            samples = samples.float().nan_to_num(0, 0, 0)
            for start in range(0, len(samples), AT_ONCE):
                some = _filled(samples[start : start + AT_ONCE])
                mask = None if known is None else _filled(known[start : start + AT_ONCE])
                count = min(AT_ONCE, len(samples) - start)
                values.append(self._features(some, mask, count, doubt)[:count])
                if progress:
                    progress(count)
        return torch.cat(values)

    def _features(self, images: Tensor, known: Tensor | None, count: int, doubt: float) -> Tensor:
        """Of the first `count`; the rest fills up."""
        made, latents = self._made(images, known, count, doubt)
        length = (latents.square().mean(1, keepdim=True) + FLOOR).log()
        return torch.cat([self._left_of(images, made, known), energies(self.spec.grey_steps(images)), length], 1)

    def _left_of(self, images: Tensor, made: Tensor, known: Tensor | None) -> Tensor:
        rest = self.spec.grey_steps(images) - self.spec.grey_steps(made)
        return energies(rest if known is None else rest * known)

    def _made(self, images: Tensor, known: Tensor | None, count: int, doubt: float) -> tuple[Tensor, Tensor]:
        """Images made again [n, *spec.shape], and what the encoder read at first [n, k]."""
        if images.device not in self._ready:
            programs = (each.to(images.device).channels_last() for each in (self.generator, self.encoder))
            self._ready[images.device] = next(programs), next(programs)
        encoder = self._ready[images.device][1]
        read = latents = encoder(images)
        made = self._make(latents)
        for _ in range(self.rounds):
            moved = read if known is None else encoder(torch.where(known, images, made))
            latents = latents + moved - encoder(made)
            made = self._make(latents)
        for i in range(count if self.few and self.steps else 0):  # each alone, so that no other matters to it
            mask = None if known is None else known[i]
            latent = _descended(self._make, latents[i : i + 1], images[i], mask, self.steps)
            made[i] = self._make(latent)[0]
            if lowness(self._left_of(images[i : i + 1], made[i : i + 1], mask)) > doubt:
                starts = torch.cat([latent, self._nearest(images[i], mask)])
                made[i] = self._make(_descended(self._make, starts, images[i], mask, LONGER))[0]
        return made, read

    def _make(self, latents: Tensor) -> Tensor:
        generator = self._ready[latents.device][0]
        return generator(latents.reshape(-1, *generator.in_shape)).clamp(self.spec.low, self.spec.high)

    def _nearest(self, image: Tensor, known: Tensor | None) -> Tensor:
        """Latents [STARTS, k] of the images most like this one, or like what is known of it, of all that were drawn."""
        if image.device not in self._drawn:
            rng = torch.Generator().manual_seed(0)
            latents = torch.randn(DRAWN, math.prod(self.generator.in_shape), generator=rng).to(image.device)
            coarse = torch.cat([self._coarse(self._make(some)) for some in latents.split(AT_ONCE)])
            self._drawn[image.device] = latents, coarse
        latents, coarse = self._drawn[image.device]
        told = torch.ones_like(image) if known is None else known.expand_as(image).to(image)
        apart = coarse * self._coarse(told[None]) - self._coarse((image * told)[None])
        return latents[apart.square().flatten(1).sum(1).topk(STARTS, largest=False).indices]

    def _coarse(self, images: Tensor) -> Tensor:
        return avg_pool2d(images, max(1, min(self.spec.shape[1:]) // COARSE))

    @cached_property
    def _drawn(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        """Latents drawn, and the images they give, averaged; for each device."""
        return {}

    def state(self) -> State:
        settings = {"spec": self.spec.settings(), "rounds": self.rounds, "steps": self.steps}
        return State(settings, parts={"generator": self.generator.state(), "encoder": self.encoder.state()})

    @staticmethod
    def from_state(state: State) -> LatentReconstruction:
        generator, encoder = (Program.from_state(state.parts[name]) for name in ("generator", "encoder"))
        spec = SampleSpec.from_settings(state.settings["spec"])
        return LatentReconstruction(generator, encoder, spec, state.settings["rounds"], state.settings["steps"])


def _descended(
    make: Callable[[Tensor], Tensor], starts: Tensor, image: Tensor, known: Tensor | None, steps: int
) -> Tensor:
    """The latent [1, k] that makes most of the image, or of what is known of it, downhill from starts [p, k]."""

    def residual(z: Tensor, rows: Tensor) -> Tensor:
        rest = make(z) - image
        return (rest if known is None else rest * known).flatten(1)

    found = Levenberg(steps, 0.0).solve(residual, starts)
    return found.value[found.cost.argmin()][None]


def lowness(features: Tensor) -> Tensor:
    """Features of what is left [n, ≥ BANDS] → [n]: log of how much stronger low frequencies are than the highest."""
    return features[:, :LOW].logsumexp(1) - math.log(LOW) - features[:, BANDS - 1]


def _filled(samples: Tensor) -> Tensor:
    """[n, …], n up to AT_ONCE → [AT_ONCE, …], the last again and again."""
    return torch.cat([samples, samples[-1:].expand(AT_ONCE - len(samples), *samples.shape[1:])])


def energies(images: Tensor) -> Tensor:
    """[n, c, h, w] in grey steps → [n, BANDS], logarithms of mean squares in rings of the cosine transform.

    Rings without a cosine, which small images have, count as empty of energy.
    """
    squares = dct2(images).square().mean(1)
    rows, columns = (torch.arange(side, device=images.device) / side for side in images.shape[2:])
    radius = (rows[:, None].square() + columns.square()).sqrt()
    rings = [(radius >= low) & (radius < high) for low, high in zip(EDGES[:-1], EDGES[1:], strict=True)]
    return torch.stack([(squares[:, ring].sum(1) / ring.sum().clamp_min(1) + FLOOR).log() for ring in rings], 1)
