"""What an extractor is: samples in, features out, and what it must be told about the samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from morelli.errors import MismatchError
from morelli.numerics.file_form import USUAL, FileForm
from morelli.numerics.head import SLACK
from morelli.numerics.state import State

Facts = Mapping[str, Any]  # what the file of a sample says, from `storage.samples`
Progress = Callable[[int], None]  # called with the number of samples that were just finished


@dataclass(frozen=True)
class SampleSpec:
    """What samples must look like.

    Attributes:
        shape: (channels, height, width) of an image, (channels, samples) of a window of sound, (columns,) of a row.
        low, high: the generator's output range; an image's least and largest value, and full scale of sound, stand for
            these. Infinite for tables.
        form: how files hold them.
    """

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    form: FileForm = USUAL

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    @property
    def is_audio(self) -> bool:
        return len(self.shape) == 2

    @property
    def is_table(self) -> bool:
        return len(self.shape) == 1

    def check(self, samples: Tensor) -> None:
        """Raises MismatchError unless samples are [n, *shape]."""
        if tuple(samples.shape[1:]) != self.shape:
            raise MismatchError(f"samples are {tuple(samples.shape[1:])}; expected {self.shape}.")

    @property
    def least(self) -> tuple[int, ...]:
        """The smallest image that is read, height and width."""
        return tuple(side + 2 * self.form.grid for side in self.shape[-2:])

    def place(self, height: int, width: int) -> tuple[int, int] | None:
        """Top and left of the window nearest to the middle of an image; None where the image is not read."""
        spare, grid = (height - self.shape[-2], width - self.shape[-1]), self.form.grid
        if not grid or min(spare) < 2 * grid:
            return (0, 0) if not grid and spare == (0, 0) else None
        top, left = (rest // 2 // grid * grid for rest in spare)
        return top, left

    def outside(self, samples: Tensor) -> Tensor:
        """Boolean [n]: which samples leave [low, high] by more than a thousandth of it."""
        slack = SLACK * (self.high - self.low) if math.isfinite(self.high - self.low) else 0.0
        return ((samples < self.low - slack) | (samples > self.high + slack)).flatten(1).any(1)

    def grey_steps(self, samples: Tensor) -> Tensor:
        """Samples in [low, high] → in [0, 255], not rounded, whatever their levels."""
        return (samples - self.low) / (self.high - self.low) * 255

    def settings(self) -> dict[str, Any]:
        bounds = {"low": self.low, "high": self.high}
        found = {"shape": list(self.shape)} | {k: v for k, v in bounds.items() if math.isfinite(v)}
        return found | self.form.settings()

    @staticmethod
    def from_settings(settings: Mapping[str, Any]) -> SampleSpec:
        low, high = settings.get("low", -math.inf), settings.get("high", math.inf)
        return SampleSpec(tuple(settings["shape"]), float(low), float(high), FileForm.from_settings(settings))


@dataclass(frozen=True, eq=False)
class Features:
    """Values [n, *shape] for a detector, and per sample what a careful reader wants to know.

    Attributes:
        notes: name → [n] float tensor, for example `saturated` (share of outputs) or `gap`.
        reasons: per sample, why its features should not be trusted; empty where they should.
    """

    values: Tensor
    notes: Mapping[str, Tensor] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @staticmethod
    def concatenate(parts: list[Features]) -> Features:
        notes = {name: torch.cat([part.notes[name] for part in parts]) for name in parts[0].notes}
        reasons = tuple(reason for part in parts for reason in part.reasons)
        return Features(torch.cat([part.values for part in parts]), notes, reasons)


class Proof(Protocol):
    """What a second, slower look at one sample found, as named numbers for a report."""

    def figures(self) -> dict[str, float]: ...


@runtime_checkable
class Certifier(Protocol):
    """An extractor that can look again."""

    def certify(self, samples: Tensor, facts: Sequence[Facts]) -> Proof:
        """Of one sample [1, *spec.shape]. Raises UnsuitableSolver where its settings cannot be certified."""
        ...


@runtime_checkable
class Lenient(Protocol):
    """An extractor that scores own samples alike, whatever of this happened to them.

    Attributes:
        bears: kinds of conditions, as "noise".
    """

    @property
    def bears(self) -> tuple[str, ...]: ...


@runtime_checkable
class Turnable(Protocol):
    """An extractor whose features of a turned image are those of the upright one in another order.

    Attributes:
        turns: [t, d], that order for each orientation; the first is upright. orientations: t names.
    """

    @property
    def turns(self) -> Tensor: ...

    @property
    def orientations(self) -> tuple[str, ...]: ...


class Extractor(Protocol):
    """Turns samples [n, *spec.shape] into features. Samples never influence each other."""

    @property
    def spec(self) -> SampleSpec: ...

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """`facts`: of the samples' files, where there are files; most extractors have no use for them."""
        ...

    def state(self) -> State: ...
