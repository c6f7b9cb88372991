"""How a file coded its picture or sound, in the words of the perturbations: "none", "jpeg:80", "webp:80", "mp3:128"."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

KILOBITS = {  # of MPEG-1 and MPEG-2 layer III, by their index in a frame's header
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
HERTZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
WEBP = "webp:80"  # Pillow's quality where none is asked for; the file does not tell


def coding_of(facts: Mapping[str, Any]) -> str:
    """From the facts that `storage.images` reads. JPEG: the quality whose tables are nearest in Pillow's numbers."""
    if facts.get("jpeg_tables"):
        table = np.array(facts["jpeg_tables"][0]).clip(1)  # a damaged table may hold 0
        return f"jpeg:{1 + int(np.abs(np.log(_tables() / table)).sum(1).argmin())}"
    return WEBP if facts["format"] == "WEBP" and not facts["lossless"] else "none"


def is_lossless_webp(data: bytes) -> bool:
    """By the first chunk that holds pixels."""
    at = 12
    while at + 8 <= len(data):
        if (kind := data[at : at + 4]) in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return False


def mp3_kilobits(data: bytes) -> float | None:
    """The mean bit rate of an MP3 file's frames, by their headers; None where there is no frame of layer III."""
    at = 0
    if data[:3] == b"ID3" and len(data) > 10:
        at = 10 + sum((byte & 127) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    total = frames = 0
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] & 0xE6 == 0xE2:
        version, index, rate = data[at + 1] >> 3 & 3, data[at + 2] >> 4, data[at + 2] >> 2 & 3
        if version not in HERTZ or index in (0, 15) or rate == 3:
            break
        kilobits = KILOBITS[max(2, version)][index]
        total, frames = total + kilobits, frames + 1
        at += (144_000 if version == 3 else 72_000) * kilobits // HERTZ[version][rate] + (data[at + 2] >> 1 & 1)
    return total / frames if frames else None


@cache
def _tables() -> np.ndarray:
    """[100, 64], the luma steps of every quality, as `jpeg_tables` has them."""
    found = []
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
        with Image.open(file, formats=["JPEG"]) as read:
            found.append(read.quantization[0])  # type: ignore[attr-defined]
    return np.array(found)
