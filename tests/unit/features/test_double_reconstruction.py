"""Losses by hand, homogeneity by a co-occurrence matrix, and own images apart from others where that must be so."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import nn
from toys import toy_autoencoder

from morelli import SampleSpec
from morelli.errors import MismatchError
from morelli.features.double_reconstruction import FLOOR, GREY, PARTS, DoubleReconstruction, band_energies, homogeneity
from morelli.generators.capture import capture
from morelli.numerics.program import Program

SPEC = SampleSpec((3, 8, 8))


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_value_is_made_of_two_losses_and_homogeneity() -> None:
    samples, through = images(3), toy_autoencoder()
    once = through(samples)
    first, second = (once - samples).square().mean((1, 2, 3)), (through(once) - once).square().mean((1, 2, 3))
    found = DoubleReconstruction(through, SPEC).extract(samples)
    expected = homogeneity((samples + 1) * 127.5) * first / second
    torch.testing.assert_close(found.values[:, 0].exp(), expected)
    torch.testing.assert_close(found.notes["first"], first.sqrt() * 127.5)


def test_homogeneity_is_the_inverse_difference_moment_of_a_cooccurrence_matrix() -> None:
    steps = (images(1) + 1) * 127.5
    grey = np.round(np.tensordot(np.array(GREY), steps[0].numpy(), 1))
    levels = np.minimum(grey // 8, 31).astype(int)
    matrix = np.zeros((32, 32))
    for row in levels:
        for left, right in zip(row[:-1], row[1:], strict=True):
            matrix[left, right] += 1
            matrix[right, left] += 1
    matrix /= matrix.sum()
    rows, columns = np.indices(matrix.shape)
    assert homogeneity(steps).item() == pytest.approx((matrix / (1 + (rows - columns) ** 2)).sum(), rel=1e-5)


def test_what_the_autoencoder_made_scores_below_what_it_did_not() -> None:
    coarse = capture(nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)), (3, 8, 8))
    extractor, samples = DoubleReconstruction(coarse, SPEC), images(16)
    own = (coarse(images(16, seed=1)) * 127.5).round() / 127.5
    assert extractor.extract(own).values.max() < extractor.extract(samples).values.min()


def test_flat_images_are_finite() -> None:
    found = DoubleReconstruction(Program((3, 8, 8), (), {}), SPEC).extract(torch.zeros(2, 3, 8, 8))
    assert found.values.isfinite().all()


def test_another_size_is_refused() -> None:
    with pytest.raises(MismatchError, match="of one size for both"):
        DoubleReconstruction(toy_autoencoder(), SampleSpec((3, 16, 16)))


def test_bands_are_mean_squares_of_cosine_coefficients() -> None:
    steps = (images(2, seed=3) + 1) * 127.5
    grey = steps.mean(1)
    found = band_energies(steps)
    assert found.shape == (2, PARTS)
    coefficients = dctn(grey.numpy(), axes=(1, 2), norm="ortho")
    rows, columns = np.indices((8, 8))
    ring = (np.hypot(rows, columns) >= 1) & (np.hypot(rows, columns) < 2.5)
    expected = np.log(np.square(coefficients[:, ring]).mean(1) + FLOOR)
    np.testing.assert_allclose(found[:, 0].numpy(), expected, rtol=1e-4)


def test_bands_of_both_losses_and_of_the_image() -> None:
    samples, through = images(3), toy_autoencoder()
    found = DoubleReconstruction(through, SPEC, bands=True).extract(samples).values
    steps = [(x + 1) * 127.5 for x in (samples, through(samples), through(through(samples)))]
    parts = (steps[0] - steps[1], steps[1] - steps[2], steps[0])
    torch.testing.assert_close(found, torch.cat([band_energies(x) for x in parts], 1), rtol=1e-3, atol=1e-3)
