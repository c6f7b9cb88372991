"""What pictures claim to be, without paying for it."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from PIL import Image

from morelli.web.pixels import claimed_pixels


def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, number, kind, len(value)) + value


def deflated(megabytes: int) -> bytes:
    """DICOM whose data set, of that size, is compressed to next to nothing."""
    meta = element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1.99\0"[:22])
    meta = element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    size = megabytes * 2**20
    rows = element(0x28, 0x10, b"US", struct.pack("<H", 9000)) + element(0x28, 0x11, b"US", struct.pack("<H", 9000))
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    long = struct.pack("<HH2sHI", 9, 0x1001, b"OB", 0, size) + bytes(size)
    return bytes(128) + b"DICM" + meta + packed.compress(long + rows) + packed.flush()


def test_nothing_is_inflated(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    path = tmp_path / "bomb.dcm"
    path.write_bytes(deflated(64))
    tracemalloc.start()
    try:
        assert claimed_pixels(path) == 0
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_what_is_claimed(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (30, 20)).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    assert claimed_pixels(tmp_path / "a.png") == 600
    assert claimed_pixels(tmp_path / "gone.png") == 0  # with the client that sent it
