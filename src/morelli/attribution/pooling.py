"""Several samples of one source: one answer, with an exact p-value, and evidence that grows with every sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from morelli.attribution.attributor import TURNED, Attributor
from morelli.attribution.report import Verdict
from morelli.detectors.folds import Folds
from morelli.errors import TooFewSamples
from morelli.numerics.evalues import log10_evidence

DRAWS = 20_000  # experiments under the proposition
AT_ONCE = 2**22  # random numbers


def pooled_p_value(attributor: Attributor, verdicts: Sequence[Verdict], seed: int = 0) -> float:
    """Of the proposition that the model made all of these samples, from their single verdicts.

    How unlike the model they are together is the mean of −log p, each p among the held-out samples of the condition
    that its sample is in. Under the proposition every −log p comes from the same known distribution, that of ranks,
    and samples are compared with draws from it: all n + 1 ranks are equally likely, whatever the detector.

    Where samples pay for being turned, all of them may pay once instead of each: their p-values as if turning were
    free give a pooled one, which is divided by the looks (see `turning`); the larger of both counts.

    Samples without a score are left out. Raises TooFewSamples where none is left.
    """
    scored = [verdict for verdict in verdicts if verdict.p_value is not None]
    if not scored:
        raise TooFewSamples("not one of the samples has a score, so nothing can be said of them together.")
    chances = torch.tensor([verdict.p_value for verdict in scored], dtype=torch.float64)
    pooled = mean_p_value(chances, len(attributor.held_out), seed)
    if not any(TURNED in verdict.notes for verdict in scored):
        return pooled
    free = [verdict.notes.get(TURNED, verdict.p_value) for verdict in scored]
    looks = max(attributor.judge_of(verdict.notes.get("condition", "")).turning.looks for verdict in scored)
    return max(pooled, mean_p_value(torch.tensor(free, dtype=torch.float64), len(attributor.held_out), seed) / looks)


def pooled_evidence(attributor: Attributor, verdicts: Sequence[Verdict]) -> float | None:
    """log10 of the e-value against the proposition that the model made all of these samples; see `numerics.evalues`.

    In the order of the verdicts. None where own samples are not scored as held-out ones were: with experts, where
    samples in several conditions have scores that cannot be compared, with folds, where none was held out, and where
    samples pay for being turned.
    """
    if attributor.experts is not None or isinstance(attributor.detector, Folds):
        return None
    if attributor.card.get("calibrated", "held out") != "held out":
        return None
    if any(TURNED in verdict.notes for verdict in verdicts):
        return None
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    return log10_evidence(attributor.held_out, torch.tensor(scores, dtype=torch.float64))


def mean_p_value(chances: Tensor, held_out: int, seed: int = 0) -> float:
    """Conformal p-values [k] among `held_out` scores → that of their mean −log, by drawing calibrations anew.

    The p-values share one calibration and hang together, so whole experiments are drawn: held-out scores and k others
    from one continuous distribution, which may be the uniform one, as only ranks count. Exact but for the draws, and
    for p-values made larger by ties.
    """
    drawn = _drawn(len(chances), held_out, seed)
    larger = len(drawn) - int(torch.searchsorted(drawn, -chances.log().sum() - 1e-9))
    return (1 + larger) / (len(drawn) + 1)


@lru_cache(maxsize=8)
def _drawn(count: int, held_out: int, seed: int) -> Tensor:
    """Sums of −log p of `count` samples under the proposition, [DRAWS], ascending."""
    rng, found = torch.Generator().manual_seed(seed), []
    for some in torch.arange(DRAWS).split(max(1, AT_ONCE // (count + held_out))):
        known = torch.rand(len(some), held_out, generator=rng).sort(1).values
        above = held_out - torch.searchsorted(known, torch.rand(len(some), count, generator=rng))
        found.append(-((1 + above).double() / (held_out + 1)).log().sum(1))
    return torch.cat(found).sort().values
