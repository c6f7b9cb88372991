"""Folders in the manner of Hugging Face: the bundle's bytes under other names, a card, and nothing fetched or run."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from toys import imprinting_generator, imprinting_samples, toy_heads, write_tiny_autoencoder

import morelli
from morelli import Attributor, Head
from morelli.app import autoencoders
from morelli.app.autoencoders import head_from_autoencoder
from morelli.app.describing import promise
from morelli.errors import MorelliError, UnreadableBundle
from morelli.generators.latent_decoder import Autoencoder

FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture(scope="module")
def head() -> Head:
    return imprinting_generator(side=16).head(64)


@pytest.fixture(scope="module")
def attributor(head: Head) -> Attributor:
    return morelli.train(head, imprinting_samples(60, 1, side=16), rate=0.05)


def test_a_head_comes_back_with_its_digest(head: Head, tmp_path: Path) -> None:
    digest = morelli.save_pretrained(head, tmp_path / "hub")
    assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == FILES
    assert digest == morelli.save(head, tmp_path / "a.head")
    assert (tmp_path / "hub/config.json").read_bytes() == (tmp_path / "a.head/manifest.json").read_bytes()
    found = morelli.from_pretrained(tmp_path / "hub")
    assert isinstance(found, Head)
    assert torch.equal(found.anchor, head.anchor)
    assert isinstance(morelli.from_pretrained(tmp_path / "a.head"), Head)  # a plain bundle too
    assert morelli.inspect(tmp_path / "hub")["digest"] == digest
    for name, toy in toy_heads().items():
        assert morelli.save_pretrained(toy, tmp_path / name)


def test_an_attributor_says_the_same_and_every_function_reads_it(
    attributor: Attributor, head: Head, tmp_path: Path
) -> None:
    morelli.save_pretrained(attributor, tmp_path / "hub")
    found, samples = morelli.from_pretrained(tmp_path / "hub"), imprinting_samples(10, 2, side=16)
    assert isinstance(found, Attributor)
    assert found.judge(samples) == attributor.judge(samples)
    morelli.write_image(samples[0], tmp_path / "a.png", morelli.SampleSpec((3, 16, 16)))
    report = morelli.attribute(tmp_path / "a.png", tmp_path / "hub")
    assert report.attributor["name"] == "hub"
    morelli.save_pretrained(head, tmp_path / "head")
    assert morelli.train(tmp_path / "head", imprinting_samples(60, 1, side=16), rate=0.05).threshold == found.threshold


def test_the_card_says_what_is_inside(attributor: Attributor, head: Head, tmp_path: Path) -> None:
    morelli.save_pretrained(attributor, tmp_path / "a")
    text = (tmp_path / "a/README.md").read_text()
    assert text.startswith("---\nlibrary_name: morelli\n")
    for said in ("| method | imprint |", "| false-rejection rate | 5.00% |", "| reads | 3×16×16 |", "no population"):
        assert said in text, said
    for warning in attributor.card["warnings"]:
        assert f"- {warning}" in text
    assert str(tmp_path) not in text
    assert promise(attributor) in text and "in turn" in text and "at most" not in text
    morelli.save_pretrained(head, tmp_path / "h")
    assert "treat it as you treat the model" in (tmp_path / "h/README.md").read_text()
    (tmp_path / "h/README.md").write_text("edited")
    assert isinstance(morelli.from_pretrained(tmp_path / "h"), Head)


def test_what_was_changed_is_refused(head: Head, tmp_path: Path) -> None:
    morelli.save_pretrained(head, tmp_path / "hub")
    raw = bytearray((tmp_path / "hub/model.safetensors").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "hub/model.safetensors").write_bytes(raw)
    with pytest.raises(UnreadableBundle, match=r"model\.safetensors does not have the digest in config\.json"):
        morelli.from_pretrained(tmp_path / "hub")


def test_folders_are_replaced_only_when_told_and_only_ours(head: Head, attributor: Attributor, tmp_path: Path) -> None:
    place = tmp_path / "hub"
    morelli.save_pretrained(head, place)
    with pytest.raises(UnreadableBundle, match="overwrite"):
        morelli.save_pretrained(head, place)
    with pytest.raises(UnreadableBundle, match="holds a head"):
        morelli.save_pretrained(attributor, place, overwrite=True)
    morelli.save_pretrained(head, place, overwrite=True)
    morelli.save(head, place, overwrite=True)
    assert sorted(path.name for path in place.iterdir()) == ["manifest.json", "tensors.safetensors"]
    (place / ".git").mkdir()
    with pytest.raises(UnreadableBundle, match=r"also holds \.git; it is left alone"):
        morelli.save_pretrained(head, place, overwrite=True)
    with pytest.raises(MorelliError, match="a Linear cannot be saved"):
        morelli.save_pretrained(nn.Linear(1, 1), tmp_path / "no")  # type: ignore[arg-type]


def test_what_is_no_folder_of_ours_is_told(head: Head, tmp_path: Path) -> None:
    with pytest.raises(UnreadableBundle, match="Nothing is fetched"):
        morelli.from_pretrained("stabilityai/sd-vae-ft-mse")
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Bert"], "model_type": "bert"}))
    with pytest.raises(UnreadableBundle, match="holds neither a head or an attributor"):
        morelli.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UnreadableBundle, match=r"config\.json is damaged"):
        morelli.from_pretrained(tmp_path)
    morelli.save_pretrained(head, tmp_path / "hub")
    with pytest.raises(MorelliError, match="size given, but only an autoencoder takes it"):
        morelli.from_pretrained(tmp_path / "hub", size=64)


def test_a_folder_of_diffusers_gives_its_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = write_tiny_autoencoder(tmp_path / "vae")
    (tmp_path / "vae/config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    told = head_from_autoencoder(decoder, tmp_path / "v.head", size=32, draws=4)
    assert "convolution" in told
    same = morelli.load(tmp_path / "v.head")
    asked: list[Path] = []

    def load_autoencoder(path: Path) -> Autoencoder:  # reading such folders is tested elsewhere, and takes diffusers
        asked.append(path)
        return morelli.load_autoencoder(decoder)

    monkeypatch.setattr(autoencoders, "load_autoencoder", load_autoencoder)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/model_index.json").write_text("{}")
    for folder in (tmp_path / "vae", tmp_path / "pipeline"):
        found = morelli.from_pretrained(folder, size=32, draws=4)
        assert isinstance(found, Head)
        assert isinstance(same, Head)
        assert torch.equal(same.anchor, found.anchor)
        assert asked[-1] == folder
