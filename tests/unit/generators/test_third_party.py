"""Generators that other people trained, where their weights are at hand."""

import importlib.util
import os
from pathlib import Path

import pytest
import torch
from torch import nn

import morelli

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("MORELLI_DATA", ROOT.parent / "shared" / "data")) / "generators"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no third-party weights: set MORELLI_DATA to use them")


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("third_party", ROOT / "experiments" / "third_party" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "WEIGHTS", DATA)
    return module


def check(module: nn.Module, latent: tuple[int, ...], shape: tuple[int, ...], activation: type) -> None:
    found = morelli.TorchGenerator(module, latent, announce=lambda line: None)
    assert found.samples(2, 0).shape == (2, *shape)
    assert isinstance(found.activation, activation)
    head = found.head(64, 0)
    assert torch.allclose(head.forward(found.activations(4, 1)), found.samples(4, 1), atol=1e-5)


@pytest.mark.parametrize("name", ["celeba64_vae", "celeba64_betavae"])
def test_vae(build, name: str) -> None:
    check(build.vae_decoder(f"{name}.safetensors"), (10,), (3, 64, 64), morelli.Sigmoid)


def test_mnist(build) -> None:
    check(build.mnist_wgan(), (64, 1, 1), (1, 28, 28), morelli.Tanh)
