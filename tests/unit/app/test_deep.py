"""Grey images of more than eight bits, from a head to verdicts: DICOM and PNG, and reports without patients."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from torch import Tensor

import morelli
from morelli.app.bundles import load_attributor, load_head
from morelli.app.heads import head_from_factory
from morelli.app.pages import write_report
from morelli.errors import MismatchError, MorelliError, OutOfRange
from morelli.features.inversion import Inversion
from morelli.features.latent_search import LatentSearch
from morelli.features.observation import EightBit
from morelli.numerics.file_form import FileForm
from morelli.storage.samples import stored, write_image

LEVELS, WINDOW = 4096, (2048.0, 4096.0)
NAMES = ("Doe", "19450508", "4711-geheim", "General Hospital")


@pytest.fixture(scope="module")
def generator() -> morelli.TorchGenerator:
    return morelli.TorchGenerator(toys.grey_images(), (toys.LATENT,), announce=lambda line: None)


@pytest.fixture(scope="module")
def head(generator: morelli.TorchGenerator) -> morelli.Head:
    return replace(generator.head(256), form=FileForm(levels=LEVELS, window=WINDOW))


def write_dicom(sample: Tensor, path: Path) -> None:
    """As an owner's pipeline might: 12 bits, a window to look at, a patient."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    values = ((sample[0].double() + 1) / 2 * (LEVELS - 1)).round().numpy().astype(np.uint16)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.7"), UID("1.2.3")
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.PatientName, data.PatientBirthDate, data.PatientID, data.InstitutionName = "Doe^Jane", *NAMES[1:]
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.WindowCenter, data.WindowWidth = 1000, 500
    data.PixelData = values.tobytes()
    data.save_as(path, enforce_file_format=True)


def folder(path: Path, samples: Tensor, write: Callable[[Tensor, Path], None], suffix: str) -> Path:
    path.mkdir()
    for i, sample in enumerate(samples):
        write(sample, path / f"{i:03d}{suffix}")
    return path


def test_dicom_folder_to_verdict_without_a_patient(
    tmp_path: Path, head: morelli.Head, generator: morelli.TorchGenerator
) -> None:
    pytest.importorskip("pydicom", reason="writing DICOM takes pydicom")
    own = folder(tmp_path / "own", generator.samples(120, 1), write_dicom, ".dcm")
    foreign = morelli.TorchGenerator(toys.grey_images(3), (toys.LATENT,), announce=lambda line: None)
    suspects = folder(tmp_path / "suspects", generator.samples(6, 2), write_dicom, ".dcm")
    for i, sample in enumerate(foreign.samples(6, 2)):
        write_dicom(sample, suspects / f"other{i}.dcm")
    write_dicom(torch.zeros(1, 16, 16), suspects / "small.dcm")
    (suspects / "torn.dcm").write_bytes((suspects / "000.dcm").read_bytes()[:700])
    morelli.train(head, own, rate=0.05, out=tmp_path / "my.attributor")
    attributor = load_attributor(tmp_path / "my.attributor")[0]
    assert attributor.extractor.spec.form.levels == LEVELS and attributor.extractor.spec.form.window == WINDOW
    assert any("of which no corruption is known" in text for text in attributor.card["warnings"])
    report = morelli.attribute(suspects, tmp_path / "my.attributor", csv=tmp_path / "v.csv")
    outcomes = {Path(each.file).name: each.verdict.outcome.value for each in report.judged}
    assert [outcomes[f"other{i}.dcm"] for i in range(6)] == ["not attributed"] * 6
    assert sum(outcomes[f"{i:03d}.dcm"] == "attributed" for i in range(6)) >= 5  # 6 when this was written
    assert outcomes["small.dcm"] == "inconclusive"
    assert [Path(each.file).name for each in report.refused] == ["torn.dcm"]
    write_report(report, tmp_path / "my.attributor", tmp_path / "r.html")
    texts = [json.dumps(report.to_dict()), (tmp_path / "v.csv").read_text(), (tmp_path / "r.html").read_text()]
    texts += [file.read_bytes().decode("latin-1") for file in (tmp_path / "my.attributor").iterdir()]
    assert not any(name in text for name in NAMES for text in texts)
    assert "DICOM" in texts[0] and "data:image/png" in texts[2]


def test_training_learns_from_what_files_hold(
    tmp_path: Path, head: morelli.Head, generator: morelli.TorchGenerator
) -> None:
    made = generator.samples(70, 1)
    spec = Inversion(head).spec
    files = folder(tmp_path / "own", made, lambda sample, path: write_image(sample, path, spec), ".png")
    of_files = morelli.train(head, files, rate=0.05)
    of_tensor = morelli.train(head, stored(made, spec), rate=0.05)
    torch.testing.assert_close(of_files.held_out, of_tensor.held_out, rtol=1e-3, atol=1e-3)
    eight = morelli.train(replace(head, form=FileForm(levels=256)), made, rate=0.05, perturb=("none",))
    assert (eight.held_out - of_tensor.held_out).abs().max() > 1e-2


def test_eight_bits_of_a_deep_model_are_not_judged(
    tmp_path: Path, head: morelli.Head, generator: morelli.TorchGenerator
) -> None:
    attributor = morelli.train(head, generator.samples(70, 1), rate=0.05)
    write_image(
        generator.samples(1, 2)[0], tmp_path / "x.png", replace(Inversion(head).spec, form=FileForm(levels=256))
    )
    (judged,) = morelli.attribute(tmp_path / "x.png", attributor).judged
    assert judged.verdict.outcome.value == "inconclusive"
    assert "holds 256 levels of grey; this model's files hold 4096" in judged.verdict.reason


def test_what_is_known_of_eight_bits_alone_is_refused(head: morelli.Head, generator: morelli.TorchGenerator) -> None:
    own = generator.samples(70, 1)
    with pytest.raises(MismatchError, match="Leave `perturb` out"):
        morelli.train(head, own, rate=0.05, perturb=("jpeg:80",))
    with pytest.raises(MismatchError, match="which eight bits do not hold"):
        morelli.train(head, own, own, method="flipad", detector="lda", rate=0.05, perturb=("jpeg:80",))
    with pytest.raises(MismatchError, match=r"JPEG cells are of 8-bit files; this model's hold 4096 levels"):
        morelli.train(head, own, own, method="flipad", detector="lda", rate=0.05, inversion="jpeg-cell")
    with pytest.raises(MismatchError, match="a latent search asks what rounding to 8 bits explains"):
        LatentSearch(None, Inversion(head).spec)  # the generator is not looked at before


def test_cells_are_as_wide_as_a_level(head: morelli.Head, generator: morelli.TorchGenerator) -> None:
    sample = stored(generator.samples(1, 2), Inversion(head).spec)
    deep, eight = (EightBit().fidelity(each, sample, [{}]) for each in (head, replace(head, form=FileForm(levels=256))))
    ratio = (eight.high - eight.low) / (deep.high - deep.low)
    inner = sample.abs() < 0.9
    torch.testing.assert_close(ratio[inner].median(), torch.tensor(4095 / 255), rtol=0.05, atol=0)


def test_a_head_keeps_levels_and_window(tmp_path: Path, head: morelli.Head, monkeypatch: pytest.MonkeyPatch) -> None:
    morelli.save(head, tmp_path / "my.head")
    found = load_head(tmp_path / "my.head")
    assert (found.form.levels, found.form.window) == (LEVELS, WINDOW)
    assert not {"levels", "window"} & set(replace(head, form=FileForm(levels=256, window=None)).state().settings)
    for wrong in ({"levels": 255}, {"levels": 65537}, {"window": (40.0, 0.0)}):
        with pytest.raises(OutOfRange):
            FileForm(**wrong)
    monkeypatch.setattr(toys, "given", toys.grey_images, raising=False)
    told = {"latent": str(toys.LATENT), "draws": 64}
    head_from_factory("toys:given", tmp_path / "deep.head", levels=4096, window="2048,4096", **told)
    assert load_head(tmp_path / "deep.head").form.window == WINDOW
    with pytest.raises(MorelliError, match="the window is '40'; expected centre and width"):
        head_from_factory("toys:given", tmp_path / "x.head", window="40", **told)
    assert not (tmp_path / "x.head").exists()
