"""One fingerprint: the mean of own residuals, with which a sample's residual is correlated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from morelli.detectors.protocol import Progress
from morelli.errors import MorelliError, OutOfRange, TooFewSamples
from morelli.numerics.state import State

BATCH = 256  # samples scored at a time, in float64


@dataclass(frozen=True, eq=False)
class Template:
    """Score = −correlation with the fingerprint, in [−1, 1]; 0 for features that are the same everywhere."""

    fingerprint: Tensor  # [*shape]

    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n]."""
        own = _direction(self.fingerprint.to(features.device)[None])[0]
        scores = [-(_direction(some) * own).sum(1).clamp(-1, 1) for some in features.split(BATCH)]
        return torch.cat(scores).to(features)

    def state(self) -> State:
        return State({"type": "template"}, {"fingerprint": self.fingerprint})

    @staticmethod
    def from_state(state: State) -> Template:
        return Template(state.tensors["fingerprint"])


@dataclass(frozen=True)
class TemplateRecipe:
    """One-class: `other` is not looked at.

    Source: Marra et al. 2019, "Do GANs leave artificial fingerprints?".
    """

    def steps(self, own: int, other: int) -> int:
        return 1

    def settings(self) -> dict[str, Any]:
        return {"type": "template"}

    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Template:
        """`other` and `seed` have no effect.

        Raises:
            TooFewSamples: there is no own sample.
            OutOfRange: values are not finite.
            MorelliError: the mean is the same everywhere.
        """
        if not len(own):
            raise TooFewSamples("a fingerprint was asked of no own samples; give at least one, better hundreds.")
        if not own.isfinite().all():
            raise OutOfRange("features for the detector are not finite; check the range of the samples.")
        mean = own.mean(0, dtype=torch.float64)
        if not _direction(mean[None]).any():
            raise MorelliError("the mean of the own features is the same everywhere, so it is no fingerprint.")
        if progress:
            progress(1)
        return Template(mean.to(own))


def _direction(values: Tensor) -> Tensor:
    """[n, *shape] → [n, d] in float64, without its mean and of length 1; zero where nothing but rounding varies."""
    flat = values.double().flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    return torch.where(length <= 1e-9 * flat.norm(dim=1, keepdim=True), 0.0, centred / length)
