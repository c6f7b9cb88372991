from __future__ import annotations

import pytest
import torch
from scipy.fft import dctn

from morelli.numerics.spectrum import azimuthal, dct2, dct_matrix, hann, power


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (3, 5, 7), (2, 3, 16, 4)])
def test_dct_is_scipys(shape: tuple[int, ...]) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.from_numpy(dctn(images.numpy(), axes=(-2, -1), norm="ortho"))
    torch.testing.assert_close(dct2(images), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(dct2(images.float()), expected.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 9, 64])
def test_the_matrix_is_orthonormal(n: int) -> None:
    matrix = dct_matrix(n, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(n, dtype=torch.float64), rtol=0, atol=1e-12)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_window_has_mean_square_one_and_ends_in_zero() -> None:
    window = hann(8, 12, noise(1))
    assert float(window.square().mean()) == pytest.approx(1)
    assert window[0].abs().max() == window[:, 0].abs().max() == 0
    assert window.argmax() == 4 * 12 + 6


def test_white_noise_has_power_of_its_variance_but_where_the_mean_was() -> None:
    """Closed form: the mean that is taken out leaves σ² (1 − |w|²), w the window's own spectrum."""
    n, sigma = 16, 3.0
    found = power(sigma * noise(3000, n, n) + 7).mean(0)
    window = hann(n, n, noise(1))
    gone = torch.fft.fftshift(torch.fft.rfft2(window, norm="forward").abs().square(), -2)
    torch.testing.assert_close(found, sigma**2 * (1 - gone), rtol=0.12, atol=0)
    assert ((gone > 1e-12).sum(), gone.max() > 0.4) == (6, True)


def test_a_wave_is_found_at_its_frequency() -> None:
    rows, columns = torch.arange(16.0)[:, None], torch.arange(16.0)
    wave = (2 * torch.pi * (3 * rows + 5 * columns) / 16).cos()
    found = power(wave)
    assert divmod(int(found.argmax()), 9) == (8 + 3, 5)
    assert float(power(wave + 50).sub(found).abs().max()) < 1e-3


@pytest.mark.parametrize("n", [2, 8, 9, 32])
def test_azimuthal_of_a_radial_function_is_that_function(n: int) -> None:
    rows = torch.arange(n) - n // 2
    radius = (rows[:, None].square() + torch.arange(n // 2 + 1).square()).double().sqrt().round()
    torch.testing.assert_close(azimuthal(radius.square()), torch.arange(n // 2 + 1).double().square())


@pytest.mark.parametrize("n", [2, 8, 9, 32])
def test_azimuthal_is_the_mean_over_the_whole_plane(n: int) -> None:
    images = noise(2, n, n)
    half = torch.fft.fftshift(torch.fft.rfft2(images).abs().square(), -2)
    whole = torch.fft.fftshift(torch.fft.fft2(images).abs().square(), (-2, -1))
    rows = torch.arange(n) - n // 2
    radius = (rows[:, None].square() + rows.square()).double().sqrt().round()
    expected = torch.stack([whole[:, radius == r].mean(1) for r in range(n // 2 + 1)], 1)
    torch.testing.assert_close(azimuthal(half), expected)
