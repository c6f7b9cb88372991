"""Exact solves with map·adjoint: every form gives the same answer, and conditioning is what it says."""

from __future__ import annotations

import pytest
import torch
from battery.cases import conv, dense, transposed

from morelli.errors import UnsuitableSolver
from morelli.numerics.conditioning import Conditioning
from morelli.numerics.gram import ConjugateGradients, DenseInverse, factorise, gram_matrix
from morelli.numerics.linear import LinearMap
from morelli.numerics.normal import BandedNormal, DenseNormal, normal_equations
from morelli.numerics.torus import TorusInverse

LARGE = {
    "deconvolution": lambda: transposed((20, 16, 16), 3, 4, stride=2, padding=1)[0],
    "convolution": lambda: conv((6, 20, 24), 3, 3, padding=1)[0],
    "wide kernel, no padding": lambda: conv((4, 30, 26), 2, 5)[0],
    "strided": lambda: conv((20, 40, 40), 3, 3, stride=2, padding=1)[0],
    "dilated, oblong": lambda: conv((5, 40, 40), 2, (3, 2), padding=(2, 1), dilation=(2, 1))[0],
    "groups": lambda: transposed((8, 16, 16), 4, 4, stride=2, padding=1, groups=2)[0],
    "sound": lambda: transposed((6, 60), 2, 4, stride=2, padding=1)[0],
}
ROWS = pytest.mark.parametrize("name", LARGE)
LIKE = torch.zeros((), dtype=torch.float64)


def pair(linear: LinearMap, n: int = 3) -> torch.Tensor:
    return torch.randn(n, *linear.out_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@ROWS
def test_the_torus_is_exact_to_the_border(name: str) -> None:
    linear = LARGE[name]()
    y = pair(linear)
    torus, straight = factorise(linear, 0.5, LIKE, "torus"), DenseInverse.of(linear, 0.5, LIKE)
    assert isinstance(torus, TorusInverse)
    torch.testing.assert_close(
        torus.solve(y), straight.solve(y), rtol=0, atol=1e-9 * float(straight.solve(y).abs().max())
    )


def test_without_its_border_the_torus_is_wrong() -> None:
    linear = LARGE["convolution"]()
    torus = TorusInverse.of(linear, 0.5, LIKE)
    assert torus is not None
    assert len(torus.edge)
    assert (torus.solve(pair(linear)) - torus._torus(pair(linear))).abs().max() > 1e-2


@ROWS
def test_conjugate_gradients_agree(name: str) -> None:
    linear = LARGE[name]()
    found = factorise(linear, 0.5, LIKE, "cg").solve(pair(linear))
    torch.testing.assert_close(found, factorise(linear, 0.5, LIKE, "torus").solve(pair(linear)), rtol=0, atol=1e-7)


def test_conjugate_gradients_keep_samples_apart() -> None:
    linear = dense(40, 30)[0]
    factor, y = factorise(linear, 1e-3, LIKE, "cg"), pair(linear, 4)
    other = y.clone()
    other[1] = 0.0
    assert torch.equal(factor.solve(y)[[0, 2, 3]], factor.solve(other)[[0, 2, 3]])


def test_the_choice_is_by_size_and_can_be_overridden() -> None:
    small, odd = dense(30, 12)[0], transposed((3, 16, 24), 2, 3, stride=(2, 3), output_padding=(1, 2))[0]
    assert isinstance(factorise(small, 1.0, LIKE), DenseInverse)
    assert isinstance(factorise(LARGE["convolution"](), 1.0, LIKE, "dense"), DenseInverse)
    assert isinstance(factorise(odd, 1.0, LIKE), ConjugateGradients)  # 34 rows are no multiple of its stride's cells
    with pytest.raises(UnsuitableSolver, match="torus"):
        factorise(odd, 1.0, LIKE, "torus")
    with pytest.raises(UnsuitableSolver, match="dense, torus, cg"):
        factorise(small, 1.0, LIKE, "qr")


@ROWS
def test_conditioning(name: str) -> None:
    linear = LARGE[name]()
    values = torch.linalg.eigvalsh(gram_matrix(linear))
    found = Conditioning.of(linear)
    assert float(values[-1]) <= found.largest <= 1.011 * float(values[-1])
    least = float(values[0])
    assert found.smallest == pytest.approx(least, rel=2e-2) if least > 1e-5 * found.largest else found.smallest < 1e-4


def test_conditioning_of_a_map_that_misses_outputs() -> None:
    assert Conditioning.of(dense(4, 7)[0]).smallest == 0.0
    assert Conditioning.of(dense(4, 7)[0]).number == float("inf")


@ROWS
def test_the_band_holds_the_normal_equations(name: str) -> None:
    linear = LARGE[name]()
    normal = normal_equations(linear)
    assert isinstance(normal, BandedNormal | DenseNormal)
    rng = torch.Generator().manual_seed(1)
    inputs, outputs = torch.Size(linear.in_shape).numel(), torch.Size(linear.out_shape).numel()
    scale = torch.rand(normal.together, inputs, generator=rng, dtype=torch.float64)
    diagonal = 0.5 + torch.rand(normal.together, outputs, generator=rng, dtype=torch.float64)
    y = torch.randn(normal.together, outputs, generator=rng, dtype=torch.float64)
    x = normal.factorise(diagonal, scale)(y)
    slope = linear.adjoint(x.reshape(-1, *linear.out_shape)).flatten(1)
    again = diagonal * x + linear.apply((scale * slope).reshape(-1, *linear.in_shape)).flatten(1)
    torch.testing.assert_close(again, y, rtol=0, atol=1e-8)
