"""What happens to sound in the wild: sound on the grid of 16 bits in, as much of it out, at the same places."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from morelli.errors import MismatchError, MorelliError, OutOfRange

FULL = 32768  # steps from 0 to 1
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)


class SoundPerturbation(Protocol):
    """`apply` takes sounds [n, samples] in [−1, 1] and returns as much, rounded to 16 bits and clipped."""

    def apply(self, sounds: Tensor, rate: int, rng: torch.Generator) -> Tensor: ...
    def settings(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Intact:
    """16-bit rounding alone."""

    def apply(self, sounds: Tensor, rate: int, rng: torch.Generator) -> Tensor:
        return sixteen_bits(sounds)

    def settings(self) -> dict[str, Any]:
        return {"type": "none"}


@dataclass(frozen=True)
class Mp3:
    """Written as MP3 of a constant bit rate by libsndfile (LAME) and read again.

    Attributes:
        kilobits: per second, asked for; below 32 kHz there are 8 to 160, above 32 to 320, and the nearest is taken.
    """

    kilobits: float

    def __post_init__(self) -> None:
        _check(8 <= self.kilobits <= 320, "mp3", self.kilobits, "kilobits from 8 to 320, for example mp3:128")

    def apply(self, sounds: Tensor, rate: int, rng: torch.Generator) -> Tensor:
        return _recoded(sounds, rate, self)

    def writing(self, rate: int) -> dict[str, Any]:
        """How libsndfile is asked for it. Raises MismatchError for a rate that MP3 does not hold."""
        _holds("mp3", MP3_RATES, rate)
        low, high = (32, 320) if rate >= 32_000 else (8, 160)
        level = (high - min(high, max(low, self.kilobits))) / (high - low)
        mode = {"compression_level": level, "bitrate_mode": "CONSTANT"}
        return {"format": "MP3", "subtype": "MPEG_LAYER_III"} | mode

    def settings(self) -> dict[str, Any]:
        return {"type": "mp3"} | asdict(self)


@dataclass(frozen=True)
class Opus:
    """Written as Opus in Ogg by libsndfile and read again; `kilobits` per second for one channel, 6 to 256."""

    kilobits: float

    def __post_init__(self) -> None:
        _check(6 <= self.kilobits <= 256, "opus", self.kilobits, "kilobits from 6 to 256, for example opus:64")

    def apply(self, sounds: Tensor, rate: int, rng: torch.Generator) -> Tensor:
        return _recoded(sounds, rate, self)

    def writing(self, rate: int) -> dict[str, Any]:
        """How libsndfile is asked for it. Raises MismatchError for a rate that Opus does not hold."""
        _holds("opus", OPUS_RATES, rate)
        return {"format": "OGG", "subtype": "OPUS", "compression_level": (256 - self.kilobits) / 250}

    def settings(self) -> dict[str, Any]:
        return {"type": "opus"} | asdict(self)


@dataclass(frozen=True)
class Hiss:
    """White noise, so many decibels below each sound. A seed of its own for every sound."""

    decibels: float

    def __post_init__(self) -> None:
        _check(math.isfinite(self.decibels), "hiss", self.decibels, "decibels below the sound, for example hiss:30")

    def apply(self, sounds: Tensor, rate: int, rng: torch.Generator) -> Tensor:
        noisy = []
        for sound in sounds:
            own = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=rng)))
            size = sound.double().square().mean().sqrt().item() * 10 ** (-self.decibels / 20)
            noisy.append(
                sound.double() + size * torch.randn(sound.shape, generator=own, dtype=torch.float64).to(sound.device)
            )
        return sixteen_bits(torch.stack(noisy)) if noisy else sounds.clone()

    def settings(self) -> dict[str, Any]:
        return {"type": "hiss"} | asdict(self)


SOUND_PERTURBATIONS: dict[str, Callable[[float], SoundPerturbation]] = {"mp3": Mp3, "opus": Opus, "hiss": Hiss}
CODECS = ("mp3", "opus")  # that a file says it was coded with


def parse_sound(text: str) -> SoundPerturbation:
    """ "none", or a name and a number, for example "mp3:128", "opus:64" or "hiss:30". Raises OutOfRange."""
    if text == "none":
        return Intact()
    name, _, number = text.partition(":")
    try:
        return SOUND_PERTURBATIONS[name](float(number))
    except (KeyError, ValueError):
        raise OutOfRange(
            f"'{text}' is nothing that happens to sound; expected none, or one of {', '.join(SOUND_PERTURBATIONS)} and "
            "a number. Write it like mp3:128, or hiss:30 for noise 30 decibels below the sound."
        ) from None


def suits(text: str, rate: int) -> bool:
    """Whether this can happen to sound of that rate: a codec holds some rates only."""
    name = text.partition(":")[0]
    return rate in {"mp3": MP3_RATES, "opus": OPUS_RATES}.get(name, (rate,))


def sixteen_bits(sounds: Tensor) -> Tensor:
    """[…] in [−1, 1] → rounded to 16 bits, and clipped."""
    return ((sounds.double() * FULL).round().clamp(-FULL, FULL - 1) / FULL).to(sounds.dtype)


def _holds(name: str, rates: tuple[int, ...], rate: int) -> None:
    if rate not in rates:
        known = ", ".join(map(str, rates))
        raise MismatchError(f"{name} holds sound of {known} Hz, not of {rate} Hz. Leave it out.")


def _check(fits: bool, name: str, number: float, expected: str) -> None:
    if not fits:
        raise OutOfRange(f"{name} has {number:g}; expected {expected}.")


def coded(sound: Tensor, rate: int, coding: str) -> bytes:
    """One sound [samples] as a file. Raises OutOfRange for what is no coding, MismatchError for another rate."""
    codec = parse_sound(coding)
    if not isinstance(codec, Mp3 | Opus):
        raise OutOfRange(f"'{coding}' is no coding; expected one like mp3:128 or opus:64.")
    return _file(_soundfile(), sound, rate, codec).getvalue()


def _recoded(sounds: Tensor, rate: int, codec: Mp3 | Opus) -> Tensor:
    soundfile, found = _soundfile(), sounds.new_zeros(sounds.shape)
    for sound, place in zip(sounds, found, strict=True):
        back = torch.from_numpy(soundfile.read(_file(soundfile, sound, rate, codec), dtype="float64")[0])
        count = min(len(back), len(place))  # the same places: decoders drop what the codec put in front
        place[:count] = back[:count].to(place)
    return sixteen_bits(found)


def _file(soundfile: Any, sound: Tensor, rate: int, codec: Mp3 | Opus) -> io.BytesIO:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, **codec.writing(rate)) as writer:
        writer.write(sixteen_bits(sound.detach().double().cpu()).numpy())
    file.seek(0)
    return file


def _soundfile() -> Any:
    try:
        import soundfile  # here because the codec is the perturbation itself; nothing else on this floor needs it
    except Exception as error:
        raise MorelliError("coding sound needs soundfile: pip install 'morelli[audio]'.") from error
    return soundfile
