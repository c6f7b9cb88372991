from __future__ import annotations

import pytest
import torch
from scipy.fft import dctn

from morelli.numerics.spectrum import dct2, dct_matrix


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
