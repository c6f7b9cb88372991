"""Imprint of sound: what the grid of a vocoder's upsampling leaves in a clip, whatever is said, wherever it was cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from morelli.errors import MismatchError
from morelli.features.protocol import Facts, Features, Progress, SampleSpec
from morelli.numerics.log_covariance import log_covariance
from morelli.numerics.state import State

FRAMES = 8  # in a window, at least
HOP = 256  # samples that one frame of a spectrogram becomes, of most vocoders
SHORTEST = 32  # hop
GRID = 4  # of the last upsamplings together: patches are gathered for every place on it
PATCH = 16  # samples
BANDS = 64  # of the spectrum
SMOOTH = 0.03  # of the spectrum, over which its size is levelled
LOUDNESS = 513  # samples over which the residual's size is levelled
QUIET = 0.5  # steps of 16 bits, added to that size, so that silence is not blown up
CLIP = 4.0
LOOKED_AT = 300  # samples in which the hop is looked for
NEAR = 0.8  # of what the best hop shares
AT_ONCE = 2**21  # numbers of samples worked on together


@dataclass(frozen=True, eq=False)
class SoundImprint:
    """Features of a clip in four blocks, one after the other, made of its residual: the clip with its own long-term
    spectrum and its loudness levelled, so that loud and quiet, low and high weigh alike.

    * pattern: the mean residual at each of the `hop` places in a frame.
    * power: the logarithm of its mean square at each place.
    * grid: for each of four places on the grid of the last upsamplings, the logarithm of the covariance of patches of
      16 samples that begin there, less the mean of the four.
    * spectrum: that mean, and the logarithm of the clip's spectrum in 64 bands less its mean: what is the same wherever
      the grid begins.

    A clip that was cut begins anywhere in a frame: `turns` are the shifts, which only move numbers around.

    Attributes:
        spec: of mono sound, a whole number of frames long, eight or more. hop: samples in a frame.
    Raises:
        MismatchError: samples that are no mono sound, or a hop that is none of `possible_hops`.

    Source: our own; see experiments/audio.
    """

    spec: SampleSpec
    hop: int = HOP

    def __post_init__(self) -> None:
        if not self.spec.is_audio or self.spec.shape[0] != 1 or not math.isfinite(self.spec.high - self.spec.low):
            raise MismatchError(
                f"samples are {self.spec.shape}; an imprint of sound needs (1, samples) within a range."
            )
        length = self.spec.shape[1]
        if self.hop not in (possible := possible_hops(length)):
            raise MismatchError(
                f"windows of {length} samples have no whole number of frames of {self.hop}, or fewer than {FRAMES}; "
                f"possible hops are {', '.join(map(str, possible)) or 'none'}. Make the head from longer latents, or "
                "use method 'flipad'."
            )

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many numbers each block has."""
        entries = PATCH * (PATCH + 1) // 2
        return self.hop, self.hop, GRID * entries, entries + BANDS

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        """[n, 1, samples] → [n, sum of blocks]. Raises MismatchError for another shape."""
        self.spec.check(samples)
        values = samples.new_zeros(len(samples), sum(self.blocks))
        step = max(1, AT_ONCE // self.spec.shape[1])
        for start in range(0, len(samples), step):
            values[start : start + step] = self._features(samples[start : start + step, 0].float())
            if progress:
                progress(len(samples[start : start + step]))
        return Features(values, {"saturated": torch.zeros(len(samples))}, self._reasons(samples))

    def found_hop(self, samples: Tensor) -> int:
        """The hop at which these samples [n, 1, samples] of one vocoder have something in common.

        By what two halves of the samples share at the places of a frame of that length, in mean and mean square of the
        residual. A multiple of the hop shares as much, so the least that comes near the most counts.
        """
        residual, _ = levelled(self._steps(samples[:LOOKED_AT, 0].float()))
        shared = {}
        for hop in possible_hops(self.spec.shape[1]):
            frames = residual.unflatten(1, (-1, hop))
            halves = [[x.mean((0, 1)) for x in (part, part.square())] for part in (frames[::2], frames[1::2])]
            shared[hop] = sum(float(((a - a.mean()) * (b - b.mean())).mean()) for a, b in zip(*halves, strict=True))
        return min(hop for hop, value in shared.items() if value >= NEAR * max(shared.values()))

    def _steps(self, clips: Tensor) -> Tensor:
        """Steps of 16 bits."""
        half = (self.spec.high - self.spec.low) / 2
        return ((clips - (self.spec.high + self.spec.low) / 2) / half * 32768).nan_to_num(0, 0, 0)

    def _reasons(self, samples: Tensor) -> tuple[str, ...]:
        outside = self.spec.outside(samples).tolist()
        reasons = ["values lie outside the range that the model can make." if out else "" for out in outside]
        for i in (~samples.isfinite().flatten(1).all(1)).nonzero()[:, 0].tolist():
            reasons[i] = "some values are NaN or infinite; check the range of the samples."
        steps = self._steps(samples[:, 0])
        moving = (steps - steps.mean(1, keepdim=True)).square().mean(1)
        for i in (moving < 1).nonzero()[:, 0].tolist():
            reasons[i] = reasons[i] or "the window is silent, so there is nothing to judge."
        return tuple(reasons)

    def _features(self, clips: Tensor) -> Tensor:
        residual, spectrum = levelled(self._steps(clips))
        frames = residual.unflatten(1, (-1, self.hop))
        power = frames.square().mean(1).clamp_min(1e-6).log()
        covariances = torch.stack([log_covariance(residual[:, k:].unfold(1, PATCH, GRID)) for k in range(GRID)], 1)
        common = covariances.mean(1)
        pattern = frames.mean(1)
        parts = [pattern - pattern.mean(1, keepdim=True), power - power.mean(1, keepdim=True)]
        parts += [(covariances - common[:, None]).flatten(1), torch.cat([common, spectrum], 1)]
        return torch.cat(parts, 1)

    @cached_property
    def turns(self) -> Tensor:
        """[hop, sum of blocks]: features[:, turns[k]] are those of a clip that begins k samples later."""
        places = torch.arange(self.hop)
        entries = self.blocks[2] // GRID
        grid = torch.arange(self.blocks[2]).reshape(GRID, entries)
        rest = 2 * self.hop + self.blocks[2] + torch.arange(self.blocks[3])
        found = []
        for k in range(self.hop):
            moved = (places + k) % self.hop
            of_grid = 2 * self.hop + grid[(torch.arange(GRID) + k) % GRID].flatten()
            found.append(torch.cat([moved, self.hop + moved, of_grid, rest]))
        return torch.stack(found)

    def misplaced(self, values: Tensor, rng: torch.Generator) -> Tensor:
        """Features [n, sum of blocks] as of the same clips off their grid: all shifted, a quarter reversed, a quarter
        inverted. Those of the spectrum stay, but for patches read backwards.
        """
        shifts = torch.randint(1, self.hop, (len(values),), generator=rng)
        moved = values.gather(1, self.turns[shifts].to(values.device))
        moved[::4] = moved[::4][:, self._reversed.to(values.device)]
        moved[1::4, : self.hop] *= -1
        return moved

    @cached_property
    def _reversed(self) -> Tensor:
        """The order of the features of a clip that is played backwards."""
        rows, columns = torch.triu_indices(PATCH, PATCH)
        entries = torch.zeros(PATCH, PATCH, dtype=torch.long)
        entries[rows, columns] = entries[columns, rows] = torch.arange(len(rows))
        turned = entries.flip(0, 1)[rows, columns]
        places = torch.arange(self.hop).flip(0)
        grid = 2 * self.hop + torch.arange(self.blocks[2]).reshape(GRID, -1)
        grid = grid[(-torch.arange(GRID)) % GRID][:, turned]
        rest = 2 * self.hop + self.blocks[2] + torch.cat([turned, len(rows) + torch.arange(BANDS)])
        return torch.cat([places, self.hop + places, grid.flatten(), rest])

    @property
    def orientations(self) -> tuple[str, ...]:
        """Names of the turns."""
        return ("as it is", *(f"begins {k} samples into a frame" for k in range(1, self.hop)))

    def state(self) -> State:
        return State({"type": "sound_imprint", "spec": self.spec.settings(), "hop": self.hop})

    @staticmethod
    def from_state(state: State) -> SoundImprint:
        return SoundImprint(SampleSpec.from_settings(state.settings["spec"]), state.settings["hop"])


def possible_hops(length: int) -> tuple[int, ...]:
    """Multiples of four from 32 on that divide windows of this length into eight frames or more."""
    return tuple(hop for hop in range(SHORTEST, length // FRAMES + 1, GRID) if length % hop == 0)


def usual_hop(length: int) -> int:
    """256 where that is possible, else the longest possible one; 256 where none is."""
    possible = possible_hops(length)
    return HOP if HOP in possible or not possible else possible[-1]


def levelled(steps: Tensor) -> tuple[Tensor, Tensor]:
    """[n, samples] → residual [n, samples], its spectrum and loudness levelled, and log-spectrum [n, bands]."""
    spectrum = torch.fft.rfft(steps)
    power = spectrum.abs().square() / steps.shape[1]
    smooth = _box(power, int(SMOOTH * power.shape[1]))
    white = torch.fft.irfft(spectrum / (smooth + QUIET**2).sqrt(), n=steps.shape[1])
    residual = (white / (_box(white.abs(), LOUDNESS // 2) + 1e-3)).clamp(-CLIP, CLIP)
    bands = functional.adaptive_avg_pool1d(power[:, None, 1:], BANDS)[:, 0].clamp_min(QUIET**2).log()
    return residual, bands - bands.mean(1, keepdim=True)


def _box(values: Tensor, reach: int) -> Tensor:
    """[n, m], none below zero → the mean over `reach` places to both sides, fewer at the borders."""
    sums = functional.pad(values.double().cumsum(1), (1, 0))
    places = torch.arange(values.shape[1], device=values.device)
    first, last = (places - reach).clamp_min(0), (places + reach + 1).clamp_max(values.shape[1])
    return ((sums[:, last] - sums[:, first]) / (last - first)).clamp_min(0).to(values)
