"""One model or two? Two sets of samples, measured against pairs of sets whose answer is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from morelli.attribution.report import RefusedFile
from morelli.attribution.world import World
from morelli.errors import OutOfRange, TooFewSamples
from morelli.numerics.calibration import p_values

DRAWS, LEVEL = 200, 0.9  # of the bootstrap over models


class Answer(Enum):
    ONE = "one model"
    TWO = "two models"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Verification:
    """What is known of a pair of sets.

    Attributes:
        score: higher = less alike.
        p_one: of the proposition that one model made both: the share of such pairs that are at least this unlike.
        p_two: of the proposition that two models did: the share of such pairs that are at least this alike.
        rate: the answer is "one model" where p_two alone is at most the rate, "two models" where p_one alone is.
        missed: share of pairs of one model that are too unlike to be called so; its 90 % interval over pairs.
        models: how many the shares rest on, the strangers of the world. Their pairs hang together, so that the rate is
            kept on average over worlds, not in each.
        refused: files that were not compared.
    """

    score: float
    p_one: float
    p_two: float
    rate: float
    missed: tuple[float, float, float]
    models: int
    refused: tuple[RefusedFile, ...] = ()

    @property
    def answer(self) -> Answer:
        one, two = self.p_two <= self.rate, self.p_one <= self.rate
        if one == two:  # neither is unlikely, or both are, as between siblings
            return Answer.INCONCLUSIVE
        return Answer.ONE if one else Answer.TWO

    def to_dict(self) -> dict[str, Any]:
        return {"answer": self.answer.value} | asdict(self) | {"missed": list(self.missed)}


def verify(first: Tensor, second: Tensor, world: World, rate: float = 0.05) -> Verification:
    """Fingerprints [n, d] and [m, d] of two sets.

    The world's strangers are compared in sets of the same sizes, or of half their images where the sets are larger,
    which makes the answer more careful than it need be.

    Raises:
        OutOfRange: the rate is not in (0, 1). TooFewSamples: an empty set, or a world too small for the rate.
    """
    if not 0 < rate < 1:
        raise OutOfRange(f"the rate of false matches is {rate}; expected one between 0 and 1, as 0.05.")
    if not len(first) or not len(second):
        raise TooFewSamples("one of the two sets is empty; give at least one sample of each.")
    if 1 / (len(world.strangers) + 1) > rate:
        raise TooFewSamples(
            f"{len(world.strangers)} known models cannot resolve a rate of {rate:g}; ask for a larger one."
        )
    same, different = known_pairs(world, len(first), len(second))
    score = between(first, second, world)
    p_one, p_two = p_values(same, score[None]), p_values(-different.flatten(), -score[None])
    return Verification(
        float(score), float(p_one), float(p_two), rate, missed(same, different, rate), len(world.strangers)
    )


def between(first: Tensor, second: Tensor, world: World) -> Tensor:
    """The score of two sets, whichever comes first."""
    return (world.score(first, second[None])[0] + world.score(second, first[None])[0]) / 2


def known_pairs(world: World, n: int, m: int) -> tuple[Tensor, Tensor]:
    """Scores of sets of n and m images of strangers, coded alike: [pairs] of one, and [pairs, strangers − 1] of two."""
    half, same, different = world.strangers.shape[2] // 2, [], []
    for models in world.strangers.unbind(1):
        first, second = models[:, : min(n, half)], models[:, -min(m, half) :]
        there = torch.stack([world.score(one, second) for one in first])
        back = torch.stack([world.score(other, first) for other in second], 1)
        scores, apart = (there + back) / 2, ~torch.eye(len(first), dtype=torch.bool)
        same.append(scores.diagonal())
        different.append(scores[apart].reshape(len(first), -1))
    return torch.cat(same), torch.cat(different)


def missed(same: Tensor, different: Tensor, rate: float) -> tuple[float, float, float]:
    """Share of the same-model pairs above the threshold that different ones pass at the rate; with its interval."""
    rng = torch.Generator().manual_seed(0)

    def share(chosen: Tensor) -> float:
        limit = different[chosen].flatten().double().quantile(rate)
        return float((same[chosen] > limit).double().mean())

    draws = [share(torch.randint(len(same), (len(same),), generator=rng)) for _ in range(DRAWS)]
    low, high = torch.tensor(draws, dtype=torch.float64).quantile(
        torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]).double()
    )
    return share(torch.arange(len(same))), float(low), float(high)
