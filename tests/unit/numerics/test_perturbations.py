"""Each perturbation against its definition, and what all of them promise."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate1d
from torch import Tensor

from morelli.errors import MismatchError, OutOfRange
from morelli.numerics.perturbations import (
    PERTURBATIONS,
    Between,
    Blur,
    Crop,
    Gamma,
    Jpeg,
    Noise,
    Part,
    Perturbation,
    Resize,
    Webp,
    parse,
)

EXAMPLES = {
    "blur:3": Blur(3),
    "crop:60": Crop(60),
    "part:60": Part(60),
    "noise:0.05": Noise(0.05),
    "jpeg:80": Jpeg(80),
    "webp:80": Webp(80),
    "resize:0.5": Resize(0.5),
    "gamma:0.8": Gamma(0.8),
}
EACH = pytest.mark.parametrize("text", EXAMPLES)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 3, channels: int = 3, side: int = 64) -> Tensor:
    """Waves and noise, black and white included."""
    up = torch.linspace(0, 9, side).sin()
    smooth = 127.5 + 100 * up[:, None] * up + 60 * torch.randn(n, channels, side, side, generator=rng(1))
    return smooth.round().clamp(0, 255).to(torch.uint8)


def applied(perturbation: Perturbation, given: Tensor) -> Tensor:
    return perturbation.apply(given, rng())


def test_every_row_of_the_table_has_an_example() -> None:
    assert [text.split(":")[0] for text in EXAMPLES] == list(PERTURBATIONS)


@EACH
def test_text_and_settings_say_what_it_is(text: str) -> None:
    perturbation = parse(text)
    assert perturbation == EXAMPLES[text]
    settings = perturbation.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["type"] == text.split(":")[0]
    assert float(text.split(":")[1]) in settings.values()


@EACH
@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 1, 28, 28), (1, 3, 17, 40), (0, 3, 16, 16)])
def test_eight_bits_in_and_out(text: str, shape: tuple[int, ...]) -> None:
    given = torch.randint(256, shape, generator=rng(2), dtype=torch.uint8)
    before = given.clone()
    changed = applied(parse(text), given)
    assert (changed.dtype, changed.shape) == (torch.uint8, given.shape)
    assert torch.equal(given, before)
    assert not len(given) or not torch.equal(changed, given)


@EACH
def test_a_batch_is_invisible(text: str) -> None:
    given, shared = images(5), rng()
    together = applied(parse(text), given)
    apart = [parse(text).apply(some, shared) for some in given.split([1, 3, 1])]
    assert torch.equal(torch.cat(apart), together)


@EACH
def test_other_images_are_refused(text: str) -> None:
    for wrong in (images().float(), images()[0]):
        with pytest.raises(MismatchError, match="expected uint8"):
            applied(parse(text), wrong)


@pytest.mark.parametrize("text", ["", "jpeg", "jpeg:", "jpeg:high", "jpeg:nan", "sepia:3", "80:jpeg", "JPEG:80"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(OutOfRange, match="Write it like jpeg:80"):
        parse(text)


MEANINGLESS = {
    "blur": ["2", "0", "-1", "1.5", "inf"],
    "crop": ["0", "65", "5.5"],
    "part": ["0", "65", "5.5"],
    "noise": ["-1", "inf"],
    "jpeg": ["0", "101", "80.5"],
    "webp": ["0", "101", "80.5"],
    "resize": ["0", "17"],
    "gamma": ["0", "-1", "inf"],
}


@pytest.mark.parametrize("text", [f"{name}:{number}" for name, numbers in MEANINGLESS.items() for number in numbers])
def test_numbers_without_a_meaning_are_refused(text: str) -> None:
    with pytest.raises(OutOfRange, match="expected"):
        parse(text)


def test_blur_is_scipys() -> None:
    weights = np.exp(-0.5 * (np.arange(-1, 2) / 3) ** 2)
    expected = images().numpy().astype(np.float64)
    for axis in (2, 3):
        expected = correlate1d(expected, weights / weights.sum(), axis, mode="mirror")
    assert np.array_equal(applied(Blur(3), images()).numpy(), expected.round().astype(np.uint8))
    assert torch.equal(applied(Blur(1), images()), images())
    with pytest.raises(MismatchError, match="at least 2 pixels"):
        applied(Blur(3), images()[..., :1])


@pytest.mark.parametrize(("kept", "first"), [(60, 2), (55, 4), (64, 0)])
def test_crop_enlarges_the_centre(kept: int, first: int) -> None:
    given = images()
    centre = given[..., first : first + kept, first : first + kept].permute(0, 2, 3, 1).contiguous().numpy()
    drawn = [np.array(Image.fromarray(one).resize((64, 64), Image.Resampling.BILINEAR)) for one in centre]
    expected = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)
    assert (applied(Crop(kept), given).int() - expected.int()).abs().max() <= 1  # Pillow rounds between the axes
    assert kept < 64 or torch.equal(applied(Crop(kept), given), given)


def test_crop_keeps_the_same_share_of_other_sizes() -> None:
    """A frame of 2 in 32 is what 60 of 64 cut away; of 4 in 32, half of it."""
    framed = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    framed[..., 1:-1, 1:-1] = 200
    assert (applied(Crop(60), framed) == 200).all()
    assert applied(Crop(62), framed).min() < 200


def test_a_part_is_what_lies_in_its_window() -> None:
    drawn = rng(4)
    found = [Part(40).cut(image, drawn) for image in images(20)]
    assert {window[2:] for _, window in found} == {(40, 40)}
    places = torch.tensor([window[:2] for _, window in found])
    assert places.min() < 4 and places.max() > 20 and places.max() <= 24
    for image, (part, (top, left, height, width)) in zip(images(20), found, strict=True):
        alone = image[:, top : top + height, left : left + width]
        assert torch.equal(part[:, [0, 0, -1, -1], [0, -1, 0, -1]], alone[:, [0, 0, -1, -1], [0, -1, 0, -1]])
    assert torch.equal(Part(64).cut(images(1)[0], rng())[0], images(1)[0])


def test_a_resize_goes_either_way() -> None:
    for factor in (0.5, 2.0):
        flat = torch.full((1, 1, 16, 16), 77, dtype=torch.uint8)
        assert torch.equal(applied(Resize(factor), flat), flat)
    lost = [(applied(Resize(factor), images()).float() - images().float()).abs().mean() for factor in (0.5, 2.0)]
    assert lost[1] < lost[0] / 1.3


def test_noise_has_the_strength_asked_for() -> None:
    grey = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    noise = applied(Noise(0.1), grey).double() - 128
    assert abs(noise.mean()) < 0.6
    assert abs(noise.std() - 25.5) < 0.5
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0, 0], noise[0, 1])
    assert torch.equal(applied(Noise(0.0), images()), images())
    black = applied(Noise(0.1), torch.zeros_like(grey))
    assert 0.4 < (black == 0).double().mean() < 0.6  # clipped, not wrapped
    assert black.max() < 160


@pytest.mark.parametrize(("perturbation", "kind"), [(Jpeg(80), "JPEG"), (Jpeg(90), "JPEG"), (Webp(80), "WEBP")])
@pytest.mark.parametrize("channels", [1, 3])
def test_codecs_are_pillows(perturbation: Jpeg | Webp, kind: str, channels: int) -> None:
    given = images(2, channels)
    for one, back in zip(given, applied(perturbation, given), strict=True):
        file = io.BytesIO()
        drawn = Image.fromarray(one.permute(1, 2, 0).squeeze(2).contiguous().numpy())
        drawn.save(file, kind, quality=perturbation.quality)
        read = np.array(Image.open(file).convert(drawn.mode)).reshape(64, 64, channels)
        assert np.array_equal(back.permute(1, 2, 0).numpy(), read)


@pytest.mark.parametrize("perturbation", [Jpeg(80), Webp(80)])
def test_codecs_refuse_other_channels(perturbation: Perturbation) -> None:
    with pytest.raises(MismatchError, match="have 2 channels"):
        applied(perturbation, images(channels=2))


@pytest.mark.parametrize("factor", [0.5, 0.7])
def test_resize_is_pillows_to_a_rounding(factor: float) -> None:
    given, small = images(), (round(64 * factor),) * 2
    bilinear = Image.Resampling.BILINEAR
    for one, back in zip(given, applied(Resize(factor), given), strict=True):
        drawn = Image.fromarray(one.permute(1, 2, 0).contiguous().numpy())
        expected = np.array(drawn.resize(small, bilinear).resize((64, 64), bilinear)).astype(int)
        assert abs(back.permute(1, 2, 0).numpy() - expected).max() <= 2  # Pillow rounds between the axes
    assert torch.equal(applied(Resize(1.0), given), given)


@pytest.mark.parametrize("exponent", [0.8, 1.0, 2.2])
def test_gamma_is_its_formula(exponent: float) -> None:
    shades = torch.arange(256).to(torch.uint8).reshape(1, 1, 16, 16)
    expected = [round(255 * math.pow(v / 255, exponent)) for v in range(256)]
    assert applied(Gamma(exponent), shades).flatten().tolist() == expected


def test_none_leaves_eight_bit_images_as_they_are() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(parse("none").apply(images, torch.Generator()), images)
    assert parse("none").settings() == {"type": "none"}
    with pytest.raises(MismatchError, match="expected uint8"):
        parse("none").apply(images.float(), torch.Generator())


def test_a_range_draws_a_strength_for_every_image() -> None:
    images = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flat = torch.full((40, 1, 64, 64), 128, dtype=torch.uint8)
    assert parse("noise:0.02..0.06") == Between("noise", 0.02, 0.06)
    noisy = parse("noise:0.02..0.06").apply(flat, torch.Generator().manual_seed(0)).float()
    strengths = (noisy - 128).flatten(1).std(1) / 255
    assert 0.018 < strengths.min() < 0.028
    assert 0.052 < strengths.max() < 0.062
    coded = parse("jpeg:70..90").apply(images, torch.Generator().manual_seed(0))
    every = [Jpeg(quality).apply(images, torch.Generator()) for quality in range(70, 91)]
    qualities = [next(q for q, one in enumerate(every, 70) if torch.equal(one[i], coded[i])) for i in range(40)]
    assert len(set(qualities)) > 8
    assert parse("jpeg:70..90").apply(images[:0], torch.Generator()).shape == (0, 3, 16, 16)


def test_enlargements_prefer_simple_factors() -> None:
    drawn = [one.factor for one in parse("resize:1.2..3").drawn(600, rng())]  # type: ignore[attr-defined]
    assert all(150 / 3 < drawn.count(factor) < 250 / 3 for factor in (1.5, 2.0, 3.0))
    assert min(drawn) < 1.22 and max(drawn) == 3.0
    reduced = [one.factor for one in parse("resize:0.6..0.9").drawn(600, rng())]  # type: ignore[attr-defined]
    assert len(set(reduced)) > 590 and 0.6 <= min(reduced) < max(reduced) <= 0.9


def test_the_points_of_a_range() -> None:
    assert parse("jpeg:70..86").points() == (Jpeg(70), Jpeg(78), Jpeg(86))  # type: ignore[attr-defined]
    assert parse("crop:60..62").points() == (Crop(60), Crop(61), Crop(62))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text", ["jpeg:90..80", "blur:3..5", "jpeg:0..50", "noise:0.1..", "jpeg:1..2..3", "jpeg:80..80"]
)
def test_ranges_without_a_meaning_are_refused(text: str) -> None:
    with pytest.raises(OutOfRange):
        parse(text)
