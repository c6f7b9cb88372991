"""What a JPEG file says about the output of the linear map: an interval for every coefficient it stores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from morelli.errors import MismatchError, OutOfRange
from morelli.numerics.fidelity import total
from morelli.numerics.spectrum import dct_matrix

BLOCK = 8
GREY = 128  # JPEG stores what is above and below middle grey
YCBCR = [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]]  # JFIF 1.02
NORM = 0.80390  # of that matrix, from above
HALF = 0.5  # what one rounding to whole numbers does at most
# What fixed-point arithmetic adds per pixel, at most. Worked out for libjpeg's accurate integer transforms
# (jfdctint.c, jidctint.c) with 8-bit pixels by comparing their 13-bit constants and roundings with the exact cosines.
WRITING, READING = 0.06, 0.23


@dataclass(frozen=True, eq=False)
class JpegCells:
    """φ(v) = ½ Σ (distance of the coefficients of v from [low, high])². See `jpeg_cells`, which makes them.

    Coefficients y(v) are the orthonormal 8×8 DCT-II of Y, Cb and Cr of slope·(v − base), so they are counted from
    those of the decoded file, and in its units times the factor by which `slope` was scaled. Subsampled chroma is the
    mean of 2×2 pixels; it fills the first quarter of its plane, and nothing is said about the rest.

    Attributes:
        low, high: [n, c, h, w]; both infinite where nothing is said.
        slope: [n, c, h, w] in [0, 1/0.8039] (1 for grey), which bounds the curvature of φ by 1.
        base: [n, c, h, w], the output at which y is zero.
        subsampled: [n], boolean: whether chroma is.
    Raises:
        MismatchError: shapes differ.
    """

    low: Tensor
    high: Tensor
    slope: Tensor
    base: Tensor
    subsampled: Tensor

    def __post_init__(self) -> None:
        shapes = {tuple(field.shape) for field in (self.low, self.high, self.slope, self.base)}
        if len(shapes) != 1 or tuple(self.subsampled.shape) != (len(self.low),):
            raise MismatchError(
                f"JPEG cells have fields of {sorted(shapes)} for {list(self.subsampled.shape)} samples."
            )

    @property
    def centre(self) -> Tensor:
        """The output behind the decoded file. Where chroma is subsampled, coding that again would blur it further."""
        return self.base

    def __len__(self) -> int:
        return len(self.low)

    def rows(self, index: Tensor) -> JpegCells:
        low, high, slope, base = (field[index] for field in (self.low, self.high, self.slope, self.base))
        return JpegCells(low, high, slope, base, self.subsampled[index])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> JpegCells:
        low, high, slope, base = (field.to(device, dtype) for field in (self.low, self.high, self.slope, self.base))
        return JpegCells(low, high, slope, base, self.subsampled.to(device))

    def rest(self, v: Tensor) -> Tensor:
        y = _transform(_planes(self.slope * (v - self.base), self.subsampled))
        return y.clamp(self.low, self.high) - y

    def pull(self, rest: Tensor) -> Tensor:
        return self.slope * _colours(_transform(rest, back=True), self.subsampled)

    def value(self, rest: Tensor) -> Tensor:
        return 0.5 * total(rest.square())

    def price(self, rest: Tensor) -> tuple[Tensor, Tensor]:
        """As `Fidelity.price`, but a bound from below where some slope is zero: then y does not reach everything."""
        said = torch.where(self.low.isinf() & self.high.isinf(), 0.0, rest)  # nothing else reaches pull(rest)
        bound = torch.where(said == 0, 0.0, torch.where(said > 0, self.low, self.high))
        return total(said * bound) + total(self.base * self.pull(said)), total(said.square())


def jpeg_cells(
    decoded: Tensor, tables: Tensor, subsampled: Tensor, pre: Tensor, slope: Tensor, rounding: float = 1.0
) -> JpegCells:
    """The outputs v for which the image decoded + slope·(v − pre) would have been stored as this file.

    Each coefficient lies within half a quantisation step of the one that the file stores, widened by what rounding can
    do before (the original to 8 bits, YCbCr and the means of chroma to whole numbers, fixed-point arithmetic). Stored
    ones are found by quantising those of the decoded image again; where its roundings leave several to choose from,
    the interval covers all.

    With rounding 1 both are bounds on the worst case, about eight steps of 8 bits per coefficient, and so proofs where
    the file was written and read by libjpeg(-turbo) with its accurate integer transforms and plain quantisation, slope
    is exact, and decoding clipped nothing at 0 or 255. Roundings that are independent rarely reach a fifth of that.

    Subsampled chroma was smoothed in decoding (libjpeg's "fancy upsampling", weights 3 and 1). This is undone exactly,
    but it costs precision: the more so, the finer the detail, up to four times.

    Args:
        decoded: [n, 1 or 3, h, w], whole numbers in 0..255.
        tables: [n, 2, 8, 8], quantisation steps of luma and chroma, row by row; grey needs only the first.
        subsampled: [n], boolean: 4:2:0, else 4:4:4. Nothing to grey.
        pre: [n, c, h, w], the output of the linear map that gives `decoded`.
        slope: [n, c, h, w], at least 0: steps of 8 bits per unit of output, there. Exact for heads without an
            activation, else a linearisation.
        rounding: share of the worst case; with 0 the steps alone.
    Returns:
        Cells in units of the sample's largest slope (times 0.8039 unless grey), so that φ is in those of the output.
    Raises:
        MismatchError: shapes differ, or sides are no multiples of 8 (16 where subsampled).
        OutOfRange: pixels that are not whole numbers in 0..255, a step below 1, a negative slope or rounding.
    Sources: ITU-T T.81; JFIF 1.02; libjpeg-turbo (jccolor.c, jcsample.c, jdsample.c).
    """
    _check(decoded, tables, subsampled, pre, slope, rounding)
    channels, height, width = decoded.shape[1:]
    exact = decoded.double() - GREY
    planes = _planes(exact, subsampled)
    reached = _transform(planes)
    found = _transform(_sharpened(planes, subsampled))
    steps = tables.double()[:, [0, 1, 1][:channels]].repeat(1, 1, height // BLOCK, width // BLOCK)
    before, after = (rounding * error for error in _errors(exact, subsampled))
    multiple = found / steps
    least = torch.minimum(multiple.round(), ((found - after) / steps).ceil())
    most = torch.maximum(multiple.round(), ((found + after) / steps).floor())
    half = steps / 2 + before
    silent = torch.zeros_like(found, dtype=torch.bool)
    if channels == 3:
        silent[subsampled, 1:] = True
        silent[subsampled, 1:, : height // 2, : width // 2] = False
    steepest = slope.double().flatten(1).amax(1) * (NORM if channels == 3 else 1.0)
    scale = (1 / torch.where(steepest > 0, steepest, 1.0)).reshape(-1, 1, 1, 1)
    low = torch.where(silent, -torch.inf, scale * (least * steps - half - reached))
    high = torch.where(silent, torch.inf, scale * (most * steps + half - reached))
    return JpegCells(low, high, scale * slope, pre.double(), subsampled).to(pre.device, pre.dtype)


def _check(decoded: Tensor, tables: Tensor, subsampled: Tensor, pre: Tensor, slope: Tensor, rounding: float) -> None:
    n = len(decoded)
    if decoded.ndim != 4 or decoded.shape[1] not in (1, 3):
        raise MismatchError(f"decoded images are {list(decoded.shape)}; expected [n, 1 or 3, h, w]. Stack them first.")
    if pre.shape != decoded.shape or slope.shape != decoded.shape:
        raise MismatchError(
            f"outputs are {list(pre.shape)} with slopes {list(slope.shape)}; expected {list(decoded.shape)}. "
            "Give one of each for every pixel."
        )
    if tuple(tables.shape) != (n, 2, BLOCK, BLOCK) or tuple(subsampled.shape) != (n,):
        raise MismatchError(
            f"tables are {list(tables.shape)} and subsampled {list(subsampled.shape)}; expected [{n}, 2, 8, 8] and "
            f"[{n}]. Give each sample luma and chroma, the same twice where the file has one."
        )
    unit = 2 * BLOCK if bool(subsampled.any()) else BLOCK
    if decoded.shape[2] % unit or decoded.shape[3] % unit:
        raise MismatchError(
            f"images are {decoded.shape[3]}x{decoded.shape[2]}; expected sides in multiples of {unit}, since padded "
            "blocks hold what nobody sees. Invert such samples without cells."
        )
    if not ((decoded >= 0) & (decoded <= 255) & (decoded == decoded.round())).all():
        raise OutOfRange(
            "decoded images hold other values than 0, 1, ..., 255. Give the pixels as the file holds them."
        )
    if not (tables >= 1).all() or not (slope >= 0).all() or not 0 <= rounding < math.inf:
        raise OutOfRange(
            f"expected quantisation steps of at least 1, slopes of at least 0 and a rounding of at least 0; given "
            f"{tables.min():.4g}, {slope.min():.4g} and {rounding}."
        )


def _transform(planes: Tensor, back: bool = False) -> Tensor:
    """[n, c, h, w] → as much: the DCT of each block, in its place; or the inverse, which is the transpose."""
    cosines = dct_matrix(BLOCK, planes)
    cosines = cosines.T if back else cosines
    columns = (cosines @ planes.unflatten(2, (-1, BLOCK))).flatten(2, 3)
    return (columns.unflatten(3, (-1, BLOCK)) @ cosines.T).flatten(3)


def _planes(images: Tensor, subsampled: Tensor) -> Tensor:
    """RGB [n, 3, h, w] → Y, Cb, Cr as a file holds them, chroma in the first quarter where subsampled. Grey stays."""
    if images.shape[1] == 1:
        return images
    planes = (images.new_tensor(YCBCR) @ images.flatten(2)).reshape(images.shape)
    chroma, (height, width) = planes[:, 1:], images.shape[2:]
    packed = functional.pad(functional.avg_pool2d(chroma, 2), (0, width // 2, 0, height // 2))
    return torch.cat([planes[:, :1], torch.where(_each(subsampled), packed, chroma)], 1)


def _colours(planes: Tensor, subsampled: Tensor) -> Tensor:
    """The transpose of `_planes`."""
    if planes.shape[1] == 1:
        return planes
    chroma, (height, width) = planes[:, 1:], planes.shape[2:]
    quarter = chroma[..., : height // 2, : width // 2]
    spread = quarter.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
    whole = torch.cat([planes[:, :1], torch.where(_each(subsampled), spread, chroma)], 1)
    return (planes.new_tensor(YCBCR).T @ whole.flatten(2)).reshape(planes.shape)


def _each(per_sample: Tensor) -> Tensor:
    return per_sample.reshape(-1, 1, 1, 1)


def _unsmoothing(length: int, like: Tensor) -> Tensor:
    """[length, length]: undoes 1, 6, 1 eighths, which triangle upsampling and a mean of two make; edges repeat."""
    smoothing = torch.eye(length, dtype=torch.float64) * 0.75
    neighbours = torch.ones(length - 1, dtype=torch.float64) / 8
    smoothing += torch.diag(neighbours, 1) + torch.diag(neighbours, -1)
    smoothing[0, 0] = smoothing[-1, -1] = 0.875
    return torch.linalg.inv(smoothing).to(like)


def _sharpened(planes: Tensor, subsampled: Tensor) -> Tensor:
    """`_planes` of a decoded file → those it stored."""
    if planes.shape[1] == 1 or not bool(subsampled.any()):
        return planes
    height, width = (side // 2 for side in planes.shape[2:])
    sharpened = planes.clone()
    quarter = planes[subsampled, 1:, :height, :width]
    sharpened[subsampled, 1:, :height, :width] = _unsmoothing(height, planes) @ quarter @ _unsmoothing(width, planes)
    return sharpened


def _errors(images: Tensor, subsampled: Tensor) -> tuple[Tensor, Tensor]:
    """[n, c, h, w] twice: what rounding does at most to a coefficient on the way into a file, and out of it again.

    The L1 norm of the coefficient's basis function times the error of a pixel; rows of the YCbCr matrix have norm 1.
    """
    n, channels, height, width = images.shape
    cosines = dct_matrix(BLOCK, images)
    norms = cosines.abs().sum(1)
    plain = norms.repeat(height // BLOCK).outer(norms.repeat(width // BLOCK))
    if channels == 1:  # 8 bits; the transform's output
        return (HALF + WRITING) * plain.expand_as(images), (HALF + READING) * plain.expand_as(images)
    before = ((2 * HALF + WRITING) * plain).repeat(n, channels, 1, 1)  # 8 bits, YCbCr
    after = ((2 * HALF + READING) * plain).repeat(n, channels, 1, 1)  # the transform's output, RGB
    if bool(subsampled.any()):
        high, wide = height // 2, width // 2
        rows, columns = (
            (torch.block_diag(*[cosines] * (side // BLOCK)) @ _unsmoothing(side, images)).abs().sum(1)
            for side in (high, wide)
        )
        corner = plain[:high, :wide]
        before[subsampled, 1:, :high, :wide] = (3 * HALF + WRITING) * corner  # and the mean
        after[subsampled, 1:, :high, :wide] = (HALF + READING) * corner + 2 * HALF * rows.outer(columns)  # upsampling
    return before, after
