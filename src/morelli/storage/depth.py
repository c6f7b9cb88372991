"""How finely stored pixels are graded: samples → what a file holds of them, and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from morelli.errors import MismatchError, OutOfRange
from morelli.features.protocol import SampleSpec
from morelli.numerics.file_form import ANY, LEVELS

EXACT = 1e-5  # of a level, for float64


def stored(samples: Tensor, spec: SampleSpec) -> Tensor:
    """Samples [n, c, h, w] as their file gives them back: clipped, rounded to the nearest of its levels, float32.

    Raises:
        MismatchError: not floating point, or not [n, *spec.shape] of an image.
        OutOfRange: a NaN, or the spec's range is not finite.
    """
    levels = spec.form.levels
    return scaled(_levels(samples, spec, levels) / (levels - 1), spec)


def to_eight_bits(samples: Tensor, spec: SampleSpec) -> Tensor:
    """What an 8-bit file would hold: samples [n, c, h, w] → uint8 [n, c, h, w], rounded to nearest and clipped.

    Undoes `from_eight_bits` exactly where float32 resolves the spec's range into 256 steps.

    Raises:
        MismatchError: not floating point, or not [n, *spec.shape] of an image, or a spec of more than eight bits.
        OutOfRange: a NaN, or the spec's range is not finite.
    """
    _refuse_finer(spec)
    return _levels(samples, spec, LEVELS).to(torch.uint8)


def to_sixteen_bits(samples: Tensor, spec: SampleSpec) -> Tensor:
    """What a 16-bit file holds of samples of as many levels or fewer: int32 in 0..65535. Raises as `stored`."""
    levels = spec.form.levels
    share = _levels(samples, spec, levels) / (levels - 1)
    return (share * 65535).round().to(torch.int32)


def from_eight_bits(pixels: Tensor, spec: SampleSpec) -> Tensor:
    """Pixels uint8 [n, c, h, w] → float32 [n, c, h, w] in [spec.low, spec.high].

    Raises:
        MismatchError: not uint8, or not [n, *spec.shape] of an image, or a spec of more than eight bits.
        OutOfRange: the spec's range is not finite.
    """
    _refuse_finer(spec)
    _check(pixels, spec)
    if pixels.dtype != torch.uint8:
        raise MismatchError(f"pixels are {pixels.dtype}; expected uint8. Samples need to_eight_bits.")
    return scaled(torch.arange(256, device=pixels.device).double() / 255, spec)[pixels.int()]


def scaled(shares: Tensor, spec: SampleSpec) -> Tensor:
    """float64 in [0, 1] → float32 in [spec.low, spec.high]."""
    exact = shares * span_of(spec) + spec.low
    return exact.clamp(spec.low, spec.high).float()


def span_of(spec: SampleSpec) -> float:
    """Raises OutOfRange unless the spec's range is finite."""
    span = spec.high - spec.low
    if not (math.isfinite(span) and span > 0):
        raise OutOfRange(f"the range is [{spec.low}, {spec.high}]; pictures need finite low < high. Set both.")
    return span


def check_depth(shares: Tensor, facts: dict[str, Any], spec: SampleSpec) -> None:
    """Raises MismatchError where a file cannot be what the model stored: too coarse, or finer than that.

    A file of more levels than the model's is taken if its pixels are the model's levels, rounded to its own.
    """
    levels = spec.form.levels
    if levels == ANY:
        return
    if facts["levels"] < levels:
        raise MismatchError(
            f"holds {facts['levels']} levels of grey; this model's files hold {levels}, so that something was "
            "rounded away. Give the file as the generator wrote it."
        )
    found = shares * (levels - 1)
    slack = (levels - 1) / (facts["levels"] - 1) / 2 + EXACT
    if facts["levels"] > levels and ((found - found.round()).abs() > slack).any():
        raise MismatchError(
            f"holds values between the {levels} that this model's files hold. If the generator writes "
            f"{facts['levels']} levels, make its head with `--levels {facts['levels']}`; else give the file as it was "
            "written."
        )


def _levels(samples: Tensor, spec: SampleSpec, levels: int) -> Tensor:
    """Whole numbers from 0 to levels − 1, float64."""
    _check(samples, spec)
    if not samples.is_floating_point():
        raise MismatchError(f"samples are {samples.dtype}; expected floating point. Pixels need from_eight_bits.")
    if samples.isnan().any():
        raise OutOfRange("samples hold NaN; expected numbers. Look for the step that made them.")
    share = (samples.detach().double() - spec.low) / span_of(spec)
    return (share * (levels - 1)).round().clamp(0, levels - 1)


def _refuse_finer(spec: SampleSpec) -> None:
    levels = spec.form.levels
    if levels > LEVELS:
        raise MismatchError(
            f"samples have {levels} levels of grey, which eight bits do not hold. Jpeg, noise and all else that "
            "happens to 8-bit files is not known for them; leave it out."
        )


def _check(tensor: Tensor, spec: SampleSpec) -> None:
    if not spec.is_image:
        raise MismatchError(f"the spec is {spec.shape}; expected (channels, height, width). Tables have no pixels.")
    spec.check(tensor)
