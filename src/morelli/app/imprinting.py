"""Fit imprints: an expert for each condition, against the own samples in the wrong orientations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from morelli.app.sources import Stage
from morelli.attribution.alignment import placed, scores_in, sizes_of
from morelli.attribution.attributor import Attributor
from morelli.attribution.experts import Expert, Experts
from morelli.attribution.places import Places, fit_places, join_places
from morelli.attribution.remainder import features_of, fit_remainder, left_out_objections, with_remainder
from morelli.attribution.turning import fit_turning
from morelli.detectors.stacked import StackedRecipe
from morelli.features.imprint import Imprint, orientations
from morelli.features.latent_reconstruction import LatentReconstruction
from morelli.features.protocol import Progress
from morelli.numerics.corruption import Corruptions
from morelli.numerics.perturbations import Part, Window, drawn, parse
from morelli.storage.depth import from_eight_bits, stored, to_eight_bits

CONDITIONS = (
    *("none", "jpeg:86..98", "jpeg:70..86", "webp:70..95", "noise:0.01..0.05", "noise:0.05..0.12", "blur:3"),
    *("part:52..62", "resize:0.6..0.9", "resize:1.2..3"),
)
LARGE_CONDITIONS = tuple(each.replace("part", "crop") for each in CONDITIONS)  # where no parts are searched for
MOST = 2000  # own samples, and other ones, that a detector is fitted on
LEFT_OUT = "left out in turn"  # how few own samples calibrate, on the card
LOOKED_AT = 300  # own samples from which the look of every condition is learned
MADE_AGAIN = 256  # own samples from which is learned what reconstructions leave


def fit_imprint(
    extractor: Imprint,
    own: Tensor,
    held_out: Tensor,
    other: Tensor | None,
    *,
    rate: float,
    conditions: Sequence[str],
    any_orientation: bool,
    turned: bool,
    seed: int,
    device: str,
    stage: Stage,
    reconstruction: LatentReconstruction | None = None,
) -> Attributor:
    """An attributor whose card says how well own samples are told from misplaced and other ones in each condition.

    That is by AUROC, of the discriminants alone, for samples left out.

    Args:
        own: samples to fit on, [n, *spec.shape]; the first 2000 count. held_out: to calibrate with; none of them, and
            the scores of own samples that were left out in turn calibrate.
        other: samples of anything else, besides the own ones in another orientation; 2000 at random count.
        conditions: the first is the one that samples are made in.
        turned: fit against own samples in other orientations, too; otherwise against the other ones alone.
        reconstruction: what it leaves of samples may object, too.
    """
    spec, rng = extractor.spec, torch.Generator().manual_seed(seed)
    own = own[:MOST]
    foreign = misplaced(own, rng) if turned else own[:0]
    if other is not None:
        chosen = torch.randperm(len(other), generator=rng)[:MOST] if len(other) > MOST else torch.arange(len(other))
        foreign = torch.cat([foreign, other[chosen]])
    parts = [stored(some, spec) for some in (own, foreign, held_out)]
    pixels = [None if tuple(conditions) == ("none",) else to_eight_bits(some, spec) for some in parts]
    of: dict[str, Expert] = {}
    apart: dict[str, float] = {}
    places: list[Places | None] = []
    progress = stage("fitting imprints", len(conditions) * sum(map(len, parts)))
    again = min(len(own), MADE_AGAIN) if len(held_out) else len(own)  # all where they calibrate, too
    remaking: Progress | None = None
    if reconstruction is not None:
        remaking = stage("making own samples again", len(conditions) * (again + len(held_out)))
    recipe = StackedRecipe(extractor.blocks)
    for condition in conditions:
        mine, theirs, fresh = (
            _changed(extractor, *some, condition, rng, device, progress) for some in zip(parts, pixels, strict=True)
        )
        detector = recipe.fit(_learned(extractor, mine), _learned(extractor, theirs), seed)
        judged = fresh if len(held_out) else mine
        about = condition, extractor, detector
        every, windows = scores_in(*about, judged.samples, judged.values, any_orientation)
        scores = every[0] if len(held_out) else detector.left_out.cpu()
        turning = fit_turning(every, scores, rate)
        remainder = None
        if reconstruction is not None:
            some = mine.samples[:again]
            _, where = scores_in(*about, some, mine.values[:again], False)
            upright = torch.zeros(again, dtype=torch.long)
            seen = features_of(reconstruction, some, upright, None if where is None else where[0], remaking)
            remainder = fit_remainder(seen, float(detector.left_out.max()))
            scores = scores if len(held_out) else scores + left_out_objections(seen)
        if len(held_out):
            found = with_remainder(every, windows, turning, remainder, reconstruction, judged.samples, remaking)
            scores = found.scores
            turning = replace(turning, unpaid=None if torch.equal(found.free, scores) else found.free)
            if not sizes_of(extractor, condition):
                places.append(fit_places(extractor, detector, fresh.values, condition if len(conditions) > 1 else ""))
        of[condition], apart[condition] = Expert(detector, scores, turning, remainder), round(detector.separated, 4)
    experts = None
    if pixels[0] is not None and len(conditions) > 1:
        experts = Experts(Corruptions.fit(pixels[0][:LOOKED_AT], tuple(conditions), seed=seed), of)
    card = {"separated": apart, "calibrated": "held out" if len(held_out) else LEFT_OUT}
    first = of[conditions[0]]
    return Attributor(
        extractor,
        first.detector,
        first.held_out,
        rate,
        card=card,
        experts=experts,
        any_orientation=any_orientation,
        places=join_places(places),
        turning=first.turning,
        reconstruction=reconstruction,
        remainder=first.remainder,
    )


@dataclass(frozen=True, eq=False)
class _Changed:
    """Samples after what happened, their features, and where in the whole image each lay if they are parts."""

    samples: Tensor
    values: Tensor
    windows: Sequence[Window] = ()


def _learned(extractor: Imprint, changed: _Changed) -> Tensor:
    """Features to learn from: of parts, with their places."""
    if not changed.windows:
        return changed.values
    return placed(extractor, changed.samples, changed.values, changed.windows)


def _changed(
    extractor: Imprint,
    samples: Tensor,
    pixels: Tensor | None,
    condition: str,
    rng: torch.Generator,
    device: str,
    progress: Progress,
) -> _Changed:
    """`samples` as files hold them, their `pixels` of eight bits; only nothing happens to more than those."""
    windows: list[Window] = []
    if condition != "none" and pixels is not None and len(pixels):
        happened = parse(condition)
        if sizes_of(extractor, condition):
            each = drawn(happened, len(pixels), rng)
            cut = [one.cut(image, rng) for one, image in zip(each, pixels, strict=True) if isinstance(one, Part)]
            changed, windows = torch.stack([image for image, _ in cut]), [window for _, window in cut]
        else:
            changed = happened.apply(pixels, rng)
        samples = from_eight_bits(changed, extractor.spec)
    samples = samples.to(device)
    return _Changed(samples, extractor.extract(samples, progress).values, windows)


def misplaced(images: Tensor, rng: torch.Generator) -> Tensor:
    """[n, c, h, w], each in one of its other orientations: the same content on another grid."""
    every = orientations(images, images.shape[2] == images.shape[3])
    chosen = torch.randint(1, len(every), (len(images),), generator=rng)
    return torch.stack([every[way][i] for i, way in enumerate(chosen.tolist())])
