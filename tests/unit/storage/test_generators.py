"""Shipped generators: small, whole, and what their names promise."""

from pathlib import Path

import pytest
import torch

import morelli
from morelli.errors import UnreadableBundle
from morelli.generators.small_gans import build_generator
from morelli.storage.generators import load_generator, save_generator, shipped_generators

CLOTHING = ["clothing-dcgan", "clothing-dcgan-b", "clothing-ebgan", "clothing-lsgan", "clothing-wgan-gp"]


def test_five_are_shipped_and_small() -> None:
    assert shipped_generators() == CLOTHING
    folder = Path(morelli.__file__).parent / "demo"
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 16e6


@pytest.mark.parametrize("name", CLOTHING)
def test_samples(name: str) -> None:
    module = load_generator(name)
    found = morelli.TorchGenerator(module, (100, 1, 1), announce=lambda line: None)
    samples = found.samples(64, seed=0)
    assert samples.shape == (64, 3, 64, 64)
    assert samples.abs().max() <= 1
    assert isinstance(found.activation, morelli.Tanh)
    assert samples.std(0).mean() > 0.1  # not one picture over and over; 0.2 to 0.6 when they were trained


def test_siblings_differ() -> None:
    one, other = (load_generator(name)[-2].weight for name in CLOTHING[:2])
    assert not torch.allclose(one, other, atol=1e-2)


def test_round_trip_in_half_precision(tmp_path: Path) -> None:
    module = load_generator("clothing-lsgan")
    save_generator(module, "lsgan", tmp_path / "g", {"steps": 1})
    again = load_generator(tmp_path / "g")
    for one, other in zip(module.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_conditional_generator_of_128_by_128(tmp_path: Path) -> None:
    module = build_generator("c-dcgan", 4, 1, 128, classes=3).eval()
    module[0].share_like(torch.tensor([0, 1, 1, 2]))
    save_generator(module, "c-dcgan", tmp_path / "g", {}, size=128)
    found = morelli.TorchGenerator(load_generator(tmp_path / "g"), (101, 1, 1), announce=lambda line: None)
    assert found.samples(2, seed=0).shape == (2, 1, 128, 128)
    assert torch.equal(found.module[0].bounds, module[0].bounds.half().float())


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableBundle, match="shipped are clothing-dcgan"):
        load_generator("clothing-vqgan")
    with pytest.raises(UnreadableBundle, match="no family 'vae'"):
        save_generator(load_generator("clothing-lsgan"), "vae", tmp_path / "g", {})
    save_generator(load_generator("clothing-lsgan"), "dcgan", tmp_path / "mislabelled", {})
    with pytest.raises(UnreadableBundle, match="not a small GAN"):
        load_generator(tmp_path / "mislabelled")
    save_generator(load_generator("clothing-lsgan"), "lsgan", tmp_path / "large", {}, size=256)
    with pytest.raises(UnreadableBundle, match=r"not a small GAN.*64×64 or 128×128"):
        load_generator(tmp_path / "large")
