"""Contract of a linear map: it is the torch layer, its adjoint is its adjoint, and its state rebuilds it."""

from __future__ import annotations

import math

import pytest
import torch
from battery.cases import MAPS
from torch import Tensor

from morelli.errors import MismatchError
from morelli.numerics.linear import Conv, Dense, Geometry, LinearMap, TransposedConv, squared_norm
from morelli.numerics.maps import map_from_state
from morelli.numerics.sums import LinearSum, Resampled

ROWS = pytest.mark.parametrize("name", MAPS)


def draw(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_adjoint(linear: LinearMap) -> None:
    z, y = draw(3, linear.in_shape, 1), draw(3, linear.out_shape, 2)
    forward, backward = (linear.apply(z) * y).flatten(1).sum(1), (z * linear.adjoint(y)).flatten(1).sum(1)
    torch.testing.assert_close(forward, backward, rtol=1e-11, atol=1e-11)


@ROWS
def test_shapes(name: str) -> None:
    linear, _ = MAPS[name]()
    assert linear.apply(draw(2, linear.in_shape)).shape == (2, *linear.out_shape)
    assert linear.adjoint(draw(2, linear.out_shape)).shape == (2, *linear.in_shape)


@ROWS
def test_adjoint(name: str) -> None:
    assert_adjoint(MAPS[name]()[0])


def test_the_adjoint_check_can_fail() -> None:
    linear, _ = MAPS["conv 2d"]()

    class Shifted(type(linear)):  # type: ignore[misc]
        def adjoint(self, y: Tensor) -> Tensor:
            return super().adjoint(y).roll(1, -1)

    with pytest.raises(AssertionError):
        assert_adjoint(Shifted(linear.weight, linear.in_shape, linear.geometry))


@ROWS
def test_is_the_torch_layer(name: str) -> None:
    linear, layer = MAPS[name]()
    z = draw(3, linear.in_shape)
    torch.testing.assert_close(linear.apply(z), layer(z), rtol=1e-12, atol=1e-12)


@ROWS
def test_state_round_trip(name: str) -> None:
    linear, _ = MAPS[name]()
    again = map_from_state(linear.state())
    assert type(again) is type(linear)
    assert (again.in_shape, again.out_shape) == (linear.in_shape, linear.out_shape)
    assert torch.equal(again.apply(draw(2, linear.in_shape)), linear.apply(draw(2, linear.in_shape)))
    assert torch.equal(again.adjoint(draw(2, linear.out_shape)), linear.adjoint(draw(2, linear.out_shape)))


@ROWS
def test_precision_follows(name: str) -> None:
    linear, _ = MAPS[name]()
    single = linear.to("cpu", torch.float32)
    z = draw(2, linear.in_shape)
    torch.testing.assert_close(single.apply(z.float()), linear.apply(z).float(), rtol=1e-4, atol=1e-4)


@ROWS
def test_squared_norm_is_just_above_the_largest_singular_value_squared(name: str) -> None:
    linear, _ = MAPS[name]()
    columns = torch.eye(math.prod(linear.in_shape), dtype=torch.float64)
    matrix = linear.apply(columns.reshape(-1, *linear.in_shape)).flatten(1)
    true = float(torch.linalg.matrix_norm(matrix, 2)) ** 2
    assert true <= squared_norm(linear) <= 1.011 * true


def test_dense_arranges_both_sides() -> None:
    weight = draw(1, (12, 8))[0]
    shaped = Dense(weight, (2, 4), (3, 2, 2))
    plain = Dense(weight, (8,), (12,))
    z = draw(3, (2, 4))
    assert torch.equal(shaped.apply(z).flatten(1), plain.apply(z.flatten(1)))
    assert_adjoint(shaped)


ONE, TWO = Geometry((1,), (0,), (1,)), Geometry((2, 2), (1, 1), (1, 1))


@pytest.mark.parametrize(
    "build",
    [
        lambda: Dense(torch.zeros(4, 7), (6,), (4,)),
        lambda: Dense(torch.zeros(4, 7), (7,), (2, 3)),
        lambda: Conv(torch.zeros(4, 3, 3, 3), (2, 8, 8), TWO),  # channels
        lambda: Conv(torch.zeros(4, 3, 3, 3), (3, 8), TWO),  # axes
        lambda: Conv(torch.zeros(4, 3, 7), (3, 5), ONE),  # kernel larger than the input
        lambda: TransposedConv(torch.zeros(4, 3, 4, 4), (5, 4, 4), (3, 8, 8), TWO),  # channels in
        lambda: TransposedConv(torch.zeros(4, 3, 4, 4), (4, 4, 4), (2, 8, 8), TWO),  # channels out
        lambda: TransposedConv(torch.zeros(4, 3, 4, 4), (4, 4, 4), (3, 7, 8), TWO),  # too small
        lambda: TransposedConv(torch.zeros(4, 3, 4, 4), (4, 4, 4), (3, 10, 8), TWO),  # no output padding reaches it
        lambda: TransposedConv(torch.zeros(4, 3, 4, 4), (4, 4, 4), (3, 8), TWO),  # axes
        lambda: Resampled((), torch.eye(3)),
        lambda: LinearSum((Dense(torch.zeros(4, 2), (2,), (4,)), Dense(torch.zeros(5, 2), (2,), (5,))), (1.0, 1.0)),
        lambda: LinearSum((Dense(torch.zeros(4, 2), (2,), (4,)),) * 2, (1.0,)),
        lambda: LinearSum((Dense(torch.zeros(4, 2), (2,), (4,)),) * 2, (1.0, 0.0)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(build) -> None:
    with pytest.raises(MismatchError):
        build()
