"""How good likelihood ratios are, from log10 ratios of own and of foreign samples. `lir` is the oracle of its tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morelli.numerics.likelihood_ratio import LN10, Pav, Scores

ZERO = torch.zeros((), dtype=torch.float64)


def cllr(own: Scores, foreign: Scores) -> float:
    """The cost of log likelihood ratios: 0 is perfect, 1 says nothing, above 1 misleads.

    Source: Brümmer & du Preez, Application-independent evaluation of speaker detection, 2006. Units weigh the same.
    """
    return float(sum(_cost(own, foreign))) / 2


def cllr_min(own: Scores, foreign: Scores) -> float:
    """What is left of `cllr` when the ratios are calibrated as well as any increasing map can: what cannot be told."""
    return cllr(*best_calibrated(own, foreign))


def devpav(own: Scores, foreign: Scores) -> float:
    """Mean distance, in log10, of the ratios from those that PAV makes of them; NaN where PAV tells all apart.

    Source: Vergeer et al., Measuring calibration of likelihood-ratio systems, Forensic Science International 2021.
    Ratios must be finite.
    """
    ideal = [x.values for x in best_calibrated(own, foreign)]
    points = torch.stack([torch.cat([own.values, foreign.values]), torch.cat(ideal)]).unique(dim=1)
    x, y = points[:, points[1].isfinite()]
    if len(x) < 2:
        return abs(float(x[0] - y[0])) if len(x) else math.nan
    start, stop, width = (y - x)[:-1], (y - x)[1:], x.diff()
    crossing = start * stop < 0
    total = (start.square() + stop.square()) / (start.abs() + stop.abs()).clamp_min(1e-300)
    return float((width / 2 * torch.where(crossing, total, (start + stop).abs())).sum() / (x[-1] - x[0]))


def best_calibrated(own: Scores, foreign: Scores) -> tuple[Scores, Scores]:
    """The same with ratios by pool adjacent violators, fitted to these very samples; may be infinite inside."""
    pav = Pav.fit(Scores(-own.values, own.units), Scores(-foreign.values, foreign.units))
    first, second = (Scores(pav.log10_ratio(-x.values), x.units) for x in (own, foreign))
    return first, second


def tippett(own: Scores, foreign: Scores, at: Tensor) -> tuple[Tensor, Tensor]:
    """Weighed shares of own and of foreign samples whose log10 ratio is at least `at` [k]: two [k]."""
    return _at_least(own, at), _at_least(foreign, at)


def _at_least(ratios: Scores, at: Tensor) -> Tensor:
    values, order = ratios.values.double().sort()
    beyond = torch.cat([ratios.weights[order].flip(0).cumsum(0).flip(0), ZERO[None]])
    return beyond[torch.searchsorted(values, at.double())]


def misleading(own: Scores, foreign: Scores) -> tuple[float, float]:
    """Weighed shares of own samples with a ratio below 1, and of foreign ones above 1."""
    return (
        float((own.weights * (own.values < 0)).sum()),
        float((foreign.weights * (foreign.values > 0)).sum()),
    )


def empirical_cross_entropy(own: Scores, foreign: Scores, log10_prior_odds: Tensor) -> Tensor:
    """Bits that remain to be known at each prior odds [k] → [k]. Source: Ramos & Gonzalez-Rodriguez, 2013."""
    found = []
    for odds in log10_prior_odds.double().tolist():
        chance = 1 / (1 + 10**-odds)
        for_own, for_foreign = _cost(own, foreign, odds)
        found.append(chance * for_own + (1 - chance) * for_foreign)
    return torch.stack(found)


def _cost(own: Scores, foreign: Scores, log10_odds: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean bits of surprise at the truth, under either proposition."""
    sides = ((own, -1.0), (foreign, 1.0))
    first, second = (
        (x.weights * torch.logaddexp(ZERO, sign * LN10 * (x.values.double() + log10_odds))).sum() / math.log(2)
        for x, sign in sides
    )
    return first, second
