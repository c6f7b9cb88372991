"""Latent encoders: what they learn from a generator alone, and that a search starts from what they say."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d
from toys import _seeded

from morelli import SampleSpec, TorchGenerator
from morelli.app.methods import with_encoder
from morelli.app.sources import silent
from morelli.errors import MismatchError
from morelli.features.latent_search import LatentSearch
from morelli.generators import latent_encoder
from morelli.generators.capture import capture
from morelli.generators.latent_encoder import fit_encoder
from morelli.numerics.program import Program
from morelli.storage.images import from_eight_bits, to_eight_bits

SPEC = SampleSpec((1, 12, 10), 0.0, 1.0)  # odd halves, one channel, another range


@cache
def generator() -> TorchGenerator:
    """12×10 of 5 latents."""
    layers = [nn.Linear(5, 60), nn.Tanh(), nn.Unflatten(1, (2, 6, 5)), nn.ConvTranspose2d(2, 1, 4, 2, 1), nn.Sigmoid()]
    return TorchGenerator(_seeded(nn.Sequential(*layers), 3), (5,), announce=lambda line: None)


@cache
def encoder() -> Program:
    return fit_encoder(generator().program(), 0.0, 1.0)


def test_latents_are_about_found_again_even_under_noise() -> None:
    """Measured: 0.010 clean and 0.034 under noise, of a variance of 1."""
    latents = torch.randn(200, 5, generator=torch.Generator().manual_seed(1))
    images = from_eight_bits(to_eight_bits(generator().program()(latents), SPEC), SPEC)
    noisy = images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    assert encoder()(images).shape == (200, 5)
    assert (encoder()(images) - latents).square().mean() < 0.1
    assert (encoder()(noisy) - latents).square().mean() < 0.4


def test_the_seed_decides_and_nobody_elses_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_encoder, "STEPS", 3)
    told: list[int] = []
    generator()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (fit_encoder(generator().program(), 0.0, 1.0, seed, progress=told.append) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(told) == 3 * latent_encoder.work() == 3 * (128 + 3)
    image = torch.rand(1, *SPEC.shape)
    assert torch.equal(one(image), same(image))
    assert not torch.equal(one(image), other(image))


def test_large_images_are_averaged_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_encoder, "STEPS", 2)
    monkeypatch.setattr(latent_encoder, "DRAWN", 64)
    large = nn.Sequential(generator().module, nn.Upsample((130, 128)))
    found = fit_encoder(capture(large, (5,)), 0.0, 1.0)
    image = torch.rand(2, 1, 130, 128)
    assert found(image).shape == (2, 5)
    torch.testing.assert_close(
        found(image), found(avg_pool2d(image, 2).repeat_interleave(2, 2).repeat_interleave(2, 3))
    )


def test_what_does_not_fit_is_told_before_anything_is_learned() -> None:
    wrong = LatentSearch(generator().program(), SampleSpec((1, 10, 12), 0.0, 1.0))
    with pytest.raises(MismatchError, match="channels first"):
        with_encoder(wrong, None, None, 0, "cpu", silent)
    other = replace(wrong, spec=SPEC, encoder=capture(nn.Sequential(nn.Flatten(), nn.Linear(120, 3)), SPEC.shape))
    with pytest.raises(MismatchError, match="other latents"):
        other.extract(torch.rand(1, *SPEC.shape))


def test_a_search_starts_there_and_is_stored_with_it() -> None:
    plain = LatentSearch(generator().program(), SPEC, restarts=1)
    led = replace(plain, encoder=encoder())
    samples = from_eight_bits(to_eight_bits(generator().samples(20, 7), SPEC), SPEC)
    found, usual = led.extract(samples), plain.extract(samples)
    assert found.notes["steps"].mean() < usual.notes["steps"].mean()
    assert found.notes["psnr"].median() > 50
    again = LatentSearch.from_state(led.state())
    assert torch.equal(again.extract(samples).values, found.values)
    assert LatentSearch.from_state(plain.state()).encoder is None
