"""Turning: a sample is scored in every orientation, and pays for being attributed in another one than upright."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from morelli.detectors.protocol import Detector, TurnScorer
from morelli.errors import OutOfRange
from morelli.features.protocol import Extractor, Turnable
from morelli.numerics.calibration import threshold

ROWS = 16
MOST = 0.04  # of turned own samples that may be rejected, unless the rate is larger


@dataclass(frozen=True)
class Turning:
    """Of another source's samples each orientation is one more chance to pass; those but upright pay for it.

    Attributes:
        looks: by how much turned own samples are rejected more often than upright ones, whose rate is kept exactly.
        handicap: what the score in any orientation but upright is raised by.
    Raises:
        OutOfRange: less than one look, or a handicap below 0.
    """

    looks: float = 1.0
    handicap: float = 0.0

    def __post_init__(self) -> None:
        if not (1 <= self.looks < math.inf and 0 <= self.handicap < math.inf):
            raise OutOfRange(
                f"turning has {self.looks} looks and a handicap of {self.handicap}; expected 1 and 0 or more."
            )

    def least(self, every: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [k, n] in each orientation, upright first → least scores [n] and their orientations [n]."""
        return torch.cat([every[:1], every[1:] + self.handicap]).min(0)

    def settings(self) -> dict[str, Any]:
        return asdict(self)


FREE = Turning()


def fit_turning(every: Tensor, upright: Tensor, rate: float) -> Turning:
    """What being turned costs: Bonferroni's correction for as many looks as would be chances.

    Where own samples in a wrong orientation never pass, the other looks give nothing away and cost nothing; where all
    of them do, there are as many chances as orientations.

    Args:
        every: scores [k, n] of own samples in each orientation, upright first.
        upright: scores [m] of own samples that were not trained on; the handicap is in their units.
    """
    if len(every) == 1:
        return FREE
    limit = threshold(upright, rate)
    passing = float((every[1:].min(0).values <= limit).double().mean())
    looks = min(1 + (len(every) - 1) * passing, max(1.0, MOST / rate))
    return Turning(looks, max(0.0, limit - threshold(upright, looks * rate)))


def scores_by_orientation(extractor: Extractor, detector: Detector, values: Tensor, any_orientation: bool) -> Tensor:
    """Features [n, …] → scores [k, n] in each orientation, upright first; upright alone where no other will do.

    Scored in multiples of ROWS, since a matrix product sums the rows of others in another order, by which their last
    bits would depend on how many there are.
    """
    if rest := -len(values) % ROWS:
        filled = torch.cat([values, values[-1:].expand(rest, *values.shape[1:])])
        return scores_by_orientation(extractor, detector, filled, any_orientation)[:, :-rest]
    if not any_orientation or not isinstance(extractor, Turnable):
        return detector.score(values).cpu()[None]
    if isinstance(detector, TurnScorer):
        return detector.score_turned(values, extractor.turns).cpu()
    return torch.stack([detector.score(values[:, turn.to(values.device)]) for turn in extractor.turns]).cpu()
