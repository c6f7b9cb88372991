"""Training on a folder: the labels of a conditional GAN are its sub-folders' names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from morelli import SampleSpec, write_image
from morelli.app.gans import read_labels, train_gan
from morelli.errors import MismatchError
from morelli.storage.generators import load_generator

SMALL = {"family": "c-dcgan", "width": 4, "batch": 4, "channels": 1, "size": 128}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = torch.Generator().manual_seed(0)
    for name, count in (("benign", 3), ("malignant", 2)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(count):
            sample = torch.rand(1, 128, 128, generator=rng)
            write_image(sample, tmp_path / "images" / name / f"{i}.png", SampleSpec((1, 128, 128), 0.0))
    return tmp_path / "images"


def test_a_conditional_gan_of_128_by_128_grey_images(images: Path, tmp_path: Path) -> None:
    (images / "benign" / "notes.txt").write_text("no picture")
    made = train_gan(images, tmp_path / "g", steps=1, **SMALL)
    latents = torch.randn(2, 101, 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(load_generator(tmp_path / "g")(latents), made(latents))
        assert made(latents).shape == (2, 1, 128, 128)
    settings = json.loads((tmp_path / "g" / "manifest.json").read_text())["content"]["settings"]
    assert (settings["size"], settings["classes"]) == (128, 2)
    assert settings["provenance"]["labels"] == ["benign", "malignant"]
    assert settings["provenance"]["images"] == 5


def test_labels_are_sub_folders(images: Path) -> None:
    files = [images / "b" / "1.png", images / "a" / "x" / "2.png", images / "b" / "3.png"]
    names, labels = read_labels(images, files)
    assert names == ["a", "b"]
    assert labels.tolist() == [1, 0, 1]
    with pytest.raises(MismatchError, match="two labels or more"):
        read_labels(images, files[:1])
    with pytest.raises(MismatchError, match=r"loose\.png lies in no sub-folder"):
        read_labels(images, [*files, images / "loose.png"])
