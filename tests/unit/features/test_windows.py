"""Windows: what is kept of them is what the whole would have given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from toys import toy_heads, toy_samples

from morelli import TorchGenerator
from morelli.errors import UnsuitableSolver
from morelli.features.inversion import Inversion
from morelli.features.observation import EightBit
from morelli.features.prior import Sparse
from morelli.features.windows import Window, halo_error
from morelli.numerics.head import Head
from morelli.numerics.solvers.interior_point import InteriorPoint
from morelli.numerics.solvers.pdhg import Pdhg

SOLVER = InteriorPoint(1e-8)  # exact: what differs is due to the windows alone
WEIGHT = 0.01


def large(stride: int) -> tuple[Head, torch.Tensor]:
    """A head of 28×24 activations, with own samples; stride 2 is DCGAN's last layer, stride 1 LSGAN's."""
    torch.manual_seed(0)
    last = nn.ConvTranspose2d(16, 3, 4, 2, 1) if stride == 2 else nn.Conv2d(16, 3, 3, padding=1)
    module = nn.Sequential(nn.ConvTranspose2d(2, 16, 3, 1, 1), nn.ReLU(), last, nn.Tanh()).requires_grad_(False)
    generator = TorchGenerator(module, (2, 28, 24), announce=lambda line: None)
    return generator.head(64), generator.samples(2, 1)


@pytest.mark.parametrize("stride", [1, 2])
def test_windows_give_what_the_whole_gives(stride: int) -> None:
    head, samples = large(stride)
    whole = Inversion(head, WEIGHT, 1, SOLVER)
    pieces = replace(whole, window=Window(tile=8, halo=8))
    right, found = whole.extract(samples), pieces.extract(samples)
    assert found.reasons == ("", "")
    error = (found.values - right.values).flatten(1).norm(dim=1) / right.values.flatten(1).norm(dim=1)
    assert error.max() < 0.02  # measured: 0.004


def test_a_crop_is_the_middle_of_the_whole() -> None:
    head, samples = large(1)
    inversion = Inversion(head, WEIGHT, 2, SOLVER, window=Window(tile=8, halo=8, crop=12))
    found = inversion.extract(samples).values
    assert found.shape == (2, 16, 6, 6)
    right = Inversion(head, WEIGHT, 2, SOLVER).extract(samples).values[:, :, 4:10, 3:9]
    assert (found - right).norm() / right.norm() < 0.02


def test_the_error_shrinks_with_the_halo() -> None:
    head, samples = large(1)
    problem = Inversion(head, WEIGHT, 1, SOLVER).problem(samples, [{}] * 2)
    errors = torch.stack(halo_error(Window(tile=8, crop=8), SOLVER, problem, [0, 2, 8], reference=28))
    assert (errors[:-1] > errors[1:]).all()
    assert errors[2].max() < 0.06  # measured: 0.030
    assert errors[0].min() > 0.1  # so that the check can fail


def test_windows_of_a_small_image_are_the_image() -> None:
    head, samples = toy_heads()["convolution"], toy_samples("convolution", 3)
    whole = Inversion(head, WEIGHT, 1, SOLVER)
    assert torch.equal(replace(whole, window=Window()).extract(samples).values, whole.extract(samples).values)


def test_sound_has_windows_too() -> None:
    head, samples = toy_heads()["audio"], toy_samples("audio", 2)
    right = Inversion(head, WEIGHT, 1, SOLVER).extract(samples).values
    found = Inversion(head, WEIGHT, 1, SOLVER, window=Window(tile=16, halo=16)).extract(samples).values
    assert (found - right).norm() / right.norm() < 0.15  # measured: 0.076


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(UnsuitableSolver, match="cut into windows"):
        Inversion(toy_heads()["table"], window=Window()).extract(toy_samples("table", 1))
    bounded = Inversion(toy_heads()["convolution"], prior=Sparse(nonnegative=True), window=Window())
    with pytest.raises(UnsuitableSolver, match="floor"):
        bounded.extract(toy_samples("convolution", 1))


def test_state_round_trip() -> None:
    head, samples = large(1)
    one = Inversion(head, WEIGHT, 1, Pdhg(0.1), EightBit(), Sparse(per_channel=True), Window(16, 4, 24))
    again = Inversion.from_state(one.state())
    assert torch.equal(again.extract(samples).values, one.extract(samples).values)
