"""The loader of the medical experiment: what it takes, what becomes of it, what it refuses."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from morelli.errors import MismatchError, TooFewSamples, UnreadableSample
from morelli.storage.samples import find, read_all

FOLDER = Path(__file__).parents[3] / "experiments" / "medical"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def patches() -> ModuleType:
    return script("patches")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, shape in (("benign", (128, 128)), ("malignant", (300, 256))):
        (tmp_path / "given" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "given" / name / f"{i}.png")
    return tmp_path / "given"


def test_pictures_of_one_kind_in_a_folder_per_class(patches: ModuleType, folder: Path, tmp_path: Path) -> None:
    (folder / "labels.csv").write_text("a,b")
    Image.new("L", (200, 127)).save(folder / "benign" / "small.png")
    Image.new("RGB", (128, 128), (9, 0, 0)).save(folder / "benign" / "colour.png")
    about = patches.prepare(folder, tmp_path / "work")
    assert about["images"] == {"benign": 3, "malignant": 3}
    assert [text.split()[0] for text in about["refused"]] == ["colour.png", "small.png", "labels.csv"]
    written = read_all(find(tmp_path / "work" / "images"), patches.SPEC)
    assert not written.refused
    assert {(facts["format"], facts["mode"], facts["bits"]) for facts in written.facts} == {("PNG", "I;16", 16)}
    given = np.asarray(Image.open(folder / "benign" / "0.png")).astype(int)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "work" / "images" / "benign" / "00000.png")), given * 257)


def test_the_centre_is_averaged(patches: ModuleType, folder: Path) -> None:
    given = np.asarray(Image.open(folder / "malignant" / "1.png")).astype(float)
    means = given[22:278].reshape(128, 2, 128, 2).mean((1, 3))  # 300×256: the central 256 rows
    patch = patches.patch(folder / "malignant" / "1.png")
    np.testing.assert_allclose(patch[0], means / 127.5 - 1, atol=1e-5)
    assert not np.allclose(patch[0], given[:256].reshape(128, 2, 128, 2).mean((1, 3)) / 127.5 - 1, atol=0.1)


@pytest.mark.parametrize("shape", [(128, 190), (333, 217)])
def test_a_grey_area_keeps_its_value_in_16_bits(patches: ModuleType, tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.fromarray(np.full(shape, 40_000, np.uint16)).save(tmp_path / "x.tif")
    torch.testing.assert_close(patches.patch(tmp_path / "x.tif"), torch.full((1, 128, 128), 40_000 / 32_767.5 - 1))


def test_pictures_are_made_once(patches: ModuleType, folder: Path, tmp_path: Path) -> None:
    about = patches.prepare(folder, tmp_path / "work")
    (tmp_path / "work" / "images" / "benign" / "00000.png").unlink()
    assert patches.prepare(folder, tmp_path / "work") == about
    assert len(find(tmp_path / "work" / "images")) == 5
    (folder / "benign" / "0.png").unlink()
    with pytest.raises(MismatchError, match=r"is of other images \(given\)"):
        patches.prepare(folder, tmp_path / "work")


def test_what_cannot_be_learnt_from_is_refused(patches: ModuleType, folder: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    with pytest.raises(UnreadableSample, match="does not exist"):
        patches.prepare(tmp_path / "nowhere", work)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableSample, match="holds no files"):
        patches.prepare(tmp_path / "empty", work)
    (tmp_path / "empty" / "notes.txt").write_text("none")
    with pytest.raises(UnreadableSample, match="none of 1 files is a grey image"):
        patches.prepare(tmp_path / "empty", work)
    (folder / "benign").rename(folder / "malignant" / "deeper")
    with pytest.raises(MismatchError, match="two labels or more"):
        patches.prepare(folder, work)
    with pytest.raises(TooFewSamples, match="malignant has 3; at least 10"):
        patches.check({"benign": 10, "malignant": 3}, 10)
    assert not work.exists()


def test_dicom_is_read_in_its_window(patches: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="writing DICOM takes pydicom")
    units = np.random.default_rng(0).integers(-1024, 3034, (128, 128)).astype(np.int16)
    script("ct").write(units, tmp_path / "x.dcm")
    expected = ((units + 450) / 1499).clip(0, 1) * 2 - 1  # centre 300, width 1500
    found = patches.patch(tmp_path / "x.dcm")
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    assert len(found.unique()) > 1400


def test_latents_of_images_are_whitened() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(150, 1, 128, 128, generator=rng)
    warm = script("warm")
    latents = warm.components(images, rng)
    torch.testing.assert_close(latents.T @ latents / 150, torch.eye(100), atol=1e-3, rtol=0)
    assert (warm.components(images, rng) - latents).abs().max() > 1


def test_labels_draw_their_own_latents() -> None:
    warm = script("warm")
    labels = torch.tensor([0, 1, 1] * 4)
    settings = warm.GanSettings("c-dcgan", 4, None, 4)
    training = warm.GanTraining(settings, torch.zeros(12, 1, 128, 128), labels)
    values = warm.drawing(labels, training, torch.Generator().manual_seed(0))
    codes = training._label().code(torch.cat([torch.zeros(12, 100), values], 1)[..., None, None])
    assert torch.equal(codes.flatten(1).argmax(1), labels)
