"""Double reconstruction: what an image loses in the model's own autoencoder, and what it loses the second time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from morelli.errors import MismatchError
from morelli.features.protocol import Facts, Features, Progress, SampleSpec
from morelli.numerics.program import Program
from morelli.numerics.state import State

LEVELS = 32  # of grey, between which neighbours are compared
LEAST = 1e-12  # mean squared error below which losses are not told apart
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
AT_ONCE = 2**18  # values of samples that go through together


@dataclass(frozen=True, eq=False)
class DoubleReconstruction:
    """The logarithm of homogeneity · first loss / second loss; larger for images of other sources.

    An image that this decoder made loses no more when it is encoded and decoded than its reconstruction loses when that
    is done again. Any other image loses more the first time. Both losses are mean squared differences.

    Attributes:
        autoencoder: [n, *spec.shape] → encoded and decoded, not clamped.
    Raises:
        MismatchError: samples that are no colour images, or of another size than the autoencoder's.

    Source: AEDR, arXiv 2507.18988 (AAAI 2026): the ratio of losses, calibrated by image homogeneity. Differs: latents
    are their mean, not drawn; images are never resized; the logarithm is taken, and the threshold is a quantile of
    held-out own samples in place of one of a kernel density, neither of which changes an order.
    """

    autoencoder: Program
    spec: SampleSpec

    def __post_init__(self) -> None:
        if not self.spec.is_image or self.spec.shape[0] != 3 or self.autoencoder.in_shape != self.spec.shape:
            raise MismatchError(
                f"samples are {self.spec.shape} and the autoencoder reads {self.autoencoder.in_shape}; expected colour "
                "images of one size for both."
            )

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, *spec.shape] → [n, 1], with notes `first` and `second`, the losses in grey steps (root mean square)."""
        self.spec.check(samples)
        step = max(1, AT_ONCE // math.prod(self.spec.shape))
        autoencoder = self.autoencoder.to(samples.device)
        losses = samples.new_zeros(len(samples), 2)
        with torch.no_grad():
            for start in range(0, len(samples), step):
                some = samples[start : start + step].float()
                once = autoencoder(some)
                twice = autoencoder(once)
                pairs = ((once, some), (twice, once))
                losses[start : start + step] = torch.stack([_loss(a, b) for a, b in pairs], 1)
                if progress:
                    progress(len(some))
        first, second = losses.unbind(1)
        ratio = first.log() - second.log() + homogeneity(self.spec.grey_steps(samples)).log()
        span = 255 / (self.spec.high - self.spec.low)
        notes = {"first": first.sqrt().cpu() * span, "second": second.sqrt().cpu() * span}
        reasons = [
            "" if good else "the autoencoder makes no finite values of it." for good in ratio.isfinite().tolist()
        ]
        outside = self.spec.outside(samples).tolist()
        reasons = [
            "values lie outside the range that the model can make." if out else reason
            for out, reason in zip(outside, reasons, strict=True)
        ]
        return Features(ratio[:, None], {"saturated": torch.zeros(len(samples)), **notes}, tuple(reasons))

    def state(self) -> State:
        settings = {"type": "double_reconstruction", "spec": self.spec.settings()}
        return State(settings, parts={"autoencoder": self.autoencoder.state()})

    @staticmethod
    def from_state(state: State) -> DoubleReconstruction:
        spec = SampleSpec.from_settings(state.settings["spec"])
        return DoubleReconstruction(Program.from_state(state.parts["autoencoder"]), spec)


def _loss(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).flatten(1).square().mean(1).clamp_min(LEAST)


def homogeneity(steps: Tensor) -> Tensor:
    """Images [n, 3, h, w] in grey steps → [n], mean of 1/(1 + d²) over horizontal neighbours, d in 32 levels of grey.

    Source: Haralick et al. 1973, the inverse difference moment of a co-occurrence matrix, which that mean equals.
    """
    grey = (steps * steps.new_tensor(GREY)[:, None, None]).sum(1).round()
    levels = (grey / (256 / LEVELS)).floor().clamp(0, LEVELS - 1)
    return (1 / (1 + (levels[:, :, 1:] - levels[:, :, :-1]).square())).mean((1, 2))
