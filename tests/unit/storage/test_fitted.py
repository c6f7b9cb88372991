"""Pictures of another size: brought to the model's where somebody knows what to make of them, refused elsewhere."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from morelli import SampleSpec
from morelli.errors import MismatchError
from morelli.numerics.file_form import FileForm
from morelli.numerics.perturbations import Window, resized
from morelli.storage.images import decode

SPEC = SampleSpec((3, 16, 24))
LIMIT = 10**6


def middle(height: int, width: int) -> Window | None:
    """Knows what is twice as large, or has two columns more than that."""
    return (0, (width - 48) // 2, 32, 48) if height == 32 and 48 <= width <= 50 else None


def png(image: Image.Image, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **settings)
    return file.getvalue()


def picture(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("width", "left"), [(48, 0), (50, 1)])
def test_the_window_is_brought_to_size_and_named(width: int, left: int) -> None:
    given = picture(32, width)
    sample, facts = decode(png(given), SPEC, LIMIT, middle)
    part = torch.from_numpy(np.asarray(given)[:, left : left + 48].copy()).permute(2, 0, 1)[None]
    assert torch.equal(((sample + 1) * 127.5).round().to(torch.uint8), resized(part, 16, 24))
    assert (facts["fitted"], facts["size"]) == ([left, 0, 48, 32], [width, 32])
    assert facts["notes"] == [f"the 48x32 pixels at ({left}, 0) were reduced to 24x16"]


def test_the_models_own_size_is_left_alone() -> None:
    for fit in (None, middle):
        sample, facts = decode(png(picture(16, 24)), SPEC, LIMIT, fit)
        assert sample.shape == (1, 3, 16, 24) and "fitted" not in facts


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_every_mode_of_eight_bits(mode: str) -> None:
    _, facts = decode(png(picture(32, 48).convert(mode)), SPEC, LIMIT, middle)
    assert facts["fitted"] == [0, 0, 48, 32]


def test_grey_models_read_them_too() -> None:
    sample, facts = decode(png(picture(32, 48).convert("L")), SampleSpec((1, 16, 24)), LIMIT, middle)
    assert sample.shape == (1, 1, 16, 24) and facts["fitted"] == [0, 0, 48, 32]


def test_what_lies_on_its_side_is_turned_first() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    sample, facts = decode(png(picture(48, 32), exif=exif.tobytes()), SPEC, LIMIT, middle)
    assert sample.shape == (1, 3, 16, 24) and facts["fitted"] == [0, 0, 48, 32]


def test_other_sizes_and_more_bits_are_refused() -> None:
    with pytest.raises(MismatchError, match=r"is 60x32; this model reads 24x16\. It knows nothing"):
        decode(png(picture(32, 60)), SPEC, LIMIT, middle)
    with pytest.raises(MismatchError, match="Pictures are not resized"):
        decode(png(picture(32, 48)), SPEC, LIMIT)
    deep = Image.fromarray(np.full((32, 48), 40_000, dtype=np.uint16))
    fine = SampleSpec((1, 16, 24), form=FileForm(levels=65536))
    for spec in (fine, SampleSpec((1, 16, 24))):
        with pytest.raises(MismatchError, match="not of 8 bits"):
            decode(png(deep), spec, LIMIT, middle)
