"""Alignment: a part that was cut out and enlarged is held against every place and size that it may have had."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from morelli.attribution.turning import scores_by_orientation
from morelli.detectors.protocol import Detector
from morelli.detectors.stacked import Stacked
from morelli.features.imprint import Imprint
from morelli.features.protocol import Extractor
from morelli.numerics.perturbations import Part, Window, parse, points_of

Size = tuple[int, int]
AT_ONCE = 32  # samples


def sizes_of(extractor: Extractor, condition: str) -> tuple[Size, ...]:
    """Heights and widths of the parts that samples in this condition are.

    None where it is about no parts, or features have no places of pixels: imprints that are averaged over tiles.
    """
    if not isinstance(extractor, Imprint) or extractor.map_shape != extractor.spec.shape:
        return ()
    points = points_of(parse(condition)) if condition else ()
    found = (point.size(*extractor.spec.shape[1:]) for point in points if isinstance(point, Part))
    return tuple(dict.fromkeys(found))


def scores_in(
    condition: str,
    extractor: Extractor,
    detector: Detector,
    samples: Tensor | None,
    values: Tensor,
    any_orientation: bool,
) -> tuple[Tensor, Tensor | None]:
    """Scores [k, n] in each orientation, upright first, of samples in a condition with features [n, …].

    Where parts are searched for, which takes the samples themselves, also the best windows [k, n, 4].
    """
    sizes = sizes_of(extractor, condition)
    if not sizes:
        return scores_by_orientation(extractor, detector, values, any_orientation), None
    assert isinstance(extractor, Imprint) and isinstance(detector, Stacked) and samples is not None
    turns = extractor.turns if any_orientation else extractor.turns[:1]
    scores, windows = aligned_scores(extractor, detector, samples.to(values.device), values, sizes, turns)
    return scores.cpu(), windows.cpu()


def placed(extractor: Imprint, samples: Tensor, values: Tensor, windows: Sequence[Window]) -> Tensor:
    """Features [n, d] of enlarged parts [n, *spec.shape], their maps where the parts were, and 0 around them."""
    values = values.clone()
    maps = _maps_of(extractor, values)
    maps.zero_()
    for place, (top, left, *size) in enumerate(windows):
        found = _reduced(extractor, samples[place : place + 1], (size[0], size[1]))
        maps[place, :, top : top + size[0], left : left + size[1]] = found[0]
    return values


def aligned_scores(
    extractor: Imprint, detector: Stacked, samples: Tensor, values: Tensor, sizes: Sequence[Size], turns: Tensor
) -> tuple[Tensor, Tensor]:
    """Least scores [t, n] of enlarged parts [n, *spec.shape], with features [n, d], over all places and sizes.

    And where they are, [t, n, 4]: top, left, height and width in the whole picture, as turned as the sample is.

    Args:
        turns: [t, d], orders of the features in each orientation. Of the last block that order counts, of the maps
            every place, which the convolution theorem gives for all of them at once.
    """
    turns, frame = turns.to(values.device), extractor.spec.shape[1:]
    spectra = torch.fft.rfft2(_maps_of(extractor, detector.directions(turns).to(values)))
    scores, places = [], []
    for some, known in zip(samples.split(AT_ONCE), values.split(AT_ONCE), strict=True):
        rest = known.clone()
        _maps_of(extractor, rest).zero_()
        least = known.new_full((len(turns), len(known)), torch.inf)
        windows = torch.zeros(len(turns), len(known), 4, dtype=torch.long, device=known.device)
        for size in sizes:
            maps = torch.fft.rfft2(_reduced(extractor, some, size), s=frame).conj()
            product = spectra[:, 0, None] * maps[:, 0]
            for channel in range(1, maps.shape[1]):  # not as a matrix product, which sums others in another order
                product += spectra[:, channel, None] * maps[:, channel]
            found = torch.fft.irfft2(product, s=frame)
            spare = [side - kept + 1 for side, kept in zip(frame, size, strict=True)]
            best, where = found[..., : spare[0], : spare[1]].flatten(2).min(2)
            window = (where // spare[1], where % spare[1], *(torch.full_like(where, side) for side in size))
            windows = torch.where((best < least)[..., None], torch.stack(window, 2), windows)
            least = torch.minimum(least, best)
        objections = detector.objections_turned(rest, turns)
        objections[..., 0] += least
        scores.append(detector.combined(objections).to(values))
        places.append(windows)
    return torch.cat(scores, 1), torch.cat(places, 1)


def _maps_of(extractor: Imprint, values: Tensor) -> Tensor:
    """The part [n, k c, h, w] of features [n, d] that has places."""
    _, height, width = extractor.map_shape
    return values[:, : sum(extractor.blocks[:-1])].view(len(values), -1, height, width)


def _reduced(extractor: Imprint, samples: Tensor, size: Size) -> Tensor:
    """Maps [n, k c, *size] of enlarged parts, `reduced`."""
    return extractor.maps(reduced(extractor.spec.grey_steps(samples.float()).nan_to_num(0, 0, 0), size))


def reduced(images: Tensor, size: Size) -> Tensor:
    """[n, c, *size], as they would be had nothing been enlarged."""
    return interpolate(images, size, mode="bilinear", antialias=True)
