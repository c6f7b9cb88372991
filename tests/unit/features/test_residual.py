"""Noise residual: against loops, and what must hold of any noise residual."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pywt
import torch
from scipy.ndimage import gaussian_filter

from morelli import SampleSpec
from morelli.errors import MismatchError
from morelli.features import residual as module
from morelli.features.residual import NoiseResidual, residual, spectrum_noise, zero_mean

Array = np.ndarray[Any, Any]
LATTICES = [(0, 0), (0, 1), (1, 0), (1, 1)]


def textured(n: int, *shape: int) -> Array:
    """Images in 0..255 with smooth parts, an edge, and a corner of strong noise."""
    rng = np.random.default_rng(0)
    images = 120 + 300 * gaussian_filter(rng.standard_normal((n, *shape)), (0, 0, 3, 3))
    images[..., shape[-1] // 3 :] += 40
    strength = np.full(shape, 4.0)
    strength[..., : shape[-2] // 2, : shape[-1] // 2] = 25
    images += strength * rng.standard_normal(images.shape)
    return images.clip(0, 255)


def shrunk(values: Array, variance: float, border: str) -> Array:
    """The noise part of [h, w], real or complex, coefficient by coefficient."""
    result = np.zeros_like(values)
    for y, x in np.ndindex(*values.shape):
        energies = []
        for half in (1, 2, 3, 4):
            around = (np.arange(-half, half + 1) + at for at in (y, x))
            rows, columns = (
                at % size if border == "wrap" else [_mirrored(i, size) for i in at]
                for at, size in zip(around, values.shape, strict=True)
            )
            energies.append(np.mean(np.abs(values[np.ix_(rows, columns)]) ** 2))
        signal = min(max(energy - variance, 0) for energy in energies)
        result[y, x] = values[y, x] * variance / (signal + variance)
    return result


def _mirrored(i: int, size: int) -> int:
    i %= 2 * size  # d c b a | a b c d | d c b a
    return min(i, 2 * size - 1 - i)


def reference(image: Array, levels: int) -> Array:
    """[3, h, w] → [h, w], from the description of the method."""
    grey = np.zeros(image.shape[1:])
    for channel, weight in zip(image, (0.299, 0.587, 0.114), strict=True):
        approximation, *details = pywt.wavedec2(channel, "db4", mode="symmetric", level=levels)
        noise = [tuple(shrunk(band, 25.0, "reflect") for band in bands) for bands in details]
        whole = pywt.waverec2([0 * approximation, *noise], "db4", mode="symmetric")
        grey += weight * whole[: image.shape[1], : image.shape[2]]
    for top, left in LATTICES:
        part = grey[top::2, left::2]
        grey[top::2, left::2] = part - part.mean(1)[:, None] - part.mean(0)[None] + part.mean()
    scale = grey.size**0.5
    return np.fft.ifft2(scale * shrunk(np.fft.fft2(grey) / scale, grey.var(), "wrap")).real


@pytest.mark.parametrize(("shape", "levels"), [((17, 16), 1), ((33, 30), 2), ((64, 64), 3)], ids=str)
def test_residual_is_that_of_loops(shape: tuple[int, int], levels: int) -> None:
    images = textured(2, 3, *shape)
    found = residual(images)
    assert found.shape == (2, *shape)
    np.testing.assert_allclose(found[1], reference(images[1], levels), rtol=0, atol=1e-9)
    assert 0.5 < found.std() < 10


def test_large_images_have_four_levels_though_five_fit() -> None:
    image = textured(1, 1, 224, 225)
    noise = {levels: spectrum_noise(zero_mean(module.wavelet_noise(image, levels)[:, 0])) for levels in (3, 4, 5)}
    assert [np.array_equal(residual(image), noise[levels]) for levels in (3, 4, 5)] == [False, True, False]


@pytest.mark.parametrize("shape", [(16, 18), (17, 21)], ids=str)
def test_rows_and_columns_of_sub_lattices_have_mean_zero(shape: tuple[int, int]) -> None:
    images = zero_mean(textured(2, 1, *shape)[:, 0])
    found = [images] + ([residual(textured(2, 3, *shape))] if shape[0] % 2 == 0 else [])  # where the spectrum keeps it
    for values in found:
        assert values.std() > 0.1
        for top, left in LATTICES:
            for axis in (1, 2):
                np.testing.assert_allclose(values[:, top::2, left::2].mean(axis), 0, atol=1e-10)


@pytest.mark.parametrize("level", [0.1, -1.0])
def test_images_without_noise_have_no_residual(level: float) -> None:
    stripes = torch.full((2, 3, 33, 40), level)
    stripes[1] += torch.rand(40, generator=torch.Generator().manual_seed(0))
    assert not NoiseResidual(SampleSpec((3, 33, 40))).extract(stripes).values.any()


def test_peaks_of_the_spectrum_go() -> None:
    """A wave of the noise's own strength is one peak: it shrinks more than tenfold, what is far from it hardly."""
    noise = zero_mean(np.random.default_rng(0).standard_normal((1, 64, 64)))
    wave = np.sqrt(2) * np.sin(2 * np.pi * (5 * np.arange(64)[:, None] + 9 * np.arange(64)) / 64)
    before, after = (np.abs(np.fft.fft2(x))[0] / 64 for x in (noise + wave, spectrum_noise(noise + wave)))
    assert after[5, 9] < 0.1 * before[5, 9]
    assert after[20:40, 20:40].mean() > 0.9 * before[20:40, 20:40].mean()


def test_colours_are_weighed() -> None:
    image = torch.from_numpy(textured(1, 1, 24, 31))
    alone = NoiseResidual(SampleSpec((1, 24, 31), 0, 255)).extract(image).values
    colour = NoiseResidual(SampleSpec((3, 24, 31), 0, 255))
    torch.testing.assert_close(colour.extract(image.expand(-1, 3, -1, -1)).values, alone)
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        only = torch.full((1, 3, 24, 31), 70.0, dtype=torch.float64)
        only[:, channel] = image[:, 0]
        torch.testing.assert_close(colour.extract(only).values, weight * alone)


def test_the_range_stands_for_all_grey_levels() -> None:
    image = torch.from_numpy(textured(2, 3, 20, 16))
    found = NoiseResidual(SampleSpec((3, 20, 16))).extract((image / 127.5 - 1).float()).values
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.from_numpy(residual(image.numpy())).float(), rtol=0, atol=1e-3)


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    one, images = NoiseResidual(SampleSpec((3, 19, 22), 0, 255)), torch.from_numpy(textured(7, 3, 19, 22))
    together, told = one.extract(images).values, list[int]()
    monkeypatch.setattr(module, "BATCH", 3 * 3 * 19 * 22)
    torch.testing.assert_close(one.extract(images, told.append).values, together, rtol=0, atol=1e-11)
    assert told == [3, 3, 1]
    images[0] = 1e4
    torch.testing.assert_close(one.extract(images[[0, 5]]).values[1], together[5], rtol=0, atol=1e-11)


@pytest.mark.parametrize(("shape", "words"), [((6,), "images"), ((2, 16, 16), "channels"), ((3, 16, 7), "8×8")])
def test_what_has_no_residual_is_refused(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(MismatchError, match=words):
        NoiseResidual(SampleSpec(shape))
