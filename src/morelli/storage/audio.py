"""Sound: bytes -> windows of samples with facts about their coding, and samples -> files. Never resampled or mixed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morelli.errors import MismatchError, MorelliError, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.numerics.sound_perturbations import FULL, coded
from morelli.storage.codings import mp3_kilobits
from morelli.storage.guard import quiet
from morelli.storage.writing import replace_file

MAGIC = {b"fLaC": "FLAC", b"OggS": "OGG", b"ID3": "MP3"}
EXPECTED = "expected WAV, FLAC, OGG (Opus, Vorbis) or MP3"
BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
BLOCK = 2**16  # frames that are decoded at once
LOSSY = {"MPEG_LAYER_III": "mp3", "MPEG_LAYER_II": "mp2", "OPUS": "opus", "VORBIS": "vorbis"}


def decode(data: bytes, spec: SampleSpec, max_values: int) -> tuple[Tensor, dict[str, Any]]:
    """Reads one sound file, the format decided by its first bytes, and cuts it into windows, the first at its start.

    Args:
        spec: (channels, samples) of one window, the range that full scale stands for, and the rate; any rate where it
            has none.
        max_values: samples of all channels, checked against the header, beyond which nothing is decoded.
    Returns:
        float32 [n, *spec.shape] in [spec.low, spec.high], n ≥ 1, and facts: `format`, `subtype` and `bits` as stored
        (None where lossy), `coding` ("none", or the codec and kilobits per second, "mp3:128"), `rate`, `channels`,
        `size` [samples, channels], `seconds`, `windows`, `notes`.
    Raises:
        MismatchError: another rate or number of channels, or shorter than a window.
        UnreadableSample: anything else that is not read. The texts of both start with a verb.
        MorelliError: soundfile is not installed.
    """
    kind = format_of(data)
    soundfile = _soundfile()
    notes: list[str] = []
    try:
        with quiet(), soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, channels, subtype = int(file.samplerate), int(file.channels), str(file.subtype)
            _refuse_before_decoding(rate, channels, spec, file.frames * channels, max_values)
            values, loudest = _read(file, spec, max_values)
    except MorelliError:
        raise
    except Exception as error:
        raise UnreadableSample(
            f"cannot be decoded as {kind} ({' '.join(str(error).split())}); {EXPECTED}. Export it again."
        ) from error
    seconds = values.shape[1] / rate
    if loudest > 1:
        notes.append(f"values reach {loudest:.3g} times full scale and were clipped")
    facts = {
        "format": kind,
        "subtype": subtype,
        "bits": BITS.get(subtype),
        "coding": _coding(subtype, data, seconds),
        "rate": rate,
        "channels": channels,
        "size": [values.shape[1], channels],
        "seconds": round(seconds, 3),
    }
    windows = _windows(_with_channels(values, spec.shape[0], notes), spec, rate, notes)
    return windows, facts | {"windows": len(windows), "notes": notes}


def _read(file: Any, spec: SampleSpec, max_values: int) -> tuple[Tensor, float]:
    """float32 [channels, n] in [spec.low, spec.high], and the largest absolute value that is stored.

    Block by block, as float64 has twice the size.
    """
    middle, half = (spec.high + spec.low) / 2, (spec.high - spec.low) / 2
    blocks, loudest, count = [], 0.0, 0
    while len(block := file.read(BLOCK, dtype="float64", always_2d=True)):
        values = torch.from_numpy(block).T
        count += values.numel()
        if count > max_values:  # more than its header says
            raise UnreadableSample(f"has more than {max_values} samples, the limit. Cut it, or raise max_values.")
        if not values.isfinite().all():
            raise UnreadableSample("holds values that are NaN or infinite; expected sound. Export it again.")
        loudest = max(loudest, float(values.abs().max()))
        blocks.append((middle + half * values.clamp(-1, 1)).clamp(spec.low, spec.high).float())
    return torch.cat(blocks, 1) if blocks else torch.empty(file.channels, 0), loudest


def format_of(data: bytes) -> str:
    """The name of the format that the first bytes promise. Raises UnreadableSample for any other."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "WAV"
    for magic, kind in MAGIC.items():
        if data.startswith(magic):
            return kind
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:  # a frame of MPEG audio
        return "MP3"
    raise UnreadableSample(f"starts with {data[:8].hex(' ')}, no known format; {EXPECTED}. Convert it to WAV.")


def to_sixteen_bits(samples: Tensor, spec: SampleSpec) -> Tensor:
    """What a 16-bit file holds of samples in [spec.low, spec.high], as samples again. Raises MismatchError."""
    spec.check(samples)
    middle, half = (spec.high + spec.low) / 2, (spec.high - spec.low) / 2
    steps = ((samples.double() - middle) / half * FULL).round().clamp(-FULL, FULL - 1)
    return (middle + half * steps / FULL).float()


def write_audio(sample: Tensor, path: Path, rate: int, coding: str = "PCM_16") -> None:
    """Writes one sound [channels, samples] in [−1, 1] as a WAV file of 16 bits, or of another subtype of WAV.

    Raises:
        MismatchError: the sound is not [channels, samples]. OSError: the path cannot be written.
    """
    if sample.ndim != 2:
        raise MismatchError(f"a sound is {tuple(sample.shape)}; expected [channels, samples].")
    soundfile = _soundfile()
    values = sample.detach().double().cpu().clamp(-1, 1)
    steps = (values * FULL).round().clamp(-FULL, FULL - 1).to(
        torch.int32
    ) * 2**16  # left-justified, so that it is exact
    try:
        buffer = io.BytesIO()
        soundfile.write(buffer, steps.T.contiguous().numpy(), rate, subtype=coding, format="WAV")
    except soundfile.LibsndfileError as error:
        raise OSError(f"{path.name} cannot be written: {error}") from error
    replace_file(path, buffer.getvalue())


def write_coded(sample: Tensor, path: Path, rate: int, coding: str) -> None:
    """Writes one sound [1, samples] as "mp3:128" or "opus:64" say, by the words of `numerics.sound_perturbations`.

    Raises:
        MismatchError: more than one channel, or a rate that the codec does not hold. OutOfRange: no such coding.
        OSError: the path cannot be written.
    """
    if sample.ndim != 2 or len(sample) != 1:
        raise MismatchError(f"a sound to be coded is {tuple(sample.shape)}; expected [1, samples].")
    replace_file(path, coded(sample[0], rate, coding))


def _refuse_before_decoding(rate: int, channels: int, spec: SampleSpec, claimed: int, max_values: int) -> None:
    if rate < 1 or channels < 1:
        raise UnreadableSample(f"has {channels} channels at {rate} Hz; expected sound. Export it again.")
    expected = spec.form.rate
    if expected is not None and rate != expected:
        raise MismatchError(
            f"has {rate} samples a second; this model makes {expected}. Sound is never resampled, as that wipes out "
            "what is looked for: give the file as the generator wrote it."
        )
    if claimed > max_values:
        raise UnreadableSample(f"has {claimed} samples; the limit is {max_values}. Cut it, or raise max_values.")


def _with_channels(values: Tensor, channels: int, notes: list[str]) -> Tensor:
    if len(values) == channels:
        return values
    if channels == 1 and len(values) and bool((values == values[:1]).all()):
        notes.append(f"{len(values)} equal channels were read as one")
        return values[:1]
    raise MismatchError(
        f"has {len(values)} channels; this model makes {channels}. Channels are never mixed: give the one that is in "
        "question."
    )


def _windows(values: Tensor, spec: SampleSpec, rate: int, notes: list[str]) -> Tensor:
    """[channels, samples] → [n, channels, length]; what remains at the end is left out."""
    length = spec.shape[1]
    count = values.shape[1] // length
    if count == 0:
        raise MismatchError(
            f"has {values.shape[1]} samples, {values.shape[1] / rate:.2f} s; this model is judged by "
            f"windows of {length}. Give a longer clip, or train with a head for shorter ones."
        )
    if rest := values.shape[1] - count * length:
        notes.append(f"the last {rest / rate:.2f} s do not fill a window and were left out")
    return values[:, : count * length].reshape(len(values), count, length).transpose(0, 1)


def _coding(subtype: str, data: bytes, seconds: float) -> str:
    """Of MP3 by the headers of its frames, else by the length of the whole file, which is too much of short clips."""
    if subtype not in LOSSY:
        return "none" if subtype in BITS else subtype.lower()
    told = mp3_kilobits(data) if subtype == "MPEG_LAYER_III" else None
    return f"{LOSSY[subtype]}:{max(1, round(told or 8 * len(data) / max(seconds, 1e-3) / 1000))}"


def _soundfile() -> Any:
    try:
        import soundfile
    except Exception as error:  # its library may be missing too, which is an OSError
        raise MorelliError("reading and writing sound needs soundfile: pip install 'morelli[audio]'.") from error
    return soundfile
