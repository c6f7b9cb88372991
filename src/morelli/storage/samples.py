"""Files -> samples, within limits and with facts about each file. Pictures, sound and tables are read next door."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morelli.errors import MismatchError, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.storage import audio
from morelli.storage.depth import stored
from morelli.storage.dicom import is_dicom
from morelli.storage.digests import digest_of
from morelli.storage.images import Fit, decode, decode_any, format_of, from_eight_bits, to_eight_bits, write_image
from morelli.storage.listing import find
from morelli.storage.listing import shown as _shown
from morelli.storage.provenance import READ, provenance_of
from morelli.storage.tables import parse

__all__ = [
    "Collection",
    "Limits",
    "Reading",
    "find",
    "from_eight_bits",
    "read",
    "read_all",
    "read_origin",
    "read_picture",
    "stored",
    "to_eight_bits",
    "write_image",
]

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".dcm": "DICOM",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
}


@dataclass(frozen=True)
class Limits:
    """What a single file may cost. Each is checked before the work it bounds."""

    max_bytes: int = 256 * 2**20
    max_pixels: int = 64_000_000
    max_rows: int = 1_000_000
    max_values: int = 64_000_000


LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Reading:
    """One file, read.

    Attributes:
        file: its path as given.
        samples: float32 [n, *spec.shape]; a picture lies in [spec.low, spec.high], n = 1; of sound n windows.
        facts: what JSON can hold: `sha256` of the file, `decoded_sha256` of the samples, `format`, `mode`, `size`
            [width, height] (of a table [columns, rows], of sound [samples, channels]), `notes` on what was converted;
            of pictures but DICOM, `provenance` (see `provenance.provenance_of`); see `images.decode`, `audio.decode`
            and `tables.parse` for the rest.
    """

    file: str
    samples: Tensor
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Collection:
    """Many files, read: samples [n, *spec.shape], the facts of each file read, (path, reason) of each refused."""

    samples: Tensor
    facts: list[dict[str, Any]]
    refused: list[tuple[Path, str]]


def _with_file(path: Path, data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of the content, with those of the file."""
    promised = SUFFIXES.get(path.suffix.lower(), facts["format"])
    if promised != facts["format"]:
        facts["notes"].append(f"suffix {path.suffix} does not match format {facts['format']}")
    found = {"sha256": sha256(data).hexdigest()} | facts
    if facts["format"] in READ:
        found["provenance"] = provenance_of(data, facts["format"], facts["notes"])
    return found


def read(
    path: Path, spec: SampleSpec, limits: Limits = LIMITS, *, data: bytes | None = None, fit: Fit | None = None
) -> Reading:
    """Reads one file: one sample from a picture, many from a table, one for each window of sound.

    Args:
        data: its content, where that lies elsewhere; `path` is its name then.
        fit: what of a picture of another size is brought to the model's; see `images.decode`.
    Raises:
        MismatchError: it is sound, but of another size, channel count or column count than `spec`.
        UnreadableSample: everything else that is wrong with the file.
        OutOfRange: an image spec whose range is not finite.
    """
    try:
        if len(spec.shape) not in (1, 2, 3):
            raise MismatchError(
                f"is a picture, sound or a table, but samples are {spec.shape}; expected 1 to 3 dimensions."
            )
        data = _bytes(path, limits.max_bytes) if data is None else data
        if spec.is_image:
            samples, facts = decode(data, spec, limits.max_pixels, fit)
        elif spec.is_audio:
            samples, facts = audio.decode(data, spec, limits.max_values)
        else:
            samples, facts = parse(data, spec, limits.max_rows)
    except (MismatchError, UnreadableSample) as error:
        raise type(error)(f"{_shown(path.name or path)} {error}") from error
    facts["decoded_sha256"] = digest_of(samples, spec)
    return Reading(str(path), samples, _with_file(path, data, facts))


def read_picture(path: Path, limits: Limits = LIMITS) -> tuple[Tensor, dict[str, Any]]:
    """One picture of whatever size: uint8 [3, h, w], and its facts as `read` gives them. Raises UnreadableSample."""
    try:
        data = _bytes(path, limits.max_bytes)
        pixels, facts = decode_any(data, limits.max_pixels)
    except UnreadableSample as error:
        raise UnreadableSample(f"{_shown(path.name or path)} {error}") from error
    return pixels, _with_file(path, data, facts)


def read_origin(path: Path, trust: str = "", limits: Limits = LIMITS) -> dict[str, Any]:
    """Facts of one picture without decoding it: `sha256`, `format`, `notes`, `provenance` (see `provenance_of`).

    Raises UnreadableSample.
    """
    try:
        data = _bytes(path, limits.max_bytes)
        if is_dicom(data):
            raise UnreadableSample("is DICOM; what it says beside its pixels is about a patient. Name a picture.")
        kind = format_of(data)
    except UnreadableSample as error:
        raise UnreadableSample(f"{_shown(path.name or path)} {error}") from error
    notes: list[str] = []
    found = provenance_of(data, kind, notes, trust)
    return {"sha256": sha256(data).hexdigest(), "format": kind, "notes": notes, "provenance": found}


def read_all(
    paths: Iterable[Path],
    spec: SampleSpec,
    limits: Limits = LIMITS,
    progress: Callable[[int], None] | None = None,
) -> Collection:
    """Reads many files in order; one bad file never stops the others.

    Args:
        progress: called with 1 after each file, read or refused.
    Raises:
        UnreadableSample: not one file was readable.
    """
    readings: list[Reading] = []
    refused: list[tuple[Path, str]] = []
    for path in paths:
        try:
            readings.append(read(path, spec, limits))
        except (MismatchError, UnreadableSample) as error:
            refused.append((path, str(error)))
        if progress is not None:
            progress(1)
    if not readings and not refused:
        raise UnreadableSample("no files were given; expected at least one. Name a file, a folder or a pattern.")
    if not readings:
        raise UnreadableSample(f"none of {len(refused)} files could be read. The first: {refused[0][1]}")
    samples = torch.cat([reading.samples for reading in readings])
    return Collection(samples, [reading.facts for reading in readings], refused)


def _bytes(path: Path, max_bytes: int) -> bytes:
    """All bytes of a regular file; never waits for a pipe or a device, never takes more than `max_bytes`."""
    try:
        _refuse_unless_regular(os.stat(path), max_bytes)
        with open(path, "rb", opener=_without_waiting) as file:
            _refuse_unless_regular(os.fstat(file.fileno()), max_bytes)
            data = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise UnreadableSample("does not exist; expected a file. Check the path, or whether it was moved.") from error
    except PermissionError as error:
        raise UnreadableSample("may not be read; expected a readable file. Check its access rights.") from error
    except (OSError, ValueError) as error:
        raise UnreadableSample(f"cannot be opened ({_shown(error)}); expected a file. Check the path.") from error
    if len(data) > max_bytes:
        raise UnreadableSample(f"has more than {max_bytes} bytes, the limit. Give a smaller file or raise max_bytes.")
    if not data:
        raise UnreadableSample("is empty; expected a picture, sound or a table. Copy or export it again.")
    return data


def _refuse_unless_regular(found: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableSample("is a folder; expected one file. Name a file in it, or search the folder first.")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableSample("is a pipe, socket or device; expected a regular file. Save the sample to a file.")
    if found.st_size > max_bytes:
        raise UnreadableSample(
            f"has {found.st_size} bytes; the limit is {max_bytes}. Give a smaller file or raise max_bytes."
        )


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
