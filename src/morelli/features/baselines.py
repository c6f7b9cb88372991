"""Features that need no head: raw values and log-DCT coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from morelli.errors import MismatchError
from morelli.features.protocol import Facts, Features, Progress, SampleSpec
from morelli.numerics.spectrum import dct2, dct_matrix
from morelli.numerics.state import State


@dataclass(frozen=True)
class RawValues:
    """Every `stride`-th row and column of an image, mapped to [−1, 1]; a table row as it is.

    Source: RawPAD in arXiv 2306.06210, which brings 64×64 to 32×32 by nearest neighbour: stride 2.
    """

    spec: SampleSpec
    stride: int = 1

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, *spec.shape] → the values kept. Raises MismatchError for another shape."""
        self.spec.check(samples)
        values = samples
        if self.spec.is_image:
            middle, half = (self.spec.high + self.spec.low) / 2, (self.spec.high - self.spec.low) / 2
            values = (samples[..., :: self.stride, :: self.stride] - middle) / half
        return _plain(values, progress)

    def state(self) -> State:
        return State({"type": "raw", "spec": self.spec.settings(), "stride": self.stride})

    @staticmethod
    def from_state(state: State) -> RawValues:
        return RawValues(SampleSpec.from_settings(state.settings["spec"]), state.settings["stride"])


@dataclass(frozen=True)
class LogDct:
    """log(|DCT-II| + 1e-10) of the central `crop`×`crop` pixels, per channel; of sound, its mean over frames of `crop`.

    Source: DCTPAD in arXiv 2306.06210; values in [−1, 1] before the transform. Sound is our own addition.
    """

    spec: SampleSpec
    crop: int = 32

    def __post_init__(self) -> None:
        if self.spec.is_table or min(self.spec.shape[1:]) < self.crop:
            raise MismatchError(
                f"log-DCT needs images of at least {self.crop}×{self.crop}, or sound as long; these are "
                f"{self.spec.shape}."
            )

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, c, h, w] → [n, c, crop, crop], [n, c, samples] → [n, c, crop]. Raises MismatchError for another shape."""
        self.spec.check(samples)
        middle, half = (self.spec.high + self.spec.low) / 2, (self.spec.high - self.spec.low) / 2
        if self.spec.is_audio:
            frames = ((samples - middle) / half).unfold(2, self.crop, self.crop)
            return _plain(((frames @ dct_matrix(self.crop, samples).T).abs() + 1e-10).log().mean(2), progress)
        top, left = ((n - self.crop) // 2 for n in self.spec.shape[1:])
        cropped = (samples[..., top : top + self.crop, left : left + self.crop] - middle) / half
        return _plain((dct2(cropped).abs() + 1e-10).log(), progress)

    def state(self) -> State:
        return State({"type": "log_dct", "spec": self.spec.settings(), "crop": self.crop})

    @staticmethod
    def from_state(state: State) -> LogDct:
        return LogDct(SampleSpec.from_settings(state.settings["spec"]), state.settings["crop"])


def _plain(values: Tensor, progress: Progress | None) -> Features:
    if progress:
        progress(len(values))
    return Features(values, {"saturated": torch.zeros(len(values))}, ("",) * len(values))
