"""Latent decoders on the command line, in the words of docs/latent.md."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import write_tiny_autoencoder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("user")
    write_tiny_autoencoder(place / "vae")
    (place / "photos").mkdir()
    np.save(place / "latents.npy", np.random.default_rng(1).standard_normal((60, 4, 8, 8)).astype(np.float32))
    rng = np.random.default_rng(0)
    for i in range(50):
        small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(small).resize((64, 72), Image.Resampling.BICUBIC).save(place / f"photos/{i:02d}.png")
    return place


@pytest.fixture
def run(place: Path, run_in):
    return run_in(place)


def test_from_an_autoencoder_to_verdicts(run) -> None:
    file = "vae/toy_decoder.safetensors"
    code, out, err = run("head", "--diffusers", file, "--source", "photos", "--size", 32, "--out", "my.head")
    assert code == 0, err
    assert "last linear layer: layer '19'" in out
    code, out, err = run("reconstruct", file, "photos", "--out", "from-photos")
    assert (code, "written: 50 images to from-photos" in out) == (0, True), err
    code, out, err = run("reconstruct", file, "latents.npy", "--out", "own")
    assert code == 0, err
    assert "written: 60 images to own" in out
    code, out, err = run(
        "train", "my.head", "--own", "own", "--rate", 0.05, "--perturb", "none", "--out", "a.attributor"
    )
    assert code == 0, err
    code, out, err = run("attribute", "own", "--with", "a.attributor", "--json")
    assert code == 0, err
    assert json.loads(out)["summary"]["attributed"] >= 54


def test_one_thing_makes_a_head(run) -> None:
    for words in (("head", "--out", "x.head"), ("head", "a:b", "--diffusers", "vae", "--out", "x.head")):
        code, _, err = run(*words)
        assert code == 2
        assert "give one source" in err


def test_a_head_without_an_autoencoder_says_how_to_get_one(run) -> None:
    run("head", "--diffusers", "vae/toy_decoder.safetensors", "--draws", 2, "--size", 16, "--out", "plain.head")
    code, _, err = run("train", "plain.head", "--own", "photos", "--method", "aedr", "--out", "y.attributor")
    assert code == 2
    assert "--diffusers … --whole" in err


def test_a_head_with_its_autoencoder(run) -> None:
    """By default its losses are looked at, for which 60 images are few; by name its latents are searched through."""
    file = "vae/toy_decoder.safetensors"
    run("head", "--diffusers", file, "--size", 16, "--draws", 2, "--whole", "--out", "whole.head")
    run("reconstruct", file, "latents.npy", "--out", "decoded")
    options = ("train", "whole.head", "--own", "decoded", "--rate", 0.1, "--out", "searched.attributor")
    code, _, err = run(*options)
    assert (code, "own samples are too few for 30 features that explain" in err) == (2, True), err
    code, _, err = run(*options, "--method", "latent", "--steps", 2)
    assert code == 0, err
    code, out, err = run("inspect", "searched.attributor", "--json")
    assert (code, '"latent"' in out) == (0, True), err
