"""From an autoencoder on disk to verdicts on images of any size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import write_tiny_autoencoder

import morelli
from morelli.app.autoencoders import head_from_autoencoder
from morelli.app.bundles import load_head
from morelli.app.methods import default_method
from morelli.errors import MismatchError, MorelliError, UnreadableBundle, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.numerics.file_form import FileForm
from morelli.storage.latents import read_latents
from morelli.storage.samples import read_picture


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two autoencoders, photographs of two sizes, one broken, and latents."""
    place = tmp_path_factory.mktemp("owner")
    for seed, name in enumerate(("mine", "theirs")):
        write_tiny_autoencoder(place / name, seed=seed)
    rng = np.random.default_rng(0)
    (place / "photos").mkdir()
    for i in range(30):
        small = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        side = (64, 80) if i % 2 else (50, 33)
        Image.fromarray(small).resize(side, Image.Resampling.BICUBIC).save(place / f"photos/{i:02d}.jpg", quality=95)
    (place / "photos/torn.jpg").write_bytes((place / "photos/00.jpg").read_bytes()[:200])
    np.save(place / "latents.npy", rng.standard_normal((60, 4, 6, 7)).astype(np.float32))
    return place


@pytest.fixture(scope="module")
def own(place: Path) -> Path:
    morelli.reconstruct(place / "mine/toy_decoder.safetensors", place / "latents.npy", place / "own")
    return place / "own"


def test_photographs_are_encoded_and_decoded(place: Path) -> None:
    file = place / "mine/toy_decoder.safetensors"
    found = morelli.reconstruct(file, place / "photos", place / "from-photos", size=64)
    assert (found.written, len(found.refused)) == (30, 1)
    assert "torn.jpg" in found.refused[0][1]
    written = {x.stem: read_picture(x)[0] for x in (place / "from-photos").iterdir()}
    assert {tuple(x.shape) for x in written.values()} == {(3, 64, 64), (3, 32, 48)}
    model = morelli.load_autoencoder(file)
    photograph = read_picture(place / "photos/01.jpg")[0][None, :, 8:72] / 255
    expected = (model.decode(model.encode(photograph)) * 255).round()[0]
    assert (written["01"] - expected).abs().max() <= 1


def test_nothing_is_written_on_failure(place: Path, own: Path) -> None:
    file = place / "mine/toy_decoder.safetensors"
    before = sorted(place.iterdir())
    with pytest.raises(UnreadableBundle, match="exists"):
        morelli.reconstruct(file, place / "photos", own)
    with pytest.raises(UnreadableSample, match="none of 1 files"):
        morelli.reconstruct(file, place / "photos/torn.jpg", place / "none")
    np.save(place / "photos/wide.npy", np.zeros((2, 16, 4, 4), dtype=np.float32))
    with pytest.raises(MismatchError, match="of another model"):
        morelli.reconstruct(file, place / "photos/wide.npy", place / "none")
    (place / "photos/wide.npy").unlink()
    assert sorted(place.iterdir()) == before


@pytest.fixture(scope="module")
def head(place: Path) -> Path:
    file, latents = place / "mine/toy_decoder.safetensors", place / "latents.npy"
    head_from_autoencoder(file, place / "my.head", source=latents, draws=8, size=32)
    return place / "my.head"


def test_images_of_any_larger_size_are_judged_by_a_window(place: Path, head: Path) -> None:
    rng = np.random.default_rng(1)
    sets = {"own": ("mine", 50, (8, 8)), "more": ("mine", 20, (9, 11)), "theirs": ("theirs", 20, (9, 11))}
    for name, (model, count, sides) in sets.items():
        np.save(place / "wide.npy", rng.standard_normal((count, 4, *sides)).astype(np.float32))
        morelli.reconstruct(place / f"{model}/toy_decoder.safetensors", place / "wide.npy", place / f"wide-{name}")
    attributor = morelli.train(head, place / "wide-own", rate=0.05, perturb=("none",))
    assert attributor.extractor.spec == SampleSpec((3, 32, 32), 0.0, 1.0, form=FileForm(grid=16))
    for name, least, most in (("more", 0.75, 1.0), ("theirs", 0.0, 0.2)):
        found = morelli.attribute(place / f"wide-{name}", attributor)
        assert least <= found.counts()["attributed"] / 20 <= most
        assert found.judged[0].facts["notes"] == ["the 32x32 pixels at (16, 16) were read"]
    Image.new("RGB", (48, 64)).save(place / "narrow.png")
    (small,) = morelli.attribute(place / "narrow.png", attributor).judged
    assert small.verdict.outcome.value == "inconclusive"
    assert "this model reads 32x32 from the middle of 64x64 or more" in small.verdict.reason


def test_own_samples_of_the_windows_size_are_read_whole(head: Path, place: Path) -> None:
    file = place / "mine/toy_decoder.safetensors"
    np.save(place / "small.npy", np.random.default_rng(2).standard_normal((60, 4, 4, 4)).astype(np.float32))
    morelli.reconstruct(file, place / "small.npy", place / "whole")
    spec = morelli.train(head, place / "whole", rate=0.05, perturb=("none",)).extractor.spec
    assert (spec.form.grid, spec.shape) == (0, (3, 32, 32))


def test_a_window_begins_on_the_grid_and_away_from_borders() -> None:
    spec = SampleSpec((3, 32, 32), form=FileForm(grid=16))
    assert [spec.place(n, 64) for n in (64, 95, 96, 128, 132)] == [(16, 16), (16, 16), (32, 16), (48, 16), (48, 16)]
    assert spec.place(63, 64) is None
    assert spec.place(32, 32) is None
    assert SampleSpec((3, 32, 32)).place(48, 32) is None
    assert SampleSpec((3, 32, 32)).place(32, 32) == (0, 0)
    assert SampleSpec.from_settings(spec.settings()) == spec


def test_aedr_end_to_end(place: Path, own: Path) -> None:
    file = place / "mine/toy_decoder.safetensors"
    head_from_autoencoder(file, place / "whole.head", draws=4, size=16, whole=True)
    morelli.train(place / "whole.head", own, method="aedr", rate=0.05, out=place / "my.attributor")
    found = morelli.attribute(own, place / "my.attributor")
    assert found.counts()["attributed"] >= 57
    assert {"first", "second"} <= set(found.judged[0].verdict.notes)


def test_the_latents_of_an_autoencoder_are_searched_through(place: Path, own: Path) -> None:
    head = place / "searched.head"
    head_from_autoencoder(place / "mine/toy_decoder.safetensors", head, draws=4, size=16, whole=True)
    assert default_method(load_head(head)) == "reconstruction"
    assert default_method(replace(load_head(head), autoencoder=None)) == "imprint"
    with pytest.raises(MorelliError, match="Give steps only"):
        morelli.train(head, own, method="latent", rate=0.05, restarts=2)
    attributor = morelli.train(head, own, method="latent", steps=4, rate=0.05, out=place / "searched.attributor")
    assert attributor.card["own"]["held_out"] == 60
    found = morelli.attribute(own, place / "searched.attributor")
    assert found.counts()["attributed"] >= 57
    assert {"psnr", "steps"} <= set(found.judged[0].verdict.notes)


def test_latents_on_disk(place: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    one, two = torch.randn(4, 3, 2), torch.randn(2, 4, 3, 2)
    save_file({"b": two, "a": one}, tmp_path / "x.safetensors")
    assert torch.equal(read_latents(tmp_path / "x.safetensors"), torch.cat([one[None], two]))
    save_file({"b": two, "a": torch.zeros(4, 2, 2)}, tmp_path / "y.safetensors")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "nan.npy", np.full((1, 4, 2, 2), np.nan))
    for name, words in (("y.safetensors", "all of one size"), ("objects.npy", "no latents"), ("nan.npy", "not finite")):
        with pytest.raises(UnreadableSample, match=words):
            read_latents(tmp_path / name)
