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
LEAST = 1e-8  # squared grey steps below which losses are not told apart
BLOCK = 8  # pixels a side, as those under one latent
EDGES = (1.0, 2.5, 4.0, 5.5, 7.0, 12.0)  # of the bands, in cosines' order
FLOOR = 1e-2  # squared grey steps; rounding leaves 1/12
PARTS = 3 * (len(EDGES) - 1)
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
AT_ONCE = 2**18  # values of samples that go through together


@dataclass(frozen=True, eq=False)
class DoubleReconstruction:
    """The logarithm of homogeneity · first loss / second loss; larger for images of other sources. Or losses in detail.

    An image that this decoder made loses no more when it is encoded and decoded than its reconstruction loses when that
    is done again. Any other image loses more the first time. Both losses are mean squared differences.

    Attributes:
        autoencoder: [n, *spec.shape] → encoded and decoded, not clamped.
        bands: in place of the ratio give `PARTS` log energies of the first loss, as many of the second and as many of
            the image itself: of 8×8 cosine transforms on the decoder's grid, in five bands for grey and two differences
            of colours. What an image loses where depends on what it shows; how, is the decoder's.
    Raises:
        MismatchError: samples that are no colour images, or of another size than the autoencoder's.

    Source: AEDR, arXiv 2507.18988 (AAAI 2026): the ratio of losses, calibrated by image homogeneity. Differs: latents
    are their mean, not drawn; images are never resized; the logarithm is taken, and the threshold is a quantile of
    held-out own samples in place of one of a kernel density, neither of which changes an order. The bands are our own.
    """

    autoencoder: Program
    spec: SampleSpec
    bands: bool = False

    def __post_init__(self) -> None:
        if not self.spec.is_image or self.spec.shape[0] != 3 or self.autoencoder.in_shape != self.spec.shape:
            raise MismatchError(
                f"samples are {self.spec.shape} and the autoencoder reads {self.autoencoder.in_shape}; expected colour "
                "images of one size for both."
            )

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, *spec.shape] → [n, 1] or [n, 3·PARTS]; notes `first` and `second`, rms losses in grey steps."""
        self.spec.check(samples)
        step = max(1, AT_ONCE // math.prod(self.spec.shape))
        autoencoder = self.autoencoder.to(samples.device)
        values = [samples.new_zeros(0, 3 * PARTS if self.bands else 1)]
        losses = [samples.new_zeros(0, 2)]
        with torch.no_grad():
            for some in samples.float().split(step):
                once = autoencoder(some)
                twice = autoencoder(once)
                steps = [self.spec.grey_steps(x) for x in (some, once, twice)]
                first, second = steps[0] - steps[1], steps[1] - steps[2]
                losses.append(torch.stack([x.flatten(1).square().mean(1) for x in (first, second)], 1))
                if self.bands:
                    values.append(torch.cat([band_energies(x) for x in (first, second, steps[0])], 1))
                else:
                    ratio = losses[-1].clamp_min(LEAST).log()
                    values.append(ratio[:, :1] - ratio[:, 1:] + homogeneity(steps[0]).log()[:, None])
                if progress:
                    progress(len(some))
        found = torch.cat(values)
        first, second = torch.cat(losses).sqrt().cpu().unbind(1)
        notes = {"saturated": torch.zeros(len(samples)), "first": first, "second": second}
        return Features(found, notes, self._reasons(samples, found))

    def _reasons(self, samples: Tensor, values: Tensor) -> tuple[str, ...]:
        outside, finite = self.spec.outside(samples).tolist(), values.isfinite().all(1).tolist()
        return tuple(
            "values lie outside the range that the model can make."
            if out
            else ""
            if good
            else "some values, or what the autoencoder makes of them, are not finite; check their range."
            for out, good in zip(outside, finite, strict=True)
        )

    def state(self) -> State:
        settings = {"type": "double_reconstruction", "spec": self.spec.settings(), "bands": self.bands}
        return State(settings, parts={"autoencoder": self.autoencoder.state()})

    @staticmethod
    def from_state(state: State) -> DoubleReconstruction:
        settings = state.settings
        spec = SampleSpec.from_settings(settings["spec"])
        return DoubleReconstruction(Program.from_state(state.parts["autoencoder"]), spec, settings["bands"])


def homogeneity(steps: Tensor) -> Tensor:
    """Images [n, 3, h, w] in grey steps → [n], mean of 1/(1 + d²) over horizontal neighbours, d in 32 levels of grey.

    Source: Haralick et al. 1973, the inverse difference moment of a co-occurrence matrix, which that mean equals.
    """
    grey = (steps * steps.new_tensor(GREY)[:, None, None]).sum(1).round()
    levels = (grey / (256 / LEVELS)).floor().clamp(0, LEVELS - 1)
    return (1 / (1 + (levels[:, :, 1:] - levels[:, :, :-1]).square())).mean((1, 2))


def band_energies(steps: Tensor) -> Tensor:
    """Images [n, 3, h, w] in grey steps → [n, PARTS], log mean squares of cosines; what is no 8×8 is cut."""
    grey = steps.mean(1, keepdim=True)
    planes = torch.cat([grey, steps[:, :1] - grey, steps[:, 2:] - grey], 1)
    height, width = (side // BLOCK * BLOCK for side in steps.shape[2:])
    blocks = planes[:, :, :height, :width].unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK))  # n c i y j x
    cosines = _cosines().to(steps)
    energies = torch.einsum("uy,nciyjx,vx->ncuvij", cosines, blocks, cosines).square().mean((4, 5))
    places = torch.arange(BLOCK, device=steps.device)
    radius = (places[:, None].square() + places.square()).float().sqrt()
    rings = [(radius >= low) & (radius < high) for low, high in zip(EDGES[:-1], EDGES[1:], strict=True)]
    return torch.cat([(energies[:, :, ring].mean(2) + FLOOR).log() for ring in rings], 1)


def _cosines() -> Tensor:
    """The orthonormal cosine transform's matrix."""
    u, y = torch.arange(BLOCK)[:, None], torch.arange(BLOCK)
    matrix = (torch.pi * (2 * y + 1) * u / (2 * BLOCK)).cos() * (2 / BLOCK) ** 0.5
    matrix[0] /= 2**0.5
    return matrix
