"""Remainder: what an expert would let pass is made again by the whole generator, and what that leaves may object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from morelli.attribution.alignment import reduced
from morelli.attribution.turning import Turning
from morelli.detectors.conditional import Conditional, ConditionalRecipe
from morelli.features.imprint import orientations
from morelli.features.latent_reconstruction import BANDS, LatentReconstruction
from morelli.features.protocol import Progress
from morelli.numerics.state import State

MOST = 10.0  # units; an objection is no larger
BULK = (0.5, 0.98)  # own samples between which a unit lies
REACH = 3.0  # deviations of own samples up to which what an image shows explains what is left of it
BEYOND = 2.0  # times the largest score of own samples, from where on nothing needs to be made again


@dataclass(frozen=True, eq=False)
class Remainder:
    """An objection in [0, MOST] in units of own samples: 0 up to their median, 1 at their upper 2 %.

    Samples whose score is above the limit are not made again; they have the largest objection, so that none of them
    comes out better than one that was. The limit is from samples that do not calibrate, so that the rate is kept.

    Attributes:
        detector: of what reconstructions leave. usual: [2], own samples' median, and how far above it the unit ends.
    """

    detector: Conditional
    usual: Tensor
    limit: float

    def objections(self, features: Tensor) -> Tensor:
        """[n, d] → [n]."""
        usual, reach = self.usual.to(features.device).double()
        found = (self.detector.score(features.double()) - usual) / reach
        return found.nan_to_num(MOST).clamp(0, MOST).float()

    def state(self) -> State:
        return State({"limit": self.limit}, {"usual": self.usual}, {"detector": self.detector.state()})

    @staticmethod
    def from_state(state: State) -> Remainder:
        detector = Conditional.from_state(state.parts["detector"])
        return Remainder(detector, state.tensors["usual"], state.settings["limit"])


@dataclass(frozen=True, eq=False)
class Found:
    """Of n samples in one condition the score, the orientation that it is of, and the score if turning were free."""

    scores: Tensor
    ways: Tensor
    free: Tensor


def fit_remainder(features: Tensor, highest: float) -> Remainder:
    """From own samples' features [n, d], whose `highest` score by the expert is known. Raises as ConditionalRecipe."""
    detector = ConditionalRecipe(BANDS, reach=REACH).fit(features, None, 0)
    low, high = torch.quantile(detector.score(features).cpu(), torch.tensor(BULK, dtype=features.dtype))
    return Remainder(detector, torch.stack([low, (high - low).clamp_min(1e-6)]), BEYOND * max(1.0, highest))


def left_out_objections(features: Tensor) -> Tensor:
    """[n], what each own sample's features [n, d] would object if the other half alone had been learned from."""
    found = features.new_zeros(len(features)).cpu()
    halves = torch.arange(len(features)) % 2
    for half in (0, 1):
        learned = fit_remainder(features[halves != half], 0.0)
        found[halves == half] = learned.objections(features[halves == half]).cpu()
    return found


def features_of(
    reconstruction: LatentReconstruction,
    samples: Tensor,
    ways: Tensor,
    windows: Tensor | None,
    progress: Progress | None = None,
) -> Tensor:
    """[n, d], what is left of the samples [n, c, h, w] when they are upright again; of parts, where they were.

    Args:
        ways: [n], their orientations. windows: [n, 4] of enlarged parts, as turned as the samples are.
    """
    known = None
    if windows is not None:
        placed = [_placed(sample, window) for sample, window in zip(samples, windows.tolist(), strict=True)]
        samples, known = (torch.stack(some) for some in zip(*placed, strict=True))
        known = _upright(known, ways)
    return reconstruction.left(_upright(samples, ways), known, progress)


def _placed(sample: Tensor, window: Sequence[int]) -> tuple[Tensor, Tensor]:
    """An enlarged part in its place with its border drawn out around it [c, h, w], and where it is known [1, h, w]."""
    top, left, height, width = window
    frame = sample.shape[1:]
    margins = left, frame[1] - left - width, top, frame[0] - top - height
    known = torch.ones(1, height, width, dtype=torch.bool, device=sample.device)
    return pad(reduced(sample[None], (height, width)), margins, "replicate")[0], pad(known, margins)


def _upright(images: Tensor, ways: Tensor) -> Tensor:
    square = images.shape[-2] == images.shape[-1]
    return torch.stack([orientations(image, square)[way] for image, way in zip(images, ways.tolist(), strict=True)])


def with_remainder(
    every: Tensor,
    windows: Tensor | None,
    turning: Turning,
    remainder: Remainder | None,
    reconstruction: LatentReconstruction | None,
    samples: Tensor | None,
    progress: Progress | None = None,
) -> Found:
    """Least of the scores [k, n] in each orientation of samples [n, c, h, w], with what they object made upright again.

    Where imprints are faint they may take an upright own sample for a turned one: so it is made again as it is, too,
    and the kinder answer counts. The samples are needed only where there is a remainder; `windows` [k, n, 4] are where
    they lay, of parts.
    """
    scores, ways = turning.least(every)
    free, freely = every.min(0)
    if remainder is None:
        return Found(scores, ways, free)
    assert reconstruction is not None and samples is not None
    images = samples

    def objections(scores: Tensor, ways: Tensor, some: Tensor) -> Tensor:
        """[n], of those that count."""
        added = torch.full_like(scores, MOST)
        asked = (some & (scores <= remainder.limit)).nonzero()[:, 0]
        if len(asked):
            cut = None if windows is None else windows[ways[asked], asked]
            seen = features_of(reconstruction, images[asked.to(images.device)], ways[asked], cut, progress)
            added[asked] = remainder.objections(seen).to(added)
        return added

    turned, upright = ways > 0, torch.zeros_like(ways)
    told = objections(scores, ways, torch.ones_like(turned))
    freely_told = torch.where(freely == ways, told, objections(free, freely, freely != ways))
    as_it_is = every[0] + torch.where(turned, objections(every[0], upright, turned), told)
    kinder = as_it_is < scores + told
    return Found(torch.where(kinder, as_it_is, scores + told), torch.where(kinder, upright, ways), free + freely_told)
