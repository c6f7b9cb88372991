"""Latent reconstruction: what the whole generator leaves of an image, from the latent that a learned encoder reads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

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


@dataclass(frozen=True, eq=False)
class LatentReconstruction:
    """Log energies of the rest, then of the image itself, in bands of frequency, and the latent's length.

    The encoder's first guess is a little wrong, and it reads what that guess gives as wrongly: so the guess is moved
    by the difference of what it reads in the image and in the image made, some times over. An image of this generator
    comes back nearly as it was. Of any other image more is left, and how much more than usual depends on what it shows,
    for which the energies of the image itself are there.

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

    def left(self, samples: Tensor, known: Tensor | None = None, progress: Progress | None = None) -> Tensor:
        """[n, *spec.shape] → [n, 2 BANDS + 1], float32. Raises MismatchError for another shape.

        Of a part only what is `known` [n, 1, h, w] counts; around it is taken what was made.
        """
        self.spec.check(samples)
        values = [samples.new_zeros(0, 2 * BANDS + 1, dtype=torch.float32)]
        with torch.inference_mode(False), torch.no_grad():  # whatever the caller has switched on or off
            samples = samples.float().nan_to_num(0, 0, 0)
            for start in range(0, len(samples), AT_ONCE):
                some = _filled(samples[start : start + AT_ONCE])
                mask = None if known is None else _filled(known[start : start + AT_ONCE])
                count = min(AT_ONCE, len(samples) - start)
                values.append(self._features(some, mask, count)[:count])
                if progress:
                    progress(count)
        return torch.cat(values)

    def _features(self, images: Tensor, known: Tensor | None, count: int) -> Tensor:
        """Of the first `count`; the rest fills up."""
        made, latents = self._made(images, known, count)
        steps = self.spec.grey_steps(images)
        rest = steps - self.spec.grey_steps(made)
        rest = rest if known is None else rest * known
        length = (latents.square().mean(1, keepdim=True) + FLOOR).log()
        return torch.cat([energies(rest), energies(steps), length], 1)

    def _made(self, images: Tensor, known: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
        """Images made again [n, *spec.shape], and what the encoder read at first [n, k]."""
        if images.device not in self._ready:
            programs = (each.to(images.device).channels_last() for each in (self.generator, self.encoder))
            self._ready[images.device] = next(programs), next(programs)
        generator, encoder = self._ready[images.device]

        def make(latents: Tensor) -> Tensor:
            return generator(latents.reshape(-1, *generator.in_shape)).clamp(self.spec.low, self.spec.high)

        read = latents = encoder(images)
        made = make(latents)
        for _ in range(self.rounds):
            latents = latents + (read if known is None else encoder(torch.where(known, images, made))) - encoder(made)
            made = make(latents)
        if self.steps and latents.shape[1] <= FEW:
            for i in range(count):  # each alone, so that no other matters to it
                mask = None if known is None else known[i]
                made[i] = make(_descended(make, latents[i : i + 1], images[i], mask, self.steps))[0]
        return made, read

    def state(self) -> State:
        settings = {"spec": self.spec.settings(), "rounds": self.rounds, "steps": self.steps}
        return State(settings, parts={"generator": self.generator.state(), "encoder": self.encoder.state()})

    @staticmethod
    def from_state(state: State) -> LatentReconstruction:
        generator, encoder = (Program.from_state(state.parts[name]) for name in ("generator", "encoder"))
        spec = SampleSpec.from_settings(state.settings["spec"])
        return LatentReconstruction(generator, encoder, spec, state.settings["rounds"], state.settings["steps"])


def _descended(
    make: Callable[[Tensor], Tensor], start: Tensor, image: Tensor, known: Tensor | None, steps: int
) -> Tensor:
    """A latent [1, k] that makes more of the image, or of what is known of it, than the start does."""

    def residual(z: Tensor, rows: Tensor) -> Tensor:
        rest = make(z) - image
        return (rest if known is None else rest * known).flatten(1)

    return Levenberg(steps, 0.0).solve(residual, start).value


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
