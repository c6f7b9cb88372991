"""Pictures of whatever size, as zero-shot attribution reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from morelli import SampleSpec
from morelli.errors import UnreadableSample
from morelli.storage.images import decode_any
from morelli.storage.samples import Limits, read, read_picture

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)


def saved(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_colour_grey_and_opaque_alpha_come_back_exactly(tmp_path: Path) -> None:
    colour, facts = read_picture(saved(tmp_path / "c.png", Image.fromarray(COLOUR)))
    assert colour.dtype == torch.uint8
    assert torch.equal(colour, torch.from_numpy(COLOUR).permute(2, 0, 1))
    assert (facts["format"], facts["size"]) == ("PNG", [7, 5])
    assert len(facts["sha256"]) == 64
    grey, _ = read_picture(saved(tmp_path / "g.bmp", Image.fromarray(GREY)))
    assert torch.equal(grey, torch.from_numpy(GREY).expand(3, -1, -1))
    opaque, facts = read_picture(saved(tmp_path / "a.png", Image.fromarray(COLOUR).convert("RGBA")))
    assert torch.equal(opaque, colour)
    assert "opaque alpha dropped" in facts["notes"]


def test_every_value_of_eight_bits_stays(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found, _ = read_picture(saved(tmp_path / "r.png", Image.fromarray(ramp)))
    assert torch.equal(found[0], torch.from_numpy(ramp))


def test_sixteen_bits_become_the_nearest_eight(tmp_path: Path) -> None:
    deep = np.array([[0, 127, 129, 257, 385, 386, 65406, 65407, 65535]], dtype=np.uint16)
    found, facts = read_picture(saved(tmp_path / "d.png", Image.fromarray(deep)))
    assert found[0].tolist() == [[0, 0, 1, 1, 1, 2, 254, 255, 255]]
    assert facts["bits"] == 16


def test_it_agrees_with_reading_for_a_model(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.webp", Image.fromarray(COLOUR))
    pixels, facts = read_picture(path)
    reading = read(path, SampleSpec((3, 5, 7), 0.0, 255.0))
    assert torch.equal(reading.samples[0], pixels.float())
    assert reading.facts.pop("decoded_sha256")
    assert reading.facts == facts


def test_what_is_no_opaque_picture_is_refused(tmp_path: Path) -> None:
    clear = Image.fromarray(COLOUR).convert("RGBA")
    clear.putalpha(128)
    with pytest.raises(UnreadableSample, match=r"^a\.png is partly transparent"):
        read_picture(saved(tmp_path / "a.png", clear))
    with pytest.raises(UnreadableSample, match=r"^c\.png claims 7x5 pixels; the limit is 34"):
        read_picture(saved(tmp_path / "c.png", Image.fromarray(COLOUR)), Limits(max_pixels=34))
    torn = (tmp_path / "c.png").read_bytes()[:-30]
    with pytest.raises(UnreadableSample, match="damaged or cut short"):
        decode_any(torn, 1000)
    for name, data in {"e.png": b"", "t.png": b"text"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnreadableSample, match=name):
            read_picture(tmp_path / name)
    with pytest.raises(UnreadableSample, match="does not exist"):
        read_picture(tmp_path / "none.png")
