"""Turning: a sample is scored in every orientation, and pays for being attributed in another one than upright."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from morelli.detectors.protocol import Detector, TurnScorer
from morelli.errors import OutOfRange
from morelli.features.protocol import Extractor, Turnable
from morelli.numerics.calibration import p_values, threshold

ROWS = 16
UNPAID = "unpaid"
MOST = 0.04  # of turned own samples that may be rejected, unless the rate is larger


@dataclass(frozen=True)
class Turning:
    """Of another source's samples each orientation is one more chance to pass; those but upright pay for it.

    Attributes:
        looks: by how much turned own samples are rejected more often than upright ones, whose rate is kept exactly.
        handicap: what the score in any orientation but upright is raised by.
        unpaid: [n], least scores of held-out own samples without it; None where they are those that are held out.
    Raises:
        OutOfRange: less than one look, a handicap below 0, or scores that are not finite.
    """

    looks: float = 1.0
    handicap: float = 0.0
    unpaid: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not (1 <= self.looks < math.inf and 0 <= self.handicap < math.inf):
            raise OutOfRange(
                f"turning has {self.looks} looks and a handicap of {self.handicap}; expected 1 and 0 or more."
            )

        if self.unpaid is not None and not self.unpaid.isfinite().all():
            raise OutOfRange("held-out scores as if being turned cost nothing are not finite.")

    def least(self, every: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [k, n] in each orientation, upright first → least scores [n] and their orientations [n]."""
        return self.paid(every).min(0)

    def paid(self, every: Tensor) -> Tensor:
        """Scores [k, n] in each orientation, upright first, with what being turned costs."""
        return torch.cat([every[:1], every[1:] + self.handicap])

    def free(self, held_out: Tensor, least: Tensor) -> Tensor:
        """p-values of least scores [n] as if being turned cost nothing: exact for own samples in any orientation."""
        return p_values(held_out if self.unpaid is None else self.unpaid, least)

    def settings(self) -> dict[str, Any]:
        return {"looks": self.looks, "handicap": self.handicap}

    def tensors(self, suffix: str = "") -> dict[str, Tensor]:
        """To be stored beside the settings."""
        return {} if self.unpaid is None else {f"{UNPAID}{suffix}": self.unpaid}

    @staticmethod
    def from_stored(settings: Mapping[str, Any], tensors: Mapping[str, Tensor], suffix: str = "") -> Turning:
        return Turning(**settings, unpaid=tensors.get(f"{UNPAID}{suffix}"))


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
