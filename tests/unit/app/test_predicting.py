"""Enrolling from weights: a file of a decoder, a head, a whole generator; candidates only, until pictures come."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from prints import save_pictures, write_tiny
from safetensors.torch import save_file
from torch import nn
from toys import imprinting_generator

import morelli
from morelli.app import galleries, predicting
from morelli.errors import MismatchError, MorelliError, UnreadableBundle
from morelli.generators.simulation import SimulationSettings
from morelli.generators.small_gans import build_generator
from morelli.storage import gallery_folder
from morelli.storage.generators import save_generator

WORDS = "relu convt=2 relu convt=4 sigmoid"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six pictures and two steps, where users get more."""
    monkeypatch.setattr(predicting, "SimulationSettings", lambda: SimulationSettings(images=6, steps=2, batch=2))


def weights(seed: int) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.ReLU()]
        return nn.Sequential(*layers, nn.ConvTranspose2d(8, 3, 4, 2, 1)).state_dict()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("weights")
    write_tiny(place / "net")
    for seed in range(2):
        save_file(weights(seed), place / f"d{seed}.safetensors")
    save_pictures(place / "m", 0, 10)
    save_pictures(place / "q", 0, 6, seed=5)
    return place


def enrol(place: Path, gallery: Path, name: str, **options: object) -> galleries.Entry:
    return morelli.enrol(name, None, gallery, network=place / "net", **options)  # type: ignore[arg-type]


def test_a_candidate_without_a_p_value_until_pictures_come(place: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "g"
    entry = enrol(place, gallery, "d0", weights=place / "d0.safetensors", layers=WORDS)
    assert entry.predicted
    assert len(entry.fingerprints) == 12
    assert (entry.card["samples"], entry.card["weights"]["layers"]) == (0, WORDS)
    assert entry.card["weights"]["pictures"] == "simulated"
    assert any("a candidate without a p-value" in warning for warning in entry.card["warnings"])
    guessed = enrol(place, gallery, "d1", weights=place / "d1.safetensors")
    assert guessed.card["weights"]["layers"] == "relu convt relu convt tanh"
    assert any("say otherwise by --layers" in warning for warning in guessed.card["warnings"])
    found = morelli.identify(place / "q", gallery, together=True, network=place / "net").to_dict()
    (sample,) = found["samples"]
    assert (sample["identified"], sample["p_value"], sample["candidates"]) == (None, None, [])
    assert {c["name"] for c in sample["predicted"]} == {"d0", "d1"}
    assert all(c["p_value"] is None for c in sample["predicted"])
    with pytest.raises(MorelliError, match="no entry is from pictures"):
        morelli.lineage(place / "q", gallery, network=place / "net")
    upgraded = morelli.enrol("d0", place / "m", gallery, network=place / "net")  # no --overwrite
    assert not upgraded.predicted
    (sample,) = morelli.identify(place / "q", gallery, together=True, network=place / "net").to_dict()["samples"]
    assert [c["name"] for c in sample["candidates"]] == ["d0"]
    assert sample["p_value"] is not None
    assert [c["name"] for c in sample["predicted"]] == ["d1"]
    with pytest.raises(UnreadableBundle, match="has an entry 'd0'"):  # and never back by mistake
        enrol(place, gallery, "d0", weights=place / "d0.safetensors", layers=WORDS)


def test_other_weights_give_other_fingerprints(place: Path, tmp_path: Path) -> None:
    first, again, other = (
        enrol(place, tmp_path / "g", f"d{i}", weights=place / f"d{seed}.safetensors", layers=WORDS).fingerprints
        for i, seed in enumerate((0, 0, 1))
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.01)


def test_photographs_in_place_of_drawn_shapes(place: Path, tmp_path: Path) -> None:
    save_pictures(tmp_path / "photographs", 3, 12)
    plain = enrol(place, tmp_path / "g", "plain", weights=place / "d0.safetensors")
    other = enrol(
        place, tmp_path / "g", "other", weights=place / "d0.safetensors", photographs=tmp_path / "photographs"
    )
    assert not torch.allclose(plain.fingerprints, other.fingerprints, atol=0.01)


def test_a_whole_generator_draws_its_own_pictures(place: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_generator(build_generator("dcgan", 8).eval(), "dcgan", tmp_path / "gan", {})
    generator = imprinting_generator(side=64)
    head = generator.head(64)
    whole = morelli.Head(**{**vars(head), "generator": generator.program()})
    morelli.save(whole, tmp_path / "whole.head")
    for name in ("gan", "whole.head"):
        entry = enrol(place, tmp_path / "g", name, weights=tmp_path / name)
        assert not entry.predicted
        assert entry.card["samples"] == len(entry.fingerprints) == predicting.DRAWN
        assert entry.card["weights"]["pictures"] == "drawn"
    morelli.save(head, tmp_path / "last.head")
    assert enrol(place, tmp_path / "g", "last", weights=tmp_path / "last.head").predicted


def test_what_weights_cannot_give_is_refused_and_nothing_is_written(place: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "g"
    save_file({"a.kernel": torch.zeros(3)}, tmp_path / "odd.safetensors")
    small = imprinting_generator(side=32).head(16)
    morelli.save(morelli.Head(**{**vars(small), "generator": imprinting_generator(side=32).program()}), tmp_path / "s")
    cases = {
        "given neither of samples and weights": {},
        "d0.safetensors: there is no layer 'x'": {"weights": place / "d0.safetensors", "layers": "x"},
        "no tensor that ends in '.weight'; it has a.kernel": {"weights": tmp_path / "odd.safetensors"},
        "no upsampling 'cubic'": {"weights": place / "d0.safetensors", "upsample": "cubic"},
        "holds a fingerprint_network; expected a head": {"weights": place / "net"},
        "knows its layers; leave --layers out": {"weights": tmp_path / "s", "layers": WORDS},
        "a fingerprint needs pictures of 64": {"weights": tmp_path / "s"},
        "layers and photographs are for weights": {"samples": place / "m", "layers": WORDS},
        "given both": {"samples": place / "m", "weights": place / "d0.safetensors"},
    }
    for message, options in cases.items():
        samples = options.pop("samples", None)
        with pytest.raises((MismatchError, UnreadableBundle), match=message):
            morelli.enrol("x", samples, gallery, network=place / "net", **options)  # type: ignore[arg-type]
    assert not gallery.exists() or gallery_folder.names(gallery) == []
