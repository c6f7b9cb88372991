"""Misfit: what a sample's file allows for the picture behind it, and how much a residual exceeds that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from scipy.stats import chi2
from torch import Tensor
from torch.nn.functional import avg_pool2d

from morelli.errors import MismatchError
from morelli.features.observation import STEPS, Jpeg, understood
from morelli.features.protocol import Facts, SampleSpec
from morelli.numerics.activation import Clip
from morelli.numerics.file_form import LEVELS
from morelli.numerics.head import Head
from morelli.numerics.jpeg import NORM, JpegCells
from morelli.numerics.linear import Conv, Geometry
from morelli.numerics.spectrum import dct_matrix

ROUNDING = 1 / 12  # variance of rounding to whole steps
BLOCK = 8
THOUSAND = 1000  # steps to the spread of a table's column, which has none of its own
RARELY, FEW = 1e-5, 4  # share of images; blocks
FAR, TINY = 2.5, 1e-6  # deviations from which on hardly anything is clipped; variance, in steps²
LEAST = 0.1  # share of the coefficients of brightness that must say something
UNKNOWN = "what this file's compression has changed is not known."
UNDONE = "the coefficients of this JPEG file cannot be found again: its sides, sampling or orientation."
CLIPPED = "nearly every block of this JPEG file holds a clipped pixel, and says nothing."


class Misfit(Protocol):
    """Of one sample, for many reconstructions at once."""

    def residual(self, made: Tensor) -> Tensor:
        """Reconstructions [p, *shape] in the sample's range → [p, m], zero where the file allows them, in steps."""
        ...

    def excess(self, residual: Tensor) -> Tensor:
        """[p, m] → [p], at least 0: by how much it is not what the file does to a sample. See `unevenness`."""
        ...

    def blocks(self, residual: Tensor) -> Tensor:
        """[p, m] → [p, blocks], mean squares of 8×8 pixels; of JPEG files of their brightness."""
        ...


class Plain(Misfit, Protocol):
    """One that looks at every value by itself. `peak`: the range of a value, in steps."""

    peak: ClassVar[int]


def unevenness(power: Tensor, count: Tensor | None = None, least: float = ROUNDING) -> Tensor:
    """[..., bands], mean squares in steps² → [...]: how far they are from being all alike, once `least` is added.

    log of the mean minus mean of the logs: the Itakura–Saito distance from the nearest white noise, whatever its
    strength, down to a rounding's 1/12. Own samples leave noise, which is white; what a model cannot make is not. So
    neither strength nor content is scored, only structure. Bands with `count` 0 are left out.
    """
    raised = power.double() + least
    told = torch.ones_like(raised) if count is None else (count > 0).double().expand_as(raised)
    share = told / told.sum(-1, keepdim=True).clamp_min(1)
    distance = (raised * share).sum(-1).clamp_min(least).log() - (raised.log() * share).sum(-1)
    return torch.where(told.any(-1), distance, 0.0)


def unevenness_of_noise(shape: Sequence[int]) -> float:
    """What the unevenness of white noise in images [c, h, w] reaches once in `RARELY` of images: nothing below is told.

    Times as many as there are values it is χ² with a degree of freedom less than there are bands (Wilks); 0 where that
    is far from true, as there are less than four blocks.
    """
    channels, height, width = shape
    side = min(BLOCK, height, width)
    bands, blocks = channels * side**2, (height // side) * (width // side)
    return float(chi2.isf(RARELY, bands - 1)) / (bands * blocks) if blocks >= FEW else 0.0


@dataclass(frozen=True, eq=False)
class Pixels:
    """A picture stored in 8 bits without loss, or of a history that nobody knows: white noise at most.

    Attributes:
        sample: [*shape]; step: of 8 bits, in its range, which begins at `low`.
    """

    sample: Tensor
    step: float
    low: float
    peak: ClassVar[int] = STEPS

    def residual(self, made: Tensor) -> Tensor:
        return ((made - self.sample) / self.step).flatten(1)

    def excess(self, residual: Tensor) -> Tensor:
        images = self._unclipped(residual.reshape(-1, *self.sample.shape))
        side = min(BLOCK, *images.shape[2:])
        blocks = images.unfold(2, side, side).unfold(3, side, side)
        cosines = dct_matrix(side, images)
        return unevenness((cosines @ blocks @ cosines.T).square().mean((2, 3)).flatten(1))

    def _unclipped(self, residual: Tensor) -> Tensor:
        """Residuals [p, *shape] as they would be had noise not been clipped at both ends of the range.

        The noise is as strong as far from the ends; mean and deviation at each pixel are those of a normal value that
        is censored there.
        """
        made = (self.sample - self.low) / self.step + residual
        power = residual.square()
        far = torch.minimum(made, STEPS - made) > FAR * power.mean((1, 2, 3), keepdim=True).sqrt()
        power = (power * far).sum((1, 2, 3), keepdim=True) / far.sum((1, 2, 3), keepdim=True).clamp_min(1)
        strength = (power - ROUNDING).clamp_min(TINY).sqrt()
        low, high = -made / strength, (STEPS - made) / strength
        normal = torch.distributions.Normal(0.0, 1.0)
        below, above = normal.cdf(low), normal.cdf(-high)
        at_low, at_high = normal.log_prob(low).exp(), normal.log_prob(high).exp()
        mean = low * below + high * above + at_low - at_high
        square = low**2 * below + high**2 * above + (1 - below - above) + low * at_low - high * at_high
        return (residual + strength * mean) / (square - mean**2).clamp_min(TINY).sqrt()

    def blocks(self, residual: Tensor) -> Tensor:
        return _by_block(residual.reshape(-1, *self.sample.shape).square().mean(1))


@dataclass(frozen=True, eq=False)
class Coefficients:
    """A JPEG file: the distances of the DCT coefficients from those that would have been stored as it holds them.

    Attributes:
        cells: of this sample alone, in outputs that are pixels. step: of 8 bits, in the sample's range.
    """

    cells: JpegCells
    step: float

    def residual(self, made: Tensor) -> Tensor:
        grey = (NORM if made.shape[1] == 3 else 1.0) / self.step
        return grey * self.cells.rest(made).flatten(1)

    def excess(self, residual: Tensor) -> Tensor:
        shape = self.cells.low.shape[1:]
        told = (self.cells.low.isfinite() | self.cells.high.isfinite()).to(residual)
        count = _bands(told)
        return unevenness(_bands(residual.reshape(-1, *shape).square()) / count.clamp_min(1), count)

    def blocks(self, residual: Tensor) -> Tensor:
        return _by_block(residual.reshape(-1, *self.cells.low.shape[1:])[:, 0].square())

    @property
    def share(self) -> float:
        """Share of the coefficients of brightness about which the file says something."""
        return float((self.cells.low[:, 0].isfinite() | self.cells.high[:, 0].isfinite()).double().mean())


def _bands(planes: Tensor) -> Tensor:
    """[p, c, h, w] of 8×8 coefficients → [p, c·64], summed over blocks."""
    return planes.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK).sum((2, 3)).flatten(1)


def _by_block(plane: Tensor) -> Tensor:
    """[p, h, w] → [p, blocks], means; what is no whole block is left out."""
    return avg_pool2d(plane[:, None], BLOCK).flatten(1)


@dataclass(frozen=True, eq=False)
class Values:
    """A table row or the like. Nothing rounds it in a known way, so the mean square itself counts.

    Attributes:
        sample: [*shape]; step: [*shape], a thousandth of each value's spread among generated samples.
    """

    sample: Tensor
    step: Tensor
    peak: ClassVar[int] = THOUSAND

    def residual(self, made: Tensor) -> Tensor:
        return ((made - self.sample) / self.step).flatten(1)

    def excess(self, residual: Tensor) -> Tensor:
        return (residual.square().mean(1) / ROUNDING).log1p()

    def blocks(self, residual: Tensor) -> Tensor:
        return residual.square()


def check_eight_bits(spec: SampleSpec) -> None:
    """Raises MismatchError for samples of more than 8 bits, whose rounding is not the one that is known here."""
    levels = spec.form.levels
    if levels > LEVELS:
        raise MismatchError(
            f"a latent search asks what rounding to 8 bits explains; this model's files hold {levels} levels. Use "
            "another method."
        )


def misfit_of(sample: Tensor, spec: SampleSpec, facts: Facts, spread: Tensor) -> tuple[Plain, Misfit, str]:
    """For one sample [*shape]: value by value; by its file, which may be the same; why not to trust that, or nothing.

    `spread` [*shape]: see `Values`.
    """
    if not spec.is_image or not math.isfinite(spec.high - spec.low):
        values = Values(sample, spread.clamp_min(1e-12) / THOUSAND)
        return values, values, ""
    step = (spec.high - spec.low) / STEPS
    pixels = Pixels(sample, step, spec.low)
    if facts.get("format") != "JPEG":
        return pixels, pixels, UNKNOWN if facts.get("lossless") is False else ""
    if any(side % BLOCK for side in spec.shape[1:]) or not understood(facts, sample[None]):
        return pixels, pixels, UNDONE
    told = Coefficients(Jpeg().fidelity(_pixels(spec, sample), sample[None], [facts]), step)
    return pixels, told, "" if told.share >= LEAST else CLIPPED


def _pixels(spec: SampleSpec, like: Tensor) -> Head:
    """The head whose outputs are the pixels themselves."""
    channels = spec.shape[0]
    same = Conv(
        torch.eye(channels).reshape(channels, channels, 1, 1).to(like), spec.shape, Geometry((1, 1), (0, 0), (1, 1))
    )
    return Head(same, like.new_zeros(()), Clip(spec.low, spec.high), like.new_zeros(spec.shape))
