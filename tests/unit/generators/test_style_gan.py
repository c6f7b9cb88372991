"""The compact StyleGAN2: modulation is the paper's, training keeps an average, and it is stored like the other GANs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import conv2d

from morelli import SampleSpec, TorchGenerator, load_generator
from morelli.app.methods import build_reconstruction
from morelli.app.sources import silent
from morelli.generators import latent_encoder
from morelli.generators.gan_training import GanSettings, GanTraining
from morelli.generators.small_gans import initialise
from morelli.generators.style_gan import Modulated, ResidualCritic, StyledConv, StyleGenerator
from morelli.storage.generators import save_generator


def test_scaling_both_sides_is_scaling_the_weights() -> None:
    """Source: arXiv 1912.04958, equations 1 and 3, one sample at a time."""
    torch.manual_seed(0)
    layer = Modulated(4, 5, 3)
    initialise(layer, torch.Generator().manual_seed(0))
    x, style = torch.randn(3, 4, 6, 6), torch.randn(3, 64)
    with torch.no_grad():
        scale = 1 + layer.style(style)
        for k in range(3):
            weight = layer.conv.scaled * scale[k, None, :, None, None]
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            torch.testing.assert_close(layer(x, style)[k], conv2d(x[k : k + 1], weight, padding=1)[0])


def test_the_finished_generator_is_the_average() -> None:
    data = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    run = GanTraining(GanSettings("style", width=2, batch=4, learning_rate=2e-3), data)
    expected = run.generator.start.detach().clone()
    for keep in (0.1, 2 / 11, 3 / 12):  # (1 + step)/(10 + step), until that exceeds the family's 0.99
        run.step()
        expected = keep * expected + (1 - keep) * run.generator.start.detach()
    torch.testing.assert_close(run.finished_generator().start.detach(), expected)
    assert not torch.allclose(expected, run.generator.start.detach())


def test_the_critic_sees_the_spread_within_a_batch() -> None:
    critic = ResidualCritic(2, 3, 64)
    initialise(critic, torch.Generator().manual_seed(0))
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert not torch.allclose(critic(images)[:1], critic(images[:1].expand(4, -1, -1, -1))[:1])


def test_it_is_stored_like_the_other_gans(tmp_path: Path) -> None:
    data = torch.zeros(4, 3, 64, 64)
    made = GanTraining(GanSettings("style", width=2, batch=4), data).finished_generator()
    save_generator(made, "style", tmp_path / "a.generator", {})
    again = load_generator(tmp_path / "a.generator")
    assert all(torch.equal(a.half(), b.half()) for a, b in zip(made.parameters(), again.parameters(), strict=True))


def test_images_are_made_again_from_w_and_without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_encoder, "STEPS", 2)
    monkeypatch.setattr(latent_encoder, "DRAWN", 64)
    torch.manual_seed(0)
    module = StyleGenerator(2, 3, 64, 100)
    for part in module.modules():
        if isinstance(part, StyledConv):
            part.strength.data.fill_(0.5)
    generator = TorchGenerator(module, (100, 1, 1), announce=lambda line: None)
    head = generator.head(32, whole=True)
    found = build_reconstruction(head, SampleSpec((3, 64, 64)), 0, "cpu", silent)
    assert found is not None and head.generator is not None
    assert found.generator.in_shape == (64,)
    latents = torch.randn(4, 100, 1, 1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(head.generator(latents), head.generator(latents))  # though the module draws noise
    assert not torch.equal(module(latents), module(latents))
    assert found.left(generator.samples(4, 1)).isfinite().all()
