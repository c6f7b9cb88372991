"""What a stored sample says about the pre-activations behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from morelli.features.protocol import Facts
from morelli.numerics.activation import cell
from morelli.numerics.fidelity import Cells, Fidelity
from morelli.numerics.head import Head

LEVELS = 255  # steps of an 8-bit value
SLACK = 1e-3  # of a level, for float32
LEAST = 1e-4  # smallest precision; a saturated value keeps this much


class Observation(Protocol):
    """Samples in the head's output range [n, *out], with their files' facts → what the map must reach."""

    def fidelity(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> Fidelity: ...


@dataclass(frozen=True)
class Point:
    """The value itself, undone. Source: arXiv 2306.06210, eq. (5)."""

    def fidelity(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> Fidelity:
        return Cells.at(head.target(samples))


@dataclass(frozen=True)
class EightBit:
    """Every pre-activation that rounds to the stored value is as good as another; open where it is saturated.

    Attributes:
        noise: standard deviation of noise in the output range, by two of which cells are widened; None estimates it
            from each sample.
    """

    noise: float | None = 0.0

    def fidelity(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> Fidelity:
        return Cells(*bounds(head, samples, _noise_of(samples, self.noise)))


@dataclass(frozen=True)
class Weighted:
    """The value, counted by how well the stored one determines it: the inverse of its pre-activation's variance.

    That variance is (rounding² + noise²)/(dσ/da)², with a level's 1/12 for rounding; precisions are relative to the
    best value that has no noise, and at least 1e-4 of that. Source: the delta method.

    Attributes:
        noise: as in `EightBit`.
    """

    noise: float | None = 0.0

    def fidelity(self, head: Head, samples: Tensor, facts: Sequence[Facts]) -> Fidelity:
        steep = head.activation.slope(head.activation.inverse(samples))
        best = _spread(steep.flatten(1).amax(1).clamp_min(1e-30), samples)
        rounding = _level(head, samples) ** 2 / 12
        noise = _noise_of(samples, self.noise).square()
        share = rounding / (rounding + noise).clamp_min(1e-30) if rounding else torch.ones_like(noise)
        precision = (steep / best).square().clamp(LEAST, 1.0) * _spread(share.clamp_min(LEAST), samples)
        return Cells.at(head.target(samples), precision)


def _spread(per_sample: Tensor, like: Tensor) -> Tensor:
    return per_sample.reshape(-1, *[1] * (like.ndim - 1))


def _level(head: Head, samples: Tensor) -> float:
    """One step of an 8-bit image, in the output range; 0 for what is not stored in 8 bits."""
    span = head.activation.high - head.activation.low
    return span / LEVELS if math.isfinite(span) and samples.ndim == 4 else 0.0


def bounds(head: Head, samples: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """[n, *out] twice: the interval around each value of a sample, from the anchor, for noise [n]."""
    radius = (0.5 + SLACK) * _level(head, samples) + 2 * _spread(noise, samples)
    reached = head.map.apply(head.anchor[None]) + head.bias
    low, high = cell(head.activation, samples, radius)
    return low - reached, high - reached


def _noise_of(samples: Tensor, given: float | None) -> Tensor:
    return estimated_noise(samples) if given is None else samples.new_full((len(samples),), given)


def estimated_noise(samples: Tensor) -> Tensor:
    """[n]: standard deviation of white noise, from the median of the finest diagonal Haar coefficients.

    Source: Donoho & Johnstone 1994. Fine texture counts as noise. Zero for samples that are no images.
    """
    if samples.ndim != 4 or min(samples.shape[2:]) < 2 or not len(samples):
        return samples.new_zeros(len(samples))
    a, b = samples[..., :-1:2, :-1:2], samples[..., :-1:2, 1::2]
    c, d = samples[..., 1::2, :-1:2], samples[..., 1::2, 1::2]
    rows, columns = c.shape[2], b.shape[3]
    diagonal = (a[..., :rows, :columns] - b[..., :rows, :] - c[..., :columns] + d) / 2
    return diagonal.abs().flatten(1).median(1).values / 0.6745


OBSERVATIONS: dict[str, Callable[..., Observation]] = {"point": Point, "eight_bit": EightBit, "weighted": Weighted}


def observation_settings(observation: Observation) -> dict[str, Any]:
    name = next(name for name, kind in OBSERVATIONS.items() if type(observation) is kind)
    return {"type": name} | asdict(observation)  # type: ignore[call-overload]


def observation_from_settings(settings: Mapping[str, Any]) -> Observation:
    values = dict(settings)
    return OBSERVATIONS[values.pop("type")](**values)
