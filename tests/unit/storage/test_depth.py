"""More than eight bits: written and read without loss, never rounded in silence, refused where the depth is another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from morelli import SampleSpec
from morelli.errors import MismatchError
from morelli.numerics.file_form import ANY, FileForm
from morelli.storage.samples import from_eight_bits, read, stored, to_eight_bits, write_image

DEEP = SampleSpec((1, 16, 16), -1.0, 1.0, form=FileForm(levels=65536))
TWELVE = replace(DEEP, form=FileForm(levels=4096))
EIGHT = replace(DEEP, form=FileForm(levels=256))


def samples(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("spec", [DEEP, TWELVE, EIGHT])
@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_what_is_written_comes_back_exactly(tmp_path: Path, spec: SampleSpec, name: str) -> None:
    made = stored(samples(), spec)
    write_image(made[0], tmp_path / name, spec)
    reading = read(tmp_path / name, spec)
    torch.testing.assert_close(reading.samples, made, atol=2 / 65535 / 1.99, rtol=0)
    assert torch.equal(stored(reading.samples, spec), made)
    assert reading.facts["format"] == {"x.png": "PNG", "x.tif": "TIFF"}[name]
    assert reading.facts["bits"] == (8 if spec is EIGHT else 16)


def test_every_level_of_twelve_bits_survives_sixteen(tmp_path: Path) -> None:
    spec = SampleSpec((1, 64, 64), 0.0, 1.0, form=FileForm(levels=4096))
    every = (torch.arange(4096).double() / 4095).float().reshape(1, 64, 64)
    write_image(every, tmp_path / "x.png", spec)
    assert torch.equal((read(tmp_path / "x.png", spec).samples * 4095).round().flatten(), torch.arange(4096.0))


def test_rounding_is_to_the_nearest_level() -> None:
    assert torch.equal(stored(samples(), EIGHT), from_eight_bits(to_eight_bits(samples(), EIGHT), EIGHT))
    away = (stored(samples(), TWELVE) - samples()).abs().max()
    assert 0.9 / 4095 < away <= 1 / 4095 + 1e-6


def test_another_depth_is_refused(tmp_path: Path) -> None:
    write_image(samples()[0], tmp_path / "deep.png", DEEP)
    write_image(samples()[0], tmp_path / "eight.png", EIGHT)
    with pytest.raises(MismatchError, match=r"deep\.png holds values between the 256.*--levels 65536"):
        read(tmp_path / "deep.png", EIGHT)
    with pytest.raises(MismatchError, match=r"eight\.png holds 256 levels of grey; this model's files hold 4096"):
        read(tmp_path / "eight.png", TWELVE)
    for name in ("deep.png", "eight.png"):
        assert read(tmp_path / name, replace(DEEP, form=FileForm(levels=ANY))).samples.shape == (1, 1, 16, 16)


def test_eight_bits_in_a_deeper_file_are_eight_bits(tmp_path: Path) -> None:
    pixels = to_eight_bits(samples(), EIGHT)
    Image.fromarray(pixels[0, 0].numpy().astype(np.uint16) * 257).save(tmp_path / "x.png")
    assert torch.equal(read(tmp_path / "x.png", EIGHT).samples, from_eight_bits(pixels, EIGHT))


def test_nothing_rounds_deep_samples_to_eight_bits(tmp_path: Path) -> None:
    for spec in (DEEP, TWELVE):
        with pytest.raises(MismatchError, match="which eight bits do not hold"):
            to_eight_bits(samples(), spec)
        with pytest.raises(MismatchError, match="which eight bits do not hold"):
            from_eight_bits(torch.zeros(1, 1, 16, 16, dtype=torch.uint8), spec)
    with pytest.raises(MismatchError, match="in colour; more than 8 bits are written of grey alone"):
        write_image(torch.zeros(3, 16, 16), tmp_path / "x.png", SampleSpec((3, 16, 16), form=FileForm(levels=65536)))
    assert not (tmp_path / "x.png").exists()
