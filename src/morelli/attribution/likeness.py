"""Likeness: are samples like a model's own, as far as an attributor can see?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.stats import mannwhitneyu

from morelli.attribution.attributor import Attributor
from morelli.attribution.report import Outcome, Verdict
from morelli.errors import TooFewSamples
from morelli.numerics.calibration import p_values
from morelli.numerics.metrics import auroc

LEAST = 20  # samples


@dataclass(frozen=True)
class Likeness:
    """A two-sample test of samples against held-out own ones.

    Attributes:
        samples: that were judged; inconclusive ones are left out.
        attributed: share of them.
        auroc: probability that one of them is less like the model than an own one; ½ for a model's own.
        p_value: of an `auroc` so large or larger, were they own samples.
    """

    samples: int
    attributed: float
    auroc: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def likeness(attributor: Attributor, verdicts: Sequence[Verdict]) -> Likeness:
    """Of samples of one source, by their p-values, which are uniform for own ones.

    Where a sample may be in several conditions the kindest counted, so that the test then errs on the side of alike.

    Raises:
        TooFewSamples: fewer than twenty usable verdicts.
    Source: Mann and Whitney 1947, one-sided.
    """
    usable = [v for v in verdicts if v.outcome is not Outcome.INCONCLUSIVE and v.p_value is not None]
    if len(usable) < LEAST:
        raise TooFewSamples(f"{len(usable)} samples can be judged; it takes {LEAST} to say that they are alike.")
    theirs = torch.tensor([float(v.p_value or 0.0) for v in usable])
    own = p_values(attributor.held_out, attributor.held_out).float()
    return Likeness(
        len(usable),
        round(sum(v.outcome is Outcome.ATTRIBUTED for v in usable) / len(usable), 4),
        round(auroc(-own, -theirs), 4),
        float(mannwhitneyu(theirs.numpy(), own.numpy(), alternative="less").pvalue),
    )
