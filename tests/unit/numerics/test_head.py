"""Head: targets, refusals, and its state."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import TOYS, toy_generator, toy_heads, toy_samples

from morelli import Head
from morelli.errors import MismatchError, OutOfRange

ROWS = pytest.mark.parametrize("toy", TOYS)


@ROWS
def test_target_is_what_the_map_makes_of_activation_minus_anchor(toy: str) -> None:
    head = toy_heads()[toy].to("cpu", torch.float64)
    z = toy_generator(toy).activations(5, 3).double()
    samples = head.forward(z)
    free = ~head.activation.saturated(samples)
    torch.testing.assert_close(head.target(samples)[free], head.map.apply(z - head.anchor)[free])


@ROWS
def test_state_round_trip(toy: str) -> None:
    head, samples = toy_heads()[toy], toy_samples(toy, 3)
    again = Head.from_state(head.state())
    assert again.activation == head.activation
    assert torch.equal(again.target(samples), head.target(samples))


@ROWS
def test_another_shape_is_refused(toy: str) -> None:
    head = toy_heads()[toy]
    with pytest.raises(MismatchError, match="this head makes"):
        head.target(toy_samples(toy, 2)[..., :-1])


@pytest.mark.parametrize(("toy", "bad"), [("deconvolution", 1.01), ("convolution", -0.01), ("audio", -1.01)])
def test_values_out_of_range_are_refused(toy: str, bad: float) -> None:
    samples = toy_samples(toy, 2)
    samples[1, 0, 0] = bad
    with pytest.raises(OutOfRange, match=f"{bad:.4g}"):
        toy_heads()[toy].target(samples)


def test_rounding_beyond_the_range_is_let_pass_and_tables_have_none() -> None:
    samples = toy_samples("deconvolution", 2)
    samples[0, 0, 0, 0] = 1.0005
    assert toy_heads()["deconvolution"].target(samples).isfinite().all()
    assert toy_heads()["table"].target(torch.full((1, 6), 1e6)).isfinite().all()


def test_an_empty_batch_has_an_empty_target() -> None:
    assert toy_heads()["audio"].target(torch.zeros(0, 1, 64)).shape == (0, 1, 64)


def test_parts_that_do_not_fit_are_refused() -> None:
    head = toy_heads()["deconvolution"]
    with pytest.raises(MismatchError, match="anchor"):
        replace(head, anchor=head.anchor[:-1])
    with pytest.raises(MismatchError, match="bias"):
        replace(head, bias=torch.zeros(4, 1, 1))
