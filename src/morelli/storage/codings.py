"""How a file coded its picture, in the words of `numerics.perturbations`: "none", "jpeg:80" or "webp:80"."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

WEBP = "webp:80"  # Pillow's quality where none is asked for; the file does not tell


def coding_of(facts: Mapping[str, Any]) -> str:
    """From the facts that `storage.images` reads. JPEG: the quality whose tables are nearest in Pillow's numbers."""
    if facts.get("jpeg_tables"):
        table = np.array(facts["jpeg_tables"][0])
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
