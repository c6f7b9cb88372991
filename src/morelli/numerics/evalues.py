"""E-values: evidence that is multiplied from row to row, and stays valid wherever one stops.

An e-value is a number that is 1 or less on average if the proposition holds; one of 200 or more then has a chance of at
most 1/200. P-values of many rows that share one calibration hang together, so functions of them may be averaged but not
multiplied. Ranks among the calibration *and the rows before* may: if all of these are exchangeable, the ranks are
independent, whatever the scores.

Source: Vovk, Nouretdinov, Gammerman, "Testing exchangeability on-line" (ICML 2003); Vovk & Wang, "E-values:
calibration, combination and applications" (Annals of Statistics 2021).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morelli.errors import OutOfRange

BETS = tuple((i + 0.5) / 20 for i in range(20))  # exponents κ; the nearer to 0, the more is staked on tiny p-values


def calibrated(p: Tensor, bet: float) -> Tensor:
    """[n] p-values → [n] e-values κ·p^(κ−1), which fall with p and integrate to 1. Raises OutOfRange for a bad bet."""
    if not 0 < bet < 1:
        raise OutOfRange(f"the bet is {bet}; it must lie between 0 and 1, for example 0.5.")
    return bet * p.double() ** (bet - 1)


def averaged(chances: Tensor) -> float:
    """One e-value of p-values [n] that may depend on each other in any way: the mean of theirs, over all bets."""
    return float(torch.stack([calibrated(chances, bet).mean() for bet in BETS]).mean())


def running_ranks(held_out: Tensor, scores: Tensor) -> Tensor:
    """P-value of the k-th of n scores among `held_out` [m] and the scores before it: (1 + those as large)/(m + k).

    Independent and at most uniform if all scores are exchangeable; ties count against the evidence.
    """
    ordered = held_out.double().cpu().sort().values
    new = scores.double().cpu().nan_to_num(nan=math.inf)
    above = len(ordered) - torch.searchsorted(ordered, new)
    earlier = (new[None, :] >= new[:, None]).tril(-1).sum(1)
    place = torch.arange(1, len(new) + 1)
    return (1 + above + earlier).double() / (len(ordered) + place)


def log10_evidence(held_out: Tensor, scores: Tensor) -> float:
    """log10 of the e-value against the proposition that `scores` [n] are exchangeable with `held_out` [m].

    Of each bet the product over the running ranks, averaged over bets. It depends on the order of the scores: any order
    that was fixed without looking at them is valid, and so is stopping after any of them.
    """
    if not len(scores):
        return 0.0
    ranks = running_ranks(held_out, scores)
    products = torch.stack([calibrated(ranks, bet).log().sum() for bet in BETS])
    return float((products.logsumexp(0) - math.log(len(BETS))) / math.log(10))
