"""Grey DICOM files, written by pydicom: what is read, what is refused by name, and that no patient gets out."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pydicom = pytest.importorskip("pydicom", reason="reading DICOM takes pydicom")

from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import (  # noqa: E402
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from morelli import SampleSpec  # noqa: E402
from morelli.errors import MismatchError, UnreadableSample  # noqa: E402
from morelli.numerics.file_form import ANY, FileForm  # noqa: E402
from morelli.storage.samples import Limits, read, read_picture  # noqa: E402

SPEC = SampleSpec((1, 6, 8), 0.0, 1.0, form=FileForm(levels=ANY))
VALUES = np.random.default_rng(0).integers(0, 4096, (6, 8)).astype(np.uint16)
NAMES = ("Doe", "19450508", "4711-geheim", "General Hospital")


def dicom(path: Path, values: np.ndarray = VALUES, transfer: UID = ExplicitVRLittleEndian, **told: Any) -> Path:
    """A CT slice of 12 bits unless told otherwise, with a patient."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.PatientName, data.PatientBirthDate, data.PatientID, data.InstitutionName = "Doe^Jane", *NAMES[1:]
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * values.itemsize, min(12, 8 * values.itemsize), 11
    data.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in told.items():
        setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    data.PixelData = values.tobytes()
    data["PixelData"].VR = "OW" if values.itemsize > 1 else "OB"
    if transfer == RLELossless:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.compress(RLELossless)
    elif transfer.is_compressed and transfer != DeflatedExplicitVRLittleEndian:
        data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        data["PixelData"].is_undefined_length = True
    data.save_as(path, enforce_file_format=True)
    return path


def shares(path: Path, spec: SampleSpec = SPEC) -> np.ndarray:
    return read(path, spec).samples[0, 0].double().numpy()


def test_without_a_window_all_that_the_bits_hold(tmp_path: Path) -> None:
    reading = read(dicom(tmp_path / "x.dcm"), SampleSpec((1, 6, 8), -1.0, 1.0, form=FileForm(levels=4096)))
    np.testing.assert_allclose(reading.samples[0, 0], VALUES / 4095 * 2 - 1, atol=1e-6)
    facts = reading.facts
    assert (facts["format"], facts["mode"], facts["bits"], facts["levels"]) == ("DICOM", "MONOCHROME2", 12, 4096)
    assert (facts["size"], facts["window"], facts["coding"]) == ([8, 6], [2048.0, 4096.0], "none")
    assert facts["notes"] == ["no window; all that its bits hold taken"]


@pytest.mark.parametrize("exact", [False, True])
def test_the_files_own_window_is_respected(tmp_path: Path, exact: bool) -> None:
    told: dict[str, Any] = {"WindowCenter": 300, "WindowWidth": 1500, "RescaleIntercept": -1024, "RescaleSlope": 1}
    told |= {"VOILUTFunction": "LINEAR_EXACT"} if exact else {}
    found = shares(dicom(tmp_path / "x.dcm", **told))
    units = VALUES.astype(float) - 1024
    expected = (units - 300) / 1500 + 0.5 if exact else (units - 299.5) / 1499 + 0.5  # PS3.3, C.11.2.1.2 and .3
    np.testing.assert_allclose(found, expected.clip(0, 1), atol=1e-6)
    assert ((found > 0) & (found < 1)).any() and (found == 0).any() and (found == 1).any()


def test_the_models_window_overrules_the_files(tmp_path: Path) -> None:
    file = dicom(tmp_path / "x.dcm", WindowCenter=[40, 300], WindowWidth=[80, 1500])
    assert "first of 2 windows taken" in read(file, SPEC).facts["notes"]
    whole = SampleSpec((1, 6, 8), 0.0, 1.0, form=FileForm(levels=4096, window=(2048.0, 4096.0)))
    np.testing.assert_allclose(shares(file, whole), VALUES / 4095, atol=1e-6)
    with pytest.raises(MismatchError, match="holds 80 levels of grey; this model's files hold 4096"):
        read(file, SampleSpec((1, 6, 8), 0.0, 1.0, form=FileForm(levels=4096)))


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    found = shares(dicom(tmp_path / "x.dcm", PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(found, 1 - VALUES / 4095, atol=1e-6)


def test_signed_and_eight_bit_values(tmp_path: Path) -> None:
    signed = (VALUES.astype(np.int16) - 2048).astype(np.int16)
    np.testing.assert_allclose(shares(dicom(tmp_path / "s.dcm", signed)), VALUES / 4095, atol=1e-6)
    small = (VALUES // 16).astype(np.uint8)
    np.testing.assert_allclose(shares(dicom(tmp_path / "e.dcm", small)), small / 255, atol=1e-6)


def test_lossless_compression_is_read(tmp_path: Path) -> None:
    reading = read(dicom(tmp_path / "x.dcm", transfer=RLELossless), SPEC)
    np.testing.assert_allclose(reading.samples[0, 0], VALUES / 4095, atol=1e-6)
    assert reading.facts["transfer"] == "RLE Lossless"


@pytest.mark.parametrize(
    ("told", "error", "text"),
    [
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, MismatchError, r"is in colour \(RGB\)"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, MismatchError, "is in colour"),
        ({"NumberOfFrames": 4}, UnreadableSample, "holds 4 frames; expected one"),
        ({"Rows": 9000, "Columns": 9000}, UnreadableSample, "claims 9000x9000 pixels; the limit is 64000000"),
        ({"Rows": 60}, UnreadableSample, "damaged or cut short"),
        ({"RescaleSlope": -1, "RescaleIntercept": 0}, UnreadableSample, "has rescale slope -1"),
        ({"WindowCenter": 40, "WindowWidth": 1}, UnreadableSample, "has the window 40, 1"),
        ({"WindowCenter": 40, "WindowWidth": 80, "VOILUTFunction": "SIGMOID"}, UnreadableSample, "no straight line"),
        ({"LossyImageCompression": "01"}, MismatchError, "was compressed with loss"),
        ({"transfer": JPEGBaseline8Bit}, MismatchError, r"is coded as JPEG Baseline \(Process 1\), which may lose"),
        ({"transfer": JPEGLSLossless}, UnreadableSample, "is coded as JPEG-LS Lossless.*Install pylibjpeg"),
        ({"transfer": DeflatedExplicitVRLittleEndian}, UnreadableSample, "is deflated to an unknown size"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, told: dict[str, Any], error: type, text: str) -> None:
    with pytest.raises(error, match=rf"^x\.dcm .*{text}") as caught:
        read(dicom(tmp_path / "x.dcm", **told), SPEC)
    assert "\n" not in str(caught.value)
    assert not any(name in str(caught.value) for name in NAMES)


def test_another_size_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"x\.dcm is 8x6; this model reads 128x128"):
        read(dicom(tmp_path / "x.dcm"), SampleSpec((1, 128, 128)))


def test_limits_hold_before_pixels_are_decoded(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSample, match="claims 8x6 pixels; the limit is 47"):
        read(dicom(tmp_path / "x.dcm"), SPEC, Limits(max_pixels=47))


def test_damaged_files_and_other_objects(tmp_path: Path) -> None:
    whole = dicom(tmp_path / "x.dcm").read_bytes()
    for cut in (132, 140, 300, len(whole) - 10):
        (tmp_path / "x.dcm").write_bytes(whole[:cut])
        with pytest.raises(UnreadableSample, match=r"^x\.dcm ") as caught:
            read(tmp_path / "x.dcm", SPEC)
        assert not any(name in str(caught.value) for name in NAMES)


def test_galleries_read_dicom_in_eight_bits(tmp_path: Path) -> None:
    pixels, facts = read_picture(dicom(tmp_path / "x.dcm"))
    assert torch.equal(pixels, torch.from_numpy((VALUES / 4095 * 255).round().astype(np.uint8)).expand(3, -1, -1))
    assert facts["levels"] == 4096


def test_facts_hold_no_patient(tmp_path: Path) -> None:
    long = "Doe" * 40  # longer than its type allows: pydicom warns, and quotes it
    file = dicom(tmp_path / "x.dcm")
    data = pydicom.dcmread(file)
    with pytest.warns(UserWarning, match="exceeds the maximum length"):
        data.AccessionNumber = long
    data.save_as(file)
    facts = read(file, SPEC).facts
    kept = {
        "sha256",
        "decoded_sha256",
        "format",
        "mode",
        "bits",
        "size",
        "window",
        "levels",
        "transfer",
        "coding",
        "notes",
    }
    assert set(facts) == kept
    assert not any(name in str(facts) for name in NAMES)


def test_without_pydicom_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = dicom(tmp_path / "x.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableSample, match=r"pip install 'morelli\[dicom\]'"):
        read(file, SPEC)


def test_the_preamble_decides(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(io.BytesIO(b"\0" * 128 + b"DCIM" + b"\0" * 100).getvalue())
    with pytest.raises(UnreadableSample, match="no known format; expected PNG, JPEG, WebP, BMP, TIFF or DICOM"):
        read(tmp_path / "x.dcm", SPEC)
