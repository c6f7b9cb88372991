"""What happens to samples in the wild: 8-bit images in, 8-bit images of the same shape out."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from morelli.errors import MismatchError, OutOfRange

MOST = 16  # factor of a resize
AT_ONCE = 2**22  # values that are resized together
SIMPLE, PREFERRED = (1.5, 2.0, 3.0, 4.0), 1 / 3  # factors of enlargements that people prefer; how often
SIDE = 64  # of the paper's images; crops are given in its pixels

Window = tuple[int, int, int, int]  # top, left, height, width


class Perturbation(Protocol):
    """`apply` takes uint8 [n, c, h, w] and returns as much. Each image's outcome depends on it, its place and `rng`.

    Raises MismatchError where the images are not uint8 [n, c, h, w], or too small or of too many channels for it.
    """

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor: ...
    def settings(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Unchanged:
    """8-bit rounding alone, which every image here has been through."""

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        _check(images)
        return images.clone()

    def settings(self) -> dict[str, Any]:
        return {"type": "none"}


@dataclass(frozen=True)
class Blur:
    """Gaussian blur; the border is reflected without repeating the edge. Kernel 1 changes nothing.

    Attributes:
        kernel: pixels, odd. sigma: pixels.
    Source: arXiv 2306.06210: kernel 1 or 3, sigma 3.
    """

    kernel: int
    sigma: float = 3.0

    def __post_init__(self) -> None:
        if not (self.kernel > 0 and self.kernel % 2 == 1 and self.sigma > 0):
            raise OutOfRange(
                f"a blur has kernel {self.kernel} and sigma {self.sigma}; expected an odd number of pixels and "
                "something positive, for example blur:3."
            )

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        reach = self.kernel // 2
        _check(images, least=reach + 1)
        offsets = torch.arange(-reach, reach + 1, dtype=torch.float64, device=images.device)
        taps = (-0.5 * (offsets / self.sigma).square()).softmax(0)
        padded = functional.pad(images.double(), (reach,) * 4, mode="reflect")
        rows = padded.unfold(2, self.kernel, 1) @ taps
        return _eight_bits(rows.unfold(3, self.kernel, 1) @ taps)

    def settings(self) -> dict[str, Any]:
        return {"type": "blur"} | asdict(self)


@dataclass(frozen=True)
class Crop:
    """The centre, bilinearly enlarged to the whole.

    Attributes:
        kept: pixels of every 64 of a side that remain.
    Source: arXiv 2306.06210: 60 or 55 of 64.
    """

    kept: int

    def __post_init__(self) -> None:
        if self.kept not in range(1, SIDE + 1):
            raise OutOfRange(f"a crop keeps {self.kept} pixels of {SIDE}; expected a whole number from 1 to {SIDE}.")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """What remains of an image."""
        return max(1, round(self.kept / SIDE * height)), max(1, round(self.kept / SIDE * width))

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        _check(images)
        height, width = self.size(*images.shape[2:])
        top, left = round((images.shape[2] - height) / 2), round((images.shape[3] - width) / 2)
        return resized(images[..., top : top + height, left : left + width], *images.shape[2:])

    def settings(self) -> dict[str, Any]:
        return {"type": "crop"} | asdict(self)


@dataclass(frozen=True)
class Part(Crop):
    """As a crop, but of a part anywhere: its place in each image is drawn from `rng`."""

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        _check(images)
        parts = [self.cut(image, rng)[0] for image in images]
        return torch.stack(parts) if parts else images.clone()

    def cut(self, image: Tensor, rng: torch.Generator) -> tuple[Tensor, Window]:
        """[c, h, w] → as much, and the top, left, height and width of the part."""
        frame = image.shape[1:]
        size = self.size(*frame)
        spare = [side - kept for side, kept in zip(frame, size, strict=True)]
        top, left = (int(torch.randint(rest + 1, (), generator=rng, device=rng.device)) for rest in spare)
        part = image[None, :, top : top + size[0], left : left + size[1]]
        return resized(part, *frame)[0], (top, left, *size)

    def settings(self) -> dict[str, Any]:
        return {"type": "part"} | asdict(self)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on every value, rounded and clipped. Every image has a seed of its own, drawn from `rng`.

    Attributes:
        strength: standard deviation, as a share of 255.
    Source: arXiv 2306.06210: 0.05 or 0.1.
    """

    strength: float

    def __post_init__(self) -> None:
        if not 0 <= self.strength < math.inf:
            raise OutOfRange(f"noise has strength {self.strength}; expected a share of 255, for example noise:0.05.")

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        _check(images)
        noisy = [_eight_bits(image + 255 * self.strength * self._draw(image, rng)) for image in images]
        return torch.stack(noisy) if noisy else images.clone()

    def _draw(self, image: Tensor, rng: torch.Generator) -> Tensor:
        """Drawn on the CPU, so that a device does not show either."""
        seed = int(torch.randint(2**62, (), generator=rng, device=rng.device))
        own = torch.Generator().manual_seed(seed)
        return torch.randn(image.shape, generator=own, dtype=torch.float64).to(image.device)

    def settings(self) -> dict[str, Any]:
        return {"type": "noise"} | asdict(self)


@dataclass(frozen=True)
class Jpeg:
    """Written as JPEG and read again, with Pillow's defaults for all but the quality (chroma is subsampled 4:2:0).

    Attributes:
        quality: 1 to 100.
    Source: arXiv 2306.06210: 90 or 80.
    """

    quality: int

    def __post_init__(self) -> None:
        _check_quality(self.quality, "jpeg")

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        return _recoded(images, "JPEG", self.quality)

    def settings(self) -> dict[str, Any]:
        return {"type": "jpeg"} | asdict(self)


@dataclass(frozen=True)
class Webp:
    """Written as lossy WebP and read again, with Pillow's defaults for all but the quality, 1 to 100."""

    quality: int

    def __post_init__(self) -> None:
        _check_quality(self.quality, "webp")

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        return _recoded(images, "WEBP", self.quality)

    def settings(self) -> dict[str, Any]:
        return {"type": "webp"} | asdict(self)


@dataclass(frozen=True)
class Resize:
    """Bilinearly reduced with anti-aliasing, kept in 8 bits, and bilinearly enlarged again; or the other way round.

    Attributes:
        factor: of both sides, in between.
    """

    factor: float

    def __post_init__(self) -> None:
        if not 0 < self.factor <= MOST:
            raise OutOfRange(f"a resize has factor {self.factor}; expected one in (0, {MOST}], for example resize:0.5.")

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        _check(images)
        height, width = (max(1, round(self.factor * side)) for side in images.shape[2:])
        pixels = max(height * width, images.shape[2] * images.shape[3])
        some = images.split(max(1, AT_ONCE // (images.shape[1] * pixels)))
        return torch.cat([resized(resized(part, height, width), *images.shape[2:]) for part in some])

    def settings(self) -> dict[str, Any]:
        return {"type": "resize"} | asdict(self)


@dataclass(frozen=True)
class Gamma:
    """255·(value/255)^exponent: brighter below 1, darker above."""

    exponent: float

    def __post_init__(self) -> None:
        if not 0 < self.exponent < math.inf:
            raise OutOfRange(f"gamma is {self.exponent}; expected a positive number, for example gamma:0.8.")

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        _check(images)
        return _eight_bits(255 * (images.double() / 255) ** self.exponent)

    def settings(self) -> dict[str, Any]:
        return {"type": "gamma"} | asdict(self)


PERTURBATIONS: dict[str, Callable[[Any], Perturbation]] = {
    "blur": Blur,
    "crop": Crop,
    "part": Part,
    "noise": Noise,
    "jpeg": Jpeg,
    "webp": Webp,
    "resize": Resize,
    "gamma": Gamma,
}
WHOLE = ("crop", "part", "jpeg", "webp")  # whose numbers are whole


@dataclass(frozen=True)
class Between:
    """Each image is perturbed by a strength of its own, drawn evenly from a range.

    Of enlargements a third is by 1.5, 2, 3 or 4, as far as those are in it: people prefer them, and where pixels fall
    on pixels an image looks otherwise than next to it.

    Attributes:
        kind: a name in `PERTURBATIONS`, but "blur", whose kernels are odd. low, high: of its number.
    """

    kind: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.kind == "blur" or not self.low < self.high:
            raise OutOfRange(
                f"'{self.kind}' ranges from {self.low:g} to {self.high:g}; expected another kind, the smaller number "
                "first, for example jpeg:70..85."
            )
        self.points()

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        _check(images)
        each = zip(self.drawn(len(images), rng), images, strict=True)
        changed = [one.apply(image[None], rng) for one, image in each]
        return torch.cat(changed) if changed else images.clone()

    def drawn(self, n: int, rng: torch.Generator) -> list[Perturbation]:
        """n of them, each of a strength of its own."""
        return [self._drawn(share) for share in torch.rand(n, generator=rng, device=rng.device).tolist()]

    def _drawn(self, share: float) -> Perturbation:
        simple = [factor for factor in SIMPLE if self.kind == "resize" and self.low <= factor <= self.high]
        if not simple:
            return self._at(share)
        if share < PREFERRED:
            return Resize(simple[int(share / PREFERRED * len(simple))])
        return self._at((share - PREFERRED) / (1 - PREFERRED))

    def points(self) -> tuple[Perturbation, ...]:
        """The weakest, the middle and the strongest; of crops every one."""
        count = int(self.high - self.low) + 1 if self.kind in ("crop", "part") else 3
        return tuple(self._at(i / max(1, count - 1)) for i in range(count))

    def _at(self, share: float) -> Perturbation:
        number = self.low + share * (self.high - self.low)
        return PERTURBATIONS[self.kind](round(number) if self.kind in WHOLE else number)

    def settings(self) -> dict[str, Any]:
        return {"type": "between"} | asdict(self)


def parse(text: str) -> Perturbation:
    """The perturbation that a name and a number stand for, for example "jpeg:80" or "noise:0.05"; or "none".

    Two numbers are a range: "jpeg:70..85".

    Raises OutOfRange where there is no such name, no number, or the number has no meaning for it.
    """
    if text == "none":
        return Unchanged()
    name, _, given = text.partition(":")
    try:
        numbers = [float(each) for each in given.split("..")]
    except ValueError:
        numbers = []
    if name not in PERTURBATIONS or len(numbers) not in (1, 2) or any(map(math.isnan, numbers)):
        raise OutOfRange(
            f"'{text}' is no perturbation; expected none, or one of {', '.join(PERTURBATIONS)} and a number. "
            "Write it like jpeg:80, or like jpeg:70..85 for a range."
        )
    if len(numbers) == 2:
        return Between(name, *numbers)
    return PERTURBATIONS[name](int(numbers[0]) if numbers[0].is_integer() else numbers[0])


def points_of(perturbation: Perturbation) -> tuple[Perturbation, ...]:
    """Those that stand for it: of a range its ends and middle."""
    return perturbation.points() if isinstance(perturbation, Between) else (perturbation,)


def drawn(perturbation: Perturbation, n: int, rng: torch.Generator) -> list[Perturbation]:
    """n of them, each of a strength of its own where it is a range."""
    return perturbation.drawn(n, rng) if isinstance(perturbation, Between) else [perturbation] * n


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """uint8 [n, c, h, w] → uint8 [n, c, height, width], bilinear, with anti-aliasing where it is smaller."""
    if not len(images):
        return images.new_zeros(0, images.shape[1], height, width)
    size = (height, width)
    return _eight_bits(functional.interpolate(images.double(), size, mode="bilinear", antialias=True))


def _check(images: Tensor, least: int = 1) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise MismatchError(
            f"images are {images.dtype} {list(images.shape)}; expected uint8 [n, c, h, w]. Convert them first."
        )
    if min(images.shape[2:]) < least:
        raise MismatchError(
            f"images are {images.shape[2]}x{images.shape[3]}; expected at least {least} pixels a side. "
            "Give larger ones or a weaker perturbation."
        )


def _check_quality(quality: int, name: str) -> None:
    if quality not in range(1, 101):
        raise OutOfRange(f"{name} has quality {quality}; expected a whole number from 1 to 100, as in {name}:80.")


def _eight_bits(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def _recoded(images: Tensor, kind: str, quality: int) -> Tensor:
    from PIL import Image  # here because the codec is the perturbation itself; nothing else on this floor needs it

    _check(images)
    if images.shape[1] not in (1, 3):
        raise MismatchError(f"images have {images.shape[1]} channels; {kind} holds 1 or 3. Split them first.")
    recoded = images.clone()
    for image, place in zip(images.cpu(), recoded, strict=True):
        pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
        file = io.BytesIO()
        Image.fromarray(pixels.contiguous().numpy()).save(file, kind, quality=quality)
        with Image.open(file, formats=[kind]) as read:
            back = torch.from_numpy(np.array(read.convert("L" if len(image) == 1 else "RGB")))
        place.copy_(back[None] if len(image) == 1 else back.permute(2, 0, 1))
    return recoded
