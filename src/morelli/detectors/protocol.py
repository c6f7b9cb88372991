"""Recipe → detector. A recipe is settings; `fit` returns a frozen scorer. Higher score = less like the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from morelli.numerics.state import State

Progress = Callable[[int], None]  # called with the number of training steps just made


class Detector(Protocol):
    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n]; a sample's score does not depend on its batch mates."""
        ...

    def state(self) -> State: ...


@runtime_checkable
class TurnScorer(Protocol):
    """A detector that scores features in many orders at once, for less than one after the other."""

    def score_turned(self, features: Tensor, turns: Tensor) -> Tensor:
        """[n, d] and orders [t, d] → scores [t, n] of features[:, turns[k]]."""
        ...


class DetectorRecipe(Protocol):
    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Detector: ...

    def steps(self, own: int, other: int) -> int:
        """How often `fit` will report progress, for a bar."""
        ...

    def settings(self) -> dict[str, Any]: ...
