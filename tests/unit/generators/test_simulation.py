"""Simulated pictures: as files hold them, from a seed, and more like what went in the longer one trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from morelli.errors import MismatchError
from morelli.generators.simulation import SimulationSettings, Tail, copies, leaves, noises, simulate

SHORT = SimulationSettings(images=4, steps=2, batch=2)


def tail(seed: int = 0, *, norm: bool = False) -> Tail:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.BatchNorm2d(6)] * norm + [nn.ReLU(), nn.ConvTranspose2d(6, 3, 4, 2, 1), nn.Sigmoid()]
        return Tail(nn.Sequential(*layers).eval(), 6, 2)


def test_pictures_are_as_files_hold_them_and_depend_on_the_weights_and_the_seed_only() -> None:
    pictures = leaves(16, 3)
    first, again = (simulate(tail(), SHORT, pictures) for _ in range(2))
    assert (first.dtype, first.shape) == (torch.uint8, (8, 3, 64, 64))
    assert torch.equal(first, again)
    assert not torch.equal(first, simulate(tail(1), SHORT, pictures))


def test_training_the_encoder_brings_the_pictures_back() -> None:
    pictures = leaves(24, 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        easy = Tail(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(6, 3, 3, padding=1)), 6, 2)
    longer = SimulationSettings(images=4, steps=60, batch=4, learning_rate=0.02)
    errors = [
        float((copies(easy, settings, pictures).float() / 255 - pictures[:4]).square().mean())
        for settings in (SHORT, longer)
    ]
    assert errors[1] < 0.5 * errors[0], errors


def test_batch_norms_are_held_to_their_statistics() -> None:
    """Where statistics ask for activations around 5, holding them gives other pictures than not."""
    pictures, found = leaves(16, 3), []
    for held in (0.0, 10.0):
        blocks = tail(norm=True)
        blocks.module[0].running_mean.fill_(5)  # type: ignore[index, union-attr, operator]
        settings = SimulationSettings(images=4, steps=10, batch=2, held=held)
        entered: list[float] = []
        hook = blocks.module[0].register_forward_pre_hook(  # type: ignore[index]
            lambda _, inputs, entered=entered: entered.append(float(inputs[0].detach().mean()))
        )
        copies(blocks, settings, pictures)
        hook.remove()
        found.append(entered[-2])
    assert abs(found[1] - 5) < abs(found[0] - 5)


def test_noise_has_the_statistics_of_a_first_batch_norm() -> None:
    mean, variance = torch.full((6,), 3.0), torch.full((6,), 0.25)
    settings = SimulationSettings(images=20)
    plain, told = (Tail(nn.Upsample(scale_factor=2), 1, 2, 0.0, 10.0, s) for s in (None, (mean[:1], variance[:1])))
    assert abs(float(noises(told, settings).float().mean()) / 25.5 - 3) < 0.1
    assert abs(float(noises(told, settings).float().std()) / 25.5 - 0.5) < 0.05
    assert float(noises(plain, settings).float().mean()) / 25.5 < 1


def test_leaves_are_pictures() -> None:
    pictures = leaves(3, 0)
    assert pictures.shape == (3, 3, 64, 64)
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert not torch.equal(pictures, leaves(3, 1))
    down = (pictures[..., 1:, :] - pictures[..., :-1, :]).abs().mean()
    assert down < 0.2 * pictures.std()  # neighbours are alike, as in photographs


def test_what_makes_no_picture_is_refused() -> None:
    with pytest.raises(MismatchError, match="8 photographs are too few; expected 32"):
        simulate(tail(), SimulationSettings(images=16), leaves(8, 0))
    with pytest.raises(MismatchError, match="the layers do not fit each other"):
        _ = Tail(nn.Conv2d(7, 3, 3), 6, 2).side
    with pytest.raises(MismatchError, match="expected more than 64"):
        _ = Tail(nn.AdaptiveAvgPool2d(8), 6, 2).side
