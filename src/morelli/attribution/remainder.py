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

LEAST = 2 * (BANDS + 1)  # own samples to learn from
MOST = 10.0  # units; an objection is no larger
BULK = (0.5, 0.98)  # own samples between which a unit lies
STRONG = 1.0  # an objection after which other orientations are tried
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
    """Of n samples in one condition the score, the orientation that it is of, and the score if turning were free.

    `told` is what of the score was objected to what was left, where anything was made again.
    """

    scores: Tensor
    ways: Tensor
    free: Tensor
    told: Tensor | None = None


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

    Where imprints are faint the least score is not always that of the right orientation. So who objects strongly is
    made again in the second best one, too, and then as it is, and the kindest answer counts. But the last, which
    would favour those that nobody turned, all of this is alike for turned samples, and so is the score if turning were
    free. The samples are needed only where there is a remainder; `windows` [k, n, 4] are where they lay, of parts.
    """
    paid = turning.paid(every)
    if remainder is None:
        return Found(*paid.min(0), every.min(0).values)
    assert reconstruction is not None and samples is not None
    best, second = every.argsort(dim=0, stable=True)[[0, min(1, len(every) - 1)]]
    each = torch.arange(len(best))
    told, asked = torch.full_like(every, MOST), torch.zeros_like(every, dtype=torch.bool)
    free = every.new_full((len(best),), torch.inf)
    for ways in (best, second, torch.zeros_like(best)):
        free = torch.minimum(free, (every + told).where(asked, torch.inf).min(0).values)  # of the first two alone
        strong = told.where(asked, torch.inf).min(0).values > STRONG
        fresh = (strong & ~asked[ways, each]).nonzero()[:, 0]
        asked[ways[fresh], fresh] = True
        there = fresh[every[ways[fresh], fresh] <= remainder.limit]
        if len(there):
            way, cut = ways[there], None if windows is None else windows[ways[there], there]
            seen = features_of(reconstruction, samples[there.to(samples.device)], way, cut)
            told[way, there] = remainder.objections(seen).to(told)
    if progress:
        progress(len(best))
    scores, ways = (paid + told).where(asked, torch.inf).min(0)
    return Found(scores, ways, free, told[ways, each])
