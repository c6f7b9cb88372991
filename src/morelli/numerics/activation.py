"""Output activations: what a generator applies after its last linear layer, and how to undo it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

ROUNDING = 1e-5  # share of a clamp's range; undoing a rescaling leaves a clamped value this close to its bound


class OutputActivation(Protocol):
    """Elementwise and increasing. `low` and `high` bound the output; either may be infinite. `slope` is dσ/da."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    def forward(self, a: Tensor) -> Tensor: ...
    def inverse(self, y: Tensor) -> Tensor: ...
    def saturated(self, y: Tensor) -> Tensor: ...
    def slope(self, a: Tensor) -> Tensor: ...
    def settings(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Identity:
    """No activation."""

    low: float = -math.inf
    high: float = math.inf

    def forward(self, a: Tensor) -> Tensor:
        return a

    def inverse(self, y: Tensor) -> Tensor:
        return y

    def saturated(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y, dtype=torch.bool)

    def slope(self, a: Tensor) -> Tensor:
        return torch.ones_like(a)

    def settings(self) -> dict[str, Any]:
        return {"type": "identity"}


@dataclass(frozen=True)
class Clip:
    """Clamped to [low, high]. The inverse leaves values as they are: at a bound they say "or beyond"."""

    low: float
    high: float

    def forward(self, a: Tensor) -> Tensor:
        return a.clamp(self.low, self.high)

    def inverse(self, y: Tensor) -> Tensor:
        return y.clamp(self.low, self.high)

    def saturated(self, y: Tensor) -> Tensor:
        span = self.high - self.low
        slack = ROUNDING * (span if math.isfinite(span) else 1.0)
        return (y <= self.low + slack) | (y >= self.high - slack)

    def slope(self, a: Tensor) -> Tensor:
        return ((a >= self.low) & (a <= self.high)).to(a)

    def settings(self) -> dict[str, Any]:
        bounds = {"low": self.low, "high": self.high}
        return {"type": "clip"} | {name: value for name, value in bounds.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Tanh:
    """tanh; undone after clipping to ±(1 − margin). Source: arXiv 2306.06210, released settings: 1e-4."""

    margin: float = 1e-4
    low: float = -1.0
    high: float = 1.0

    def forward(self, a: Tensor) -> Tensor:
        return a.tanh()

    def inverse(self, y: Tensor) -> Tensor:
        return y.clamp(self.margin - 1, 1 - self.margin).atanh()

    def saturated(self, y: Tensor) -> Tensor:
        return y.abs() >= 1 - self.margin

    def slope(self, a: Tensor) -> Tensor:
        return 1 - a.tanh().square()

    def settings(self) -> dict[str, Any]:
        return {"type": "tanh", "margin": self.margin}


@dataclass(frozen=True)
class Sigmoid:
    """1/(1 + e⁻ᵃ); undone after clipping to [margin, 1 − margin], half of Tanh's, to which it is equivalent."""

    margin: float = 5e-5
    low: float = 0.0
    high: float = 1.0

    def forward(self, a: Tensor) -> Tensor:
        return a.sigmoid()

    def inverse(self, y: Tensor) -> Tensor:
        return y.clamp(self.margin, 1 - self.margin).logit()

    def saturated(self, y: Tensor) -> Tensor:
        return (y <= self.margin) | (y >= 1 - self.margin)

    def slope(self, a: Tensor) -> Tensor:
        return a.sigmoid() * (-a).sigmoid()

    def settings(self) -> dict[str, Any]:
        return {"type": "sigmoid", "margin": self.margin}


@dataclass(frozen=True)
class Rescaled:
    """scale · inner(a) + shift, for example (tanh + 1)/2 or 255 · sigmoid. `scale` is positive."""

    inner: OutputActivation
    scale: float
    shift: float

    @property
    def low(self) -> float:
        return self.scale * self.inner.low + self.shift

    @property
    def high(self) -> float:
        return self.scale * self.inner.high + self.shift

    def forward(self, a: Tensor) -> Tensor:
        return self.scale * self.inner.forward(a) + self.shift

    def inverse(self, y: Tensor) -> Tensor:
        return self.inner.inverse((y - self.shift) / self.scale)

    def saturated(self, y: Tensor) -> Tensor:
        return self.inner.saturated((y - self.shift) / self.scale)

    def slope(self, a: Tensor) -> Tensor:
        return self.scale * self.inner.slope(a)

    def settings(self) -> dict[str, Any]:
        return {"type": "rescaled", "inner": self.inner.settings(), "scale": self.scale, "shift": self.shift}


@dataclass(frozen=True)
class Columns:
    """Of an encoded table row: tanh at the places `bounded`, a softmax over each of `groups`, nothing elsewhere.

    A one-hot code is undone as if the chance of its place had been 1 − margin: which place is all that is known, so
    such values are saturated. The softmax is the one activation here that is not elementwise.

    Attributes:
        groups: (start, stop) of each.
    """

    bounded: tuple[int, ...]
    groups: tuple[tuple[int, int], ...]
    margin: float = 1e-2
    low: float = -math.inf
    high: float = math.inf

    def forward(self, a: Tensor) -> Tensor:
        parts, at = [], 0
        for start, stop in sorted([*((place, place + 1) for place in self.bounded), *self.groups]):
            inside = a[:, start:stop]
            parts += [a[:, at:start], inside.tanh() if (start, stop) not in self.groups else inside.softmax(1)]
            at = stop
        return torch.cat([*parts, a[:, at:]], 1)

    def inverse(self, y: Tensor) -> Tensor:
        a = y.clone()
        a[:, list(self.bounded)] = Tanh().inverse(y[:, list(self.bounded)])
        for start, stop in self.groups:
            logs = y[:, start:stop].clamp(self.margin / (stop - start), 1 - self.margin).log()
            a[:, start:stop] = logs - logs.mean(1, keepdim=True)
        return a

    def saturated(self, y: Tensor) -> Tensor:
        found = torch.zeros_like(y, dtype=torch.bool)
        found[:, list(self.bounded)] = Tanh().saturated(y[:, list(self.bounded)])
        for start, stop in self.groups:
            found[:, start:stop] = (y[:, start:stop].amax(1) >= 1 - self.margin)[:, None]
        return found

    def slope(self, a: Tensor) -> Tensor:
        """Of a softmax the diagonal: how each value moves with its own pre-activation."""
        slope = torch.ones_like(a)
        slope[:, list(self.bounded)] = 1 - a[:, list(self.bounded)].tanh().square()
        for start, stop in self.groups:
            chances = a[:, start:stop].softmax(1)
            slope[:, start:stop] = chances * (1 - chances)
        return slope

    def settings(self) -> dict[str, Any]:
        groups = [list(group) for group in self.groups]
        return {"type": "columns", "bounded": list(self.bounded), "groups": groups, "margin": self.margin}


def cell(activation: OutputActivation, y: Tensor, radius: Tensor | float) -> tuple[Tensor, Tensor]:
    """The pre-activations [low, high] whose outputs lie within `radius` of y, in output units.

    Open (infinite) on a side where the activation saturates or clamps: beyond it every pre-activation looks the same.
    """
    middle = (activation.low + activation.high) / 2  # infinite where one side is: then all lies on the other
    middle = 0.0 if math.isnan(middle) else middle
    below, above = y - radius, y + radius
    low, high = activation.inverse(below), activation.inverse(above)
    low = torch.where(activation.saturated(below) & (below < middle), -math.inf, low)
    return low, torch.where(activation.saturated(above) & (above > middle), math.inf, high)


def activation_from_settings(settings: Mapping[str, Any]) -> OutputActivation:
    match settings["type"]:
        case "identity":
            return Identity()
        case "clip":
            return Clip(settings.get("low", -math.inf), settings.get("high", math.inf))
        case "tanh":
            return Tanh(settings["margin"])
        case "sigmoid":
            return Sigmoid(settings["margin"])
        case "rescaled":
            return Rescaled(activation_from_settings(settings["inner"]), settings["scale"], settings["shift"])
        case "columns":
            groups = tuple((start, stop) for start, stop in settings["groups"])
            return Columns(tuple(settings["bounded"]), groups, settings["margin"])
        case other:
            raise KeyError(other)
