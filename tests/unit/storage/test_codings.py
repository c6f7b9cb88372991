"""What a file tells of its coding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from morelli.storage.codings import coding_of
from morelli.storage.samples import read_picture

PIXELS = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("a.png", {}, "none"),
        ("a.jpg", {"quality": 80}, "jpeg:80"),
        ("a.jpg", {"quality": 96, "subsampling": 0}, "jpeg:96"),
        ("a.jpg", {"quality": 31}, "jpeg:31"),
        ("a.webp", {"quality": 80}, "webp:80"),
        ("a.webp", {"quality": 20, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}, "webp:80"),
        ("a.webp", {"lossless": True}, "none"),
        ("a.webp", {"lossless": True, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}, "none"),
    ],
)
def test_codings(tmp_path: Path, name: str, options: dict, expected: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / name, **options)
    pixels, facts = read_picture(tmp_path / name)
    assert coding_of(facts) == expected
    assert (expected == "none") == torch.equal(pixels, torch.from_numpy(PIXELS).permute(2, 0, 1))


def test_tables_of_other_programs() -> None:
    """A table that no quality has: the nearest one."""
    halved = [[max(1, step // 2) for step in range(10, 74)]]
    assert coding_of({"format": "JPEG", "jpeg_tables": halved}).startswith("jpeg:")


def test_a_damaged_table_is_no_warning(tmp_path: Path) -> None:
    """Found by fuzzing: a step of 0 was divided by."""
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", quality=80)
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    data[data.index(b"\xff\xdb") + 5] = 0
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_picture(tmp_path / "a.jpg")[1]["coding"] == "jpeg:80"
