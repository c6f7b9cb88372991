"""Which elementwise activation turned these pre-activations into this output? Answered by numbers, not names."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from morelli.numerics.activation import Clip, Identity, OutputActivation, Rescaled, Sigmoid, Tanh

CLOSE = 1e-4  # of the output's range; float32 layers agree far better, other functions far worse

ROUNDING = 1e-6  # of the output's range; below this, fits are equally good


@dataclass(frozen=True)
class Fit:
    """The best activation found and its largest error, as a share of the output's range."""

    activation: OutputActivation
    error: float
    allowed: float = CLOSE

    @property
    def holds(self) -> bool:
        return self.error <= self.allowed


def fit_activation(before: Tensor, after: Tensor, allowed: float = CLOSE) -> Fit:
    """Try identity, tanh and sigmoid, also rescaled, and a clamp; the first that is as good as the best, nearly.

    Near zero all of them are straight lines, so it is not enough that one holds: a tanh whose outputs are small
    must not pass for an identity. Where the output is rounded (`allowed` says how coarsely) "nearly" is nearer.
    """
    a, y = before.double().flatten(), after.double().flatten()
    plain = (Identity(), Tanh(), Sigmoid())
    candidates = [form for inner in plain for form in (inner, _rescaled(inner, a, y))] + [_clamped(a, y)]
    fits = [Fit(candidate, activation_error(candidate, a, after.flatten()), allowed) for candidate in candidates]
    best = min(fit.error for fit in fits)
    near = 10 if best <= CLOSE else 1.5
    return next(fit for fit in fits if fit.error <= max(near * best, ROUNDING))


def activation_error(activation: OutputActivation, before: Tensor, after: Tensor) -> float:
    """Largest |activation(before) − after|, as a share of the range of `after`, in whose half precision it is taken."""
    span = float(after.double().max() - after.double().min()) or 1.0
    made = activation.forward(before.double())
    if after.dtype in (torch.float16, torch.bfloat16):
        made = made.to(after.dtype).double()
    error = float((made - after.double()).abs().max()) / span
    return error if math.isfinite(error) else math.inf


def _line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Least-squares scale and shift of y = scale·x + shift, rounded to what float32 can tell."""
    centred = x - x.mean()
    scale = float((centred * (y - y.mean())).sum() / centred.square().sum().clamp_min(1e-300))
    reach = float(y.abs().max())
    return _tidy(scale, scale), _tidy(float(y.mean()) - scale * float(x.mean()), reach)


def _tidy(value: float, reach: float) -> float:
    nearest = round(value, 4)
    return nearest if abs(value - nearest) < 1e-6 * max(1.0, abs(reach)) else value


def _rescaled(inner: OutputActivation, a: Tensor, y: Tensor) -> OutputActivation:
    scale, shift = _line(inner.forward(a), y)
    plain = (scale, shift) == (1.0, 0.0) or scale <= 0
    return inner if plain else Rescaled(inner, scale, shift)


def _clamped(a: Tensor, y: Tensor) -> OutputActivation:
    """A value that several different pre-activations share at an end of the range is a bound."""
    low, high = (float(end) if int((y == end).sum()) > 1 else end_of for end, end_of in _ends(y))
    inside = (y > low) & (y < high)
    if int(inside.sum()) < 2:
        return Clip(low, high)
    scale, shift = _line(a[inside], y[inside])
    if scale <= 0 or (scale, shift) == (1.0, 0.0):
        return Clip(low, high)
    return Rescaled(Clip((low - shift) / scale, (high - shift) / scale), scale, shift)


def _ends(y: Tensor) -> tuple[tuple[Tensor, float], tuple[Tensor, float]]:
    return (y.min(), -math.inf), (y.max(), math.inf)
