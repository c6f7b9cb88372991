"""Latent descent: how much of an image a latent decoder cannot make, from the encoder's latent downhill."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from morelli.errors import MismatchError, OutOfRange
from morelli.features.misfit import BLOCK, check_eight_bits, misfit_of
from morelli.features.protocol import Facts, Features, Progress, SampleSpec
from morelli.numerics.bottleneck import split_at_bottleneck
from morelli.numerics.program import Program
from morelli.numerics.state import State

KEPT = 30  # steps whose gradients are remembered
REFINING = 30  # steps towards what a JPEG file allows, after those towards its pixels
ROUNDED = 0.1  # mean squared residual in steps² at which nothing is left to search for; rounding alone leaves 1/12
PLAIN = 0.3  # steps² of detail below which a block is plain
LARGE = 0.75  # share of the blocks that a score is not less than


@dataclass(frozen=True, eq=False)
class LatentDescent:
    """What the best latent leaves of an image, block by block, beside what the image has of detail there.

    An image that the decoder made has a latent that gives it back up to rounding; of any other a few numbers for each
    block of pixels cannot. L-BFGS on all pixels finds it from the encoder's, for JPEG files then on to the cells of
    the file's own coefficients. In places of some own images it ends in a wrong valley, and blocks without detail are
    easy to make for any decoder: so the value is the upper quartile, over blocks of 8×8, of log(rest / detail).

    Attributes:
        autoencoder: [n, *spec.shape] → encoded and decoded, not clamped.
        steps: evaluations of the decoder and its gradient, at most.
    Raises:
        MismatchError: samples of another shape than the autoencoder's, or of more than 8 bits.
        UnsuitableProgram: the autoencoder is nowhere narrower than its input.
        OutOfRange: no steps.

    Source: LatentTracer, arXiv 2405.13360 (ICML 2024): gradient descent from the encoder's latent. Differs: L-BFGS in
    place of Adam; what an own file cannot hold is not counted (rounding, JPEG's cells, clamped pixels); scored by
    blocks beside their detail in place of the mean.
    """

    autoencoder: Program
    spec: SampleSpec
    steps: int = 100

    def __post_init__(self) -> None:
        if not self.spec.is_image or self.autoencoder.in_shape != self.spec.shape:
            raise MismatchError(
                f"samples are {self.spec.shape} and the autoencoder reads {self.autoencoder.in_shape}; expected images "
                "of one size for both."
            )
        if self.steps < 1:
            raise OutOfRange(f"a latent descent has {self.steps} steps; expected at least 1.")
        check_eight_bits(self.spec)
        self._halves  # noqa: B018

    @cached_property
    def _halves(self) -> tuple[Program, Program]:
        return split_at_bottleneck(self.autoencoder)

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, *spec.shape] → [n, 1]; notes `psnr` (of the reconstruction, dB) and `steps`. Each is searched for alone.

        Files whose compression is not known have a reason. Raises MismatchError for another shape.
        """
        self.spec.check(samples)
        encoder, decoder = (half.to(samples.device) for half in self._halves)
        outside, found = self.spec.outside(samples).tolist(), []
        for i, sample in enumerate(samples.float()):
            with torch.inference_mode(False), torch.enable_grad():
                found.append(self._descend(encoder, decoder, sample.clone(), facts[i] if facts else {}))
            if progress:
                progress(1)
        values, psnr, steps = (samples.new_tensor([end[k] for end in found]) for k in range(3))
        reasons = [
            "values lie outside the range that the model can make." if out else end[3]
            for out, end in zip(outside, found, strict=True)
        ]
        return Features(values[:, None], {"psnr": psnr, "steps": steps}, tuple(reasons))

    def _descend(
        self, encoder: Program, decoder: Program, sample: Tensor, facts: Facts
    ) -> tuple[float, float, int, str]:
        """The value, the PSNR, the steps it took, and a reason or nothing."""
        low, high = self.spec.low, self.spec.high
        rough, misfit, reason = misfit_of(sample, self.spec, facts, torch.zeros_like(sample))

        def pixels(latent: Tensor) -> Tensor:
            """What is beyond the range where the sample is at its end is clamped, and no error."""
            made = decoder(latent)
            made = torch.where((sample >= high) & (made > high), high, made)
            return rough.residual(torch.where((sample <= low) & (made < low), low, made))

        with torch.no_grad():
            start = encoder(sample[None])
        latent, steps = downhill(pixels, start, self.steps, ROUNDED)
        if misfit is not rough:
            latent, more = downhill(lambda x: misfit.residual(decoder(x).clamp(low, high)), latent, REFINING, 0.0)
            steps += more
        with torch.no_grad():
            made = decoder(latent).clamp(low, high)
            rest = misfit.blocks(misfit.residual(made))
            detail = _detail(self.spec.grey_steps(sample[None]))
            value = ((rest + ROUNDED) / (detail + PLAIN)).log().flatten().quantile(LARGE)
            psnr = 20 * math.log10(rough.peak) - 10 * rough.residual(made).square().mean().clamp_min(1e-12).log10()
        if not value.isfinite():
            reason = "some values, or what the autoencoder makes of them, are not finite; check their range."
        return float(value), float(psnr), steps, reason

    def state(self) -> State:
        settings = {"type": "latent_descent", "spec": self.spec.settings(), "steps": self.steps}
        return State(settings, parts={"autoencoder": self.autoencoder.state()})

    @staticmethod
    def from_state(state: State) -> LatentDescent:
        spec = SampleSpec.from_settings(state.settings["spec"])
        return LatentDescent(Program.from_state(state.parts["autoencoder"]), spec, state.settings["steps"])


def downhill(residual: Callable[[Tensor], Tensor], start: Tensor, steps: int, target: float) -> tuple[Tensor, int]:
    """Where the mean square of a residual is least near `start`, and how many evaluations it took.

    L-BFGS with a line search (strong Wolfe conditions); it ends at the target, too.
    """
    latent, taken = start.clone().requires_grad_(True), 0
    search = torch.optim.LBFGS(
        [latent],
        max_iter=steps,
        max_eval=steps,
        history_size=KEPT,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=1e-9,
    )

    def cost() -> Tensor:
        nonlocal taken
        taken += 1
        search.zero_grad()
        found = residual(latent).square().mean()
        if float(found.detach()) > target:
            found.backward()
        else:
            latent.grad = torch.zeros_like(latent)  # which ends the search
        return found

    search.step(cost)
    return latent.detach(), taken


def _detail(steps: Tensor) -> Tensor:
    """Images [n, c, h, w] in grey steps → [n, blocks], mean square of what differs from the mean of 3×3 pixels."""
    fine = steps - avg_pool2d(steps, 3, 1, 1, count_include_pad=False)
    return avg_pool2d(fine.square().mean(1), BLOCK).flatten(1)
