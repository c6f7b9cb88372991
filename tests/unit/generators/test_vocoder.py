"""Vocoders: shapes, heads, a training that learns and resumes to the same bits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from morelli import TorchGenerator
from morelli.errors import MismatchError, MorelliError
from morelli.generators.vocoder import HOP, VOCODERS, build_vocoder
from morelli.generators.vocoder_training import VocoderSettings, VocoderTraining, spectral_loss, without_parametrisation
from morelli.numerics.activation import Tanh

MELS = 8


def speech() -> torch.Tensor:
    time = torch.arange(12_000) / 16_000
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    return 0.3 * torch.sin(2 * math.pi * (200 + 100 * time) * time) + 0.01 * noise


def training(family: str = "hifigan", **settings: object) -> VocoderTraining:
    usual = VocoderSettings(family, 40, 1, width=1, mels=MELS, batch=2, frames=8, learning_rate=5e-3)
    return VocoderTraining(replace(usual, **settings), speech())  # type: ignore[arg-type]


@pytest.mark.parametrize("family", VOCODERS)
def test_a_frame_becomes_256_samples_and_the_head_is_found(family):
    module = without_parametrisation(build_vocoder(family, width=2, mels=MELS))
    generator = TorchGenerator(module, (MELS, 5), announce=lambda line: None)
    head = generator.head(8)
    assert head.map.out_shape == (1, 5 * HOP)
    assert head.map.state().tensors["weight"].shape == (1, 2, 7)
    assert isinstance(head.activation, Tanh)
    again = head.forward(generator.activations(3, 1))
    assert torch.allclose(again, generator.samples(3, 1), atol=1e-5)


@pytest.mark.parametrize("family", VOCODERS)
def test_training_resumes_to_the_same_bits(family):
    whole, first, second = training(family), training(family), training(family)
    for _ in range(3):
        whole.step()
    first.step()
    first.step()
    second.restore(first.state())
    losses = second.step()
    assert set(losses) == {"spectral", "critic", "adversarial"}
    for name, tensor in whole.generator.state_dict().items():
        assert torch.equal(tensor, second.generator.state_dict()[name]), name


def test_training_learns_and_a_finished_generator_does_the_same():
    run = training(alone=40)
    before = sum(run.step()["spectral"] for _ in range(5))
    for _ in range(25):
        run.step()
    assert sum(run.step()["spectral"] for _ in range(5)) < 0.8 * before
    mels = torch.randn(2, MELS, 4)
    with torch.no_grad():
        assert torch.allclose(run.finished_generator()(mels), run.generator(mels), atol=1e-5)


def test_seeds_differ():
    one, other = (training(seed=seed).generator.state_dict() for seed in (0, 1))
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_spectral_loss_is_zero_for_the_same_and_only_then():
    wave = speech()[None, :8192]
    assert float(spectral_loss(wave, wave)) == 0
    assert float(spectral_loss(wave, wave.flip(1))) > 0.1


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(MismatchError, match="less than one clip"):
        VocoderTraining(VocoderSettings("melgan", 1, 1), torch.zeros(1000))
    with pytest.raises(MismatchError, match="the checkpoint is of"):
        training().restore(training(seed=1).state())
    with pytest.raises(MorelliError, match="no vocoder 'wavenet'; there are melgan, hifigan"):
        build_vocoder("wavenet")
