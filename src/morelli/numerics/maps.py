"""The linear maps that a bundle may hold, written out."""

from __future__ import annotations

from collections.abc import Callable

from morelli.numerics.cropped import Cropped
from morelli.numerics.linear import Conv, Dense, LinearMap, TransposedConv
from morelli.numerics.state import State
from morelli.numerics.sums import LinearSum, Resampled


def _sum(state: State) -> LinearSum:
    weights = tuple(state.settings["weights"])
    return LinearSum(tuple(map_from_state(state.parts[str(k)]) for k in range(len(weights))), weights)


def _cropped(state: State) -> Cropped:
    settings = state.settings
    return Cropped(map_from_state(state.parts["inner"]), tuple(settings["start"]), tuple(settings["out_shape"]))


MAPS: dict[str, Callable[[State], LinearMap]] = {
    "dense": Dense.from_state,
    "conv": Conv.from_state,
    "transposed_conv": TransposedConv.from_state,
    "resampled": Resampled.from_state,
    "stacked": _sum,
    "cropped": _cropped,
}


def map_from_state(state: State) -> LinearMap:
    return MAPS[state.settings["type"]](state)
