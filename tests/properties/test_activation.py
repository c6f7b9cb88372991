"""inverse(forward(a)) = a away from saturation, and settings rebuild every activation."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from morelli import Clip, Identity, Rescaled, Sigmoid, Tanh
from morelli.numerics.activation import OutputActivation, activation_from_settings

finite = {"allow_nan": False, "allow_infinity": False}
plain = st.one_of(
    st.just(Identity()),
    st.sampled_from([Tanh(), Tanh(1e-2), Sigmoid(), Sigmoid(1e-3)]),
    st.tuples(st.floats(-3, 0), st.floats(0.5, 4)).map(lambda ends: Clip(*ends)),
    st.sampled_from([Clip(0.0, math.inf), Clip(-math.inf, 1.0)]),
)
activations = st.one_of(plain, st.builds(Rescaled, plain, st.floats(0.1, 300), st.floats(-5, 5)))
values = st.lists(st.floats(-30, 30, **finite), min_size=1, max_size=20).map(
    lambda xs: torch.tensor(xs, dtype=torch.float64)
)


@given(activations, values)
def test_inverse_undoes_forward(activation: OutputActivation, a: torch.Tensor) -> None:
    y = activation.forward(a)
    assert ((y >= activation.low) & (y <= activation.high)).all()
    free = ~activation.saturated(y)
    torch.testing.assert_close(activation.inverse(y)[free], a[free], rtol=1e-6, atol=1e-6)


@given(activations, values)
def test_saturated_values_invert_to_something_smaller(activation: OutputActivation, a: torch.Tensor) -> None:
    y = activation.forward(a)
    back, stuck = activation.inverse(y), activation.saturated(y)
    assert back.isfinite().all()
    assert (back[stuck].abs() <= a[stuck].abs() + 1e-6).all()  # what was lost is size, never the side


@given(activations, values)
def test_forward_increases(activation: OutputActivation, a: torch.Tensor) -> None:
    assert (activation.forward(a.sort().values).diff() >= 0).all()


@given(activations, values)
def test_settings_rebuild_the_activation(activation: OutputActivation, a: torch.Tensor) -> None:
    again = activation_from_settings(json.loads(json.dumps(activation.settings(), allow_nan=False)))
    assert again == activation
    assert torch.equal(again.forward(a), activation.forward(a))


def test_sigmoids_margin_is_equivalent_to_tanhs() -> None:
    edge = Tanh().inverse(torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(Sigmoid().inverse(torch.tensor(1.0, dtype=torch.float64)), 2 * edge)


def test_the_inverse_check_can_fail() -> None:
    with pytest.raises(AssertionError):
        torch.testing.assert_close(Tanh().inverse(Tanh().forward(torch.tensor([9.0]))), torch.tensor([9.0]))


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(KeyError, match="softplus"):
        activation_from_settings({"type": "softplus"})
