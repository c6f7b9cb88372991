"""Stacked: a discriminant for each block of the features, and a Gaussian of the last one. Objections add up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from morelli.detectors.mahalanobis import Mahalanobis, MahalanobisRecipe
from morelli.detectors.protocol import Progress
from morelli.detectors.ridge import Ridge, RidgeRecipe
from morelli.errors import MismatchError, TooFewSamples
from morelli.numerics.metrics import auroc
from morelli.numerics.state import State

LEAST = 10  # samples of either class
AXES, PER_AXIS = 32, 4  # of the Gaussian at most, and samples for each: a half must vary off its axes too
BULK, SLOPE = (0.5, 0.98), 1e-3
AT_ONCE = 256  # samples that are scored together


@dataclass(frozen=True, eq=False)
class Stacked:
    """Score = sum of two objections in units of own samples, neither below its usual value.

    Where other sources were at hand the discriminant knows in which direction to look; the Gaussian of own samples
    rejects what is unlike them in any direction. Its distance counts by its logarithm: a few own samples lie far out.

    Attributes:
        discriminant: of all blocks. gaussian: of the last `width` features.
        usual: [2], own samples' median of the logarithm of the distance, and how far above it their upper 2 % begins.
        left_out: [n], what each own sample would have scored if nothing had been fitted to it; not stored.
        separated: AUROC of own against other samples by the discriminant.
        earlier: made by a version that scored by the length of (discriminant, distance), which it keeps.
    Raises:
        MismatchError: the Gaussian is not of `width` features.
    """

    discriminant: Ridge
    gaussian: Mahalanobis
    usual: Tensor
    width: int
    separated: float = 0.5
    left_out: Tensor = field(default_factory=lambda: torch.zeros(0))
    earlier: bool = False

    def __post_init__(self) -> None:
        if self.gaussian.axes.shape[1] != self.width:
            raise MismatchError(f"the Gaussian is of {self.gaussian.axes.shape[1]} features, not of {self.width}.")

    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n]. Summed in float64, so that a score does not depend on its batch or on threads."""
        return torch.cat([self._score(some.double()) for some in features.flatten(1).split(AT_ONCE)]).to(features)

    def score_turned(self, features: Tensor, turns: Tensor) -> Tensor:
        """Scores [t, n] of features[:, turns[k]] for every order k [t, d] of the flattened features.

        The order goes to the direction, which is one, instead of to the samples; of the last features those orders
        count that differ.
        """
        parts = features.flatten(1).split(AT_ONCE)
        return torch.cat([self.combined(self.objections_turned(some, turns)) for some in parts], 1).to(features)

    def objections(self, values: Tensor) -> Tensor:
        """[n, d] → [n, 2] of the discriminant and the distance: 0 is usual, 1 the upper 2 % of own samples."""
        return torch.stack([self.discriminant.score(values), self._far(values[:, -self.width :])], 1)

    def objections_turned(self, features: Tensor, turns: Tensor) -> Tensor:
        """[t, n, 2], as `objections` of features[:, turns[k]], float64."""
        values, turns = features.double(), turns.to(features.device)
        found = values @ self.directions(turns).to(values).T + self.discriminant.offset.to(values)
        orders, which = torch.unique(turns[:, -self.width :], dim=0, return_inverse=True)
        far = torch.stack([self._far(values[:, order]) for order in orders])[which]
        return torch.stack([found.T, far], 2)

    def directions(self, turns: Tensor) -> Tensor:
        """[t, d]: the discriminant's direction for features that are not turned."""
        places = torch.arange(turns.shape[1], device=turns.device).expand_as(turns)
        return self.discriminant.direction.to(turns.device)[torch.empty_like(turns).scatter_(1, turns, places)]

    def combined(self, objections: Tensor) -> Tensor:
        """[…, 2] → scores […]."""
        return _combined(objections, length=self.earlier)

    def _score(self, values: Tensor) -> Tensor:
        return self.combined(self.objections(values))

    def _far(self, last: Tensor) -> Tensor:
        usual, reach = self.usual.to(last)
        distance = self.gaussian.score(last)
        return ((distance if self.earlier else _log(distance)) - usual) / reach

    def state(self) -> State:
        settings = {"type": "stacked", "width": self.width, "separated": self.separated, "earlier": self.earlier}
        parts = {"discriminant": self.discriminant.state(), "gaussian": self.gaussian.state()}
        return State(settings, {"usual": self.usual}, parts)

    @staticmethod
    def from_state(state: State) -> Stacked:
        settings, parts, tensors = state.settings, state.parts, state.tensors
        discriminant, gaussian = Ridge.from_state(parts["discriminant"]), Mahalanobis.from_state(parts["gaussian"])
        if "earlier" not in settings:
            discriminant = _in_units(discriminant, *tensors["scales"][0])
        usual = tensors["usual"] if "earlier" in settings else tensors["scales"][1]
        about = settings["width"], settings["separated"]
        return Stacked(discriminant, gaussian, usual, *about, earlier=settings.get("earlier", True))


def _combined(objections: Tensor, *, length: bool = False) -> Tensor:
    """[…, 2] → […]; a little of what is below its usual value counts too, so that scores seldom tie."""
    above = objections.clamp_min(0)
    return (above.norm(dim=-1) if length else above.sum(-1)) + SLOPE * objections.clamp(-1 / SLOPE, 0).sum(-1)


def _log(distances: Tensor) -> Tensor:
    return distances.clamp_min(torch.finfo(distances.dtype).tiny).log()


@dataclass(frozen=True)
class StackedRecipe:
    """A ridge discriminant for each block, another over their scores of samples left out, and a Gaussian.

    Attributes:
        blocks: how many numbers of the flattened features each block has; none, and all are one block.
    Source: Wolpert, Neural Networks 1992 (stacking).
    """

    blocks: tuple[int, ...] = ()

    def steps(self, own: int, other: int) -> int:
        return max(1, len(self.blocks)) + 1

    def settings(self) -> dict[str, Any]:
        return {"type": "stacked"} | asdict(self)

    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Stacked:
        """Raises TooFewSamples without ten samples of either class, MismatchError for features of another size."""
        if other is None or min(len(own), len(other)) < LEAST:
            raise TooFewSamples(f"stacked discriminants need {LEAST} own and {LEAST} other samples or more.")
        progress = progress or (lambda done: None)
        own, other = own.flatten(1), other.flatten(1)
        sizes = list(self.blocks or own.shape[1:])
        if own.shape[1] != sum(sizes):
            raise MismatchError(f"features have {own.shape[1]} numbers; expected blocks of {sizes}.")
        parts: list[Ridge] = []
        said = []
        for mine, theirs in zip(own.split(sizes, 1), other.split(sizes, 1), strict=True):
            ridge, left_out = RidgeRecipe().fit_left_out(mine, theirs)
            parts.append(ridge)
            said.append(left_out)
            progress(1)
        scores = torch.stack(said, 1)
        top, _ = RidgeRecipe().fit_left_out(scores[: len(own)], scores[len(own) :])
        mine, theirs = top.score(scores).split([len(own), len(other)])
        last = own[:, -sizes[-1] :]
        recipe = MahalanobisRecipe(min(AXES, len(last) // PER_AXIS))
        distances = _log(_left_out(recipe, last, seed))
        progress(1)
        scales = _bulk(mine), _bulk(distances)
        units = [(said - usual) / reach for said, (usual, reach) in zip((mine, distances), scales, strict=True)]
        gaussian = recipe.fit(last, None, seed)
        return Stacked(
            _in_units(_joined(top, parts), *scales[0]),
            gaussian,
            scales[1],
            sizes[-1],
            auroc(mine, theirs),
            _combined(torch.stack(units, 1)),
        )


def _in_units(ridge: Ridge, usual: Tensor, reach: Tensor) -> Ridge:
    return Ridge(ridge.direction / reach, (ridge.offset - usual) / reach)


def _left_out(recipe: MahalanobisRecipe, values: Tensor, seed: int) -> Tensor:
    """[n], each sample's distance from a Gaussian of the other half."""
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed)).to(values.device)
    found = values.new_zeros(len(values))
    halves = order.tensor_split(2)
    for one, other in (halves, halves[::-1]):
        found[one] = recipe.fit(values[other], None, seed).score(values[one])
    return found


def _bulk(scores: Tensor) -> Tensor:
    low, high = torch.quantile(scores, scores.new_tensor(BULK))
    return torch.stack([low, (high - low).clamp_min(1e-6)])


def _joined(top: Ridge, parts: list[Ridge]) -> Ridge:
    weights = top.direction
    direction = torch.cat([weight * part.direction for weight, part in zip(weights, parts, strict=True)])
    return Ridge(direction, top.offset + weights @ torch.stack([part.offset for part in parts]))
