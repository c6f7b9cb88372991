"""Where in the picture a score comes from: one sample's features held against those of held-out own samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from morelli.detectors.protocol import Detector
from morelli.detectors.stacked import Stacked
from morelli.features.imprint import Imprint
from morelli.features.inversion import Inversion
from morelli.features.protocol import Extractor
from morelli.numerics.state import State

CELLS = 16  # along the shorter side, of shares of a discriminant
MOST = 2**20  # numbers of a map that are kept
QUANTILE = 0.95
FEWEST = 4  # held-out samples
LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Places:
    """What held-out own samples look like at every place.

    Of an imprint, in cells of a few pixels: the share that the cell's residuals have in the discriminant's sum. Of an
    inversion the activation itself, every channel. Neither is what the detector's whole verdict rests on.

    Attributes:
        average: [c, h, w], an imprint's mean fine residual (c = 1), or the mean activation less the anchor.
        mean, spread: by condition, [c, h, w] each.
        usual: by condition, what 95 % of own samples stay below: the `largest` deviation anywhere, and the `mean`
            of all places. Each half of them is held against the other.
    """

    average: Tensor
    mean: Mapping[str, Tensor]
    spread: Mapping[str, Tensor]
    usual: Mapping[str, Mapping[str, float]]

    def deviation(self, shares: Tensor, condition: str) -> Tensor:
        """What `shares_of` returns, [n, c, h, w], as standard deviations of own samples, [n, h, w].

        Signed for one channel, where more is less like the model; else the root mean square over channels, which is
        near 1 for an own sample.
        """
        return _deviation(shares, self.mean[condition], self.spread[condition])

    def state(self) -> State:
        tensors = {"average": self.average}
        for i, name in enumerate(self.mean):
            tensors |= {f"mean_{i}": self.mean[name], f"spread_{i}": self.spread[name]}
        return State({"conditions": list(self.mean), "usual": dict(self.usual)}, tensors)

    @staticmethod
    def from_state(state: State) -> Places:
        names, tensors = state.settings["conditions"], state.tensors
        mean, spread = ({name: tensors[f"{what}_{i}"] for i, name in enumerate(names)} for what in ("mean", "spread"))
        return Places(tensors["average"], mean, spread, state.settings["usual"])


def fit_places(extractor: Extractor, detector: Detector, values: Tensor, condition: str = "") -> Places | None:
    """From the features [n, …] of held-out own samples in one condition.

    None where features have no place in the picture, where they are too many to keep, or samples fewer than four.
    """
    shares, patterns = shares_of(extractor, detector, values), pattern_of(extractor, values)
    if shares is None or patterns is None or len(values) < FEWEST or shares[0].numel() > MOST:
        return None
    shares = shares.cpu()
    mean, spread = shares.mean(0), shares.std(0)
    return Places(patterns.mean(0).cpu(), {condition: mean}, {condition: spread}, {condition: _usual(shares)})


def _usual(shares: Tensor) -> dict[str, float]:
    halves = shares[::2], shares[1::2]
    found = [_deviation(one, other.mean(0), other.std(0)).flatten(1) for one, other in (halves, halves[::-1])]
    every = torch.cat(found)
    figures = {"largest": every.amax(1), "mean": every.mean(1)}
    return {name: round(float(values.quantile(QUANTILE)), 4) for name, values in figures.items()}


def join_places(parts: Sequence[Places | None]) -> Places | None:
    """Of several conditions, the usual one first. None where any is missing."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    mean = {name: values for part in known for name, values in part.mean.items()}
    spread = {name: values for part in known for name, values in part.spread.items()}
    usual = {name: value for part in known for name, value in part.usual.items()}
    return Places(known[0].average, mean, spread, usual)


def pattern_of(extractor: Extractor, values: Tensor) -> Tensor | None:
    """[n, c, h, w] of features [n, …], to look at: the fine residual, over colours, or the activation."""
    if isinstance(extractor, Imprint):
        return values[:, : extractor.blocks[0]].unflatten(1, extractor.map_shape).mean(1, keepdim=True)
    return values if isinstance(extractor, Inversion) and values.ndim == 4 else None


def shares_of(extractor: Extractor, detector: Detector, values: Tensor) -> Tensor | None:
    """[n, c, h, w] of features [n, …]: what each place adds to an imprint's discriminant, or the activation."""
    if not isinstance(extractor, Imprint):
        return pattern_of(extractor, values)
    if not isinstance(detector, Stacked):
        return None
    weighed = values * detector.discriminant.direction.to(values)
    maps = torch.stack(weighed.split(extractor.blocks, 1)[:-1])
    added = maps.sum(0).unflatten(1, extractor.map_shape).sum(1, keepdim=True)
    side = max(1, min(extractor.map_shape[1:]) // CELLS)
    return avg_pool2d(added, side, ceil_mode=True) * side**2


def _deviation(shares: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    least = LEAST + 1e-3 * float(spread.square().mean().sqrt())  # places that never vary are not blown up
    units = (shares.cpu() - mean) / spread.clamp_min(least)
    return units[:, 0] if units.shape[1] == 1 else units.norm(dim=1) / math.sqrt(units.shape[1])
