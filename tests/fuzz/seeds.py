"""Sound inputs of every reader, small: file name → bytes. What is fuzzed is these, changed."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import prints
import torch
import toys
from PIL import Image
from safetensors.torch import save

import morelli
from morelli.attribution.gallery import Entry
from morelli.generators.bank_training import Trained
from morelli.generators.kl_wgan import LATENT, build_kl_wgan
from morelli.generators.small_gans import build_generator
from morelli.generators.synthetic import Blueprint, build
from morelli.numerics.columns import Category, Number, Table
from morelli.numerics.file_form import ANY, FileForm
from morelli.storage import bank, gallery_folder
from morelli.storage.generators import save_generator
from morelli.storage.journal import Journal
from morelli.storage.table_generators import save_table_generator

Files = dict[str, bytes]
ARTEFACTS = Path(__file__).parents[1] / "artefacts"
IMAGE = morelli.SampleSpec((3, 24, 32))
GREY = morelli.SampleSpec((1, 24, 32), 0.0, 1.0, FileForm(levels=ANY))
SOUND = morelli.SampleSpec((1, 1024), form=FileForm(rate=16_000))
NUMBERS = morelli.SampleSpec((3,), float("-inf"), float("inf"))
COLUMNS = Table((Number("height", decimals=1), Category("kind", ("red", "blue")), Number("x")))
ROWS = morelli.SampleSpec((COLUMNS.width,), float("-inf"), float("inf"), FileForm(table=COLUMNS))
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


@cache
def _photo() -> Image.Image:
    y, x = np.mgrid[0:24, 0:32]
    smooth = np.stack([x * 7 + y, y * 9, 255 - x * 5], -1) + _rng().normal(0, 6, (24, 32, 3))
    return Image.fromarray(smooth.clip(0, 255).astype(np.uint8))


def _picture(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or _photo()).save(buffer, kind, **options)
    return buffer.getvalue()


def _deep() -> Image.Image:
    return Image.fromarray(_rng().integers(0, 65536, (24, 32)).astype(np.uint16))


def dicom(transfer: str = "ExplicitVRLittleEndian") -> bytes:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.2")
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3")
    buffer = io.BytesIO()
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.PatientName, data.Rows, data.Columns = "Doe^Jane", 24, 32
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.WindowCenter, data.WindowWidth, data.RescaleSlope, data.RescaleIntercept = "2048", "4096", "1", "0"
    data.PixelData = _rng().integers(0, 4096, (24, 32)).astype(np.uint16).tobytes()
    data["PixelData"].VR = "OW"
    if transfer != "ExplicitVRLittleEndian":
        data.compress(getattr(pydicom.uid, transfer))
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _wave() -> np.ndarray:
    return (np.sin(np.arange(4000) / 9) * 0.5 + _rng().normal(0, 0.02, 4000)).clip(-1, 1)


def _sound(kind: str, subtype: str, channels: int = 1) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([_wave()] * channels, 1), 16_000, format=kind, subtype=subtype)
    return buffer.getvalue()


def _bundle(write: Callable[[Path], object]) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "b")
        found = next(Path(folder).iterdir())
        found = next(found.iterdir()) if not (found / "manifest.json").exists() else found
        return {file.name: file.read_bytes() for file in found.iterdir()}


def _folder(path: Path) -> Files:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def _entry(name: str = "m0", n: int = 6) -> Entry:
    card = {"samples": n, "formats": {"PNG": n}, "sizes": {"64x64": n}, "made": "2026", "warnings": [], "refused": []}
    return Entry(name, prints.models(1, n, 1)[0], "ab" * 32, card)


def _zipped() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("m0", "m1"):
            gallery_folder.write_entry(Path(folder) / "g", name, _entry(name).state())
        gallery_folder.export_gallery(Path(folder) / "g", Path(folder) / "x.zip")
        return (Path(folder) / "x.zip").read_bytes()


BLUEPRINT = Blueprint(1, 1, "nearest", "relu", "batch", "after")


def _shard() -> Files:
    weights = {name: x.detach().clone() for name, x in build(BLUEPRINT, 0).state_dict().items()}
    return _bundle(lambda path: bank.write_shard(path, [Trained(BLUEPRINT, 0, weights, 0.25, 12)], {}))


def _small_gan() -> Files:
    module = build_generator("dcgan", 8, 3, 64)
    return _bundle(lambda path: save_generator(module, "dcgan", path, {"steps": 1}))


def _table_gan() -> Files:
    table = Table.whitened(["a", "b"], torch.randn(40, 2, dtype=torch.float64), [2, 3])
    module = build_kl_wgan(table.width, 8)
    assert module[0].in_features == LATENT
    return _bundle(lambda path: save_table_generator(module, table, path, {}))


JOURNAL = ("file", "row", "outcome", "score", "p_value", "reason", "notes", "likelihood_ratio", "facts")
OWNER = "ab" * 32


def _journal() -> bytes:
    verdict = {"outcome": "attributed", "score": -1.5, "p_value": 0.25, "reason": "", "notes": {"gap": 0.1}}
    whole = {"likelihood_ratio": None, "facts": {"sha256": "00", "notes": ["a, b"]}}
    with tempfile.TemporaryDirectory() as folder:
        with Journal(Path(folder) / "j.csv", OWNER, JOURNAL) as journal:
            for file in ("a.png", "b c.png", 'd"é.png'):
                journal.append([verdict | whole | {"file": file, "row": row} for row in (0, 1)])
            refused = dict.fromkeys(JOURNAL) | {"file": "x", "outcome": "refused", "reason": "no, it\nis not"}
            journal.append([refused])
        return (Path(folder) / "j.csv").read_bytes()


def _onnx() -> bytes:
    module = toys.deconvolution_images().eval()
    options: dict[str, Any] = {"input_names": ["z"], "output_names": ["x"], "dynamo": False, "opset_version": 17}
    options["dynamic_axes"] = {"z": {0: "n"}, "x": {0: "n"}}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(module, (torch.randn(2, toys.LATENT),), buffer, **options)
    return buffer.getvalue()


def _scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def _weights() -> bytes:
    return save({f"g_ema.{k}": v for k, v in toys.deconvolution_images().state_dict().items()})


def _diffusers() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        decoder = toys.write_tiny_autoencoder(Path(folder))
        return {"toy_decoder.safetensors": decoder.read_bytes()}


def _array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, _rng().normal(size=(2, 4, 8, 8)).astype(np.float32))
    return buffer.getvalue()


PLAIN = b"a,b,c\n1,2,3\n4.5,-6e3,7\n8,9,10\n"
MIXED = b'height;kind;x\n1.5;red;2\n"2.25";blue;-3e2\n'
SEEDS: dict[str, Callable[[], list[Files]]] = {
    "head": lambda: [_bundle(lambda path, n=n: morelli.save(toys.toy_heads()[n], path)) for n in toys.toy_heads()],
    "attributor": lambda: [_folder(ARTEFACTS / "table-1.attributor"), _folder(ARTEFACTS / "images-1.attributor")],
    "gallery entry": lambda: [_bundle(lambda path: gallery_folder.write_entry(path, "m0", _entry().state()))],
    "gallery file": lambda: [{"g.zip": _zipped()}],
    "fingerprint network": lambda: [_bundle(prints.write_tiny)],
    "generator": lambda: [_small_gan()],
    "table generator": lambda: [_table_gan()],
    "shard": lambda: [_shard()],
    "journal": lambda: [{"j.csv": _journal()}],
    "PNG": lambda: [
        {"a": _picture("PNG", exif=EXIF[6:])},
        {"a": _picture("PNG", _photo().quantize(8))},
        {"a": _picture("PNG", _photo().convert("RGBA"))},
    ],
    "JPEG": lambda: [
        {"a": _picture("JPEG", exif=EXIF)},
        {"a": _picture("JPEG", progressive=True)},
        {"a": _picture("JPEG", _photo().convert("L"))},
    ],
    "WebP": lambda: [{"a": _picture("WEBP", exif=EXIF)}, {"a": _picture("WEBP", lossless=True)}],
    "GIF": lambda: [{"a": _picture("GIF", _photo().quantize(16))}],
    "TIFF": lambda: [
        {"a": _picture("TIFF")},
        {"a": _picture("TIFF", compression="tiff_lzw")},
        {"a": _picture("TIFF", compression="tiff_adobe_deflate")},
        {"a": _picture("TIFF", compression="jpeg")},
    ],
    "BMP": lambda: [{"a": _picture("BMP")}, {"a": _picture("BMP", _photo().quantize(4))}],
    "16-bit PNG": lambda: [{"a": _picture("PNG", _deep())}],
    "16-bit TIFF": lambda: [{"a": _picture("TIFF", _deep())}, {"a": _picture("TIFF", _deep(), compression="tiff_lzw")}],
    "DICOM": lambda: [{"a": dicom()}, {"a": dicom("RLELossless")}],
    "numbers": lambda: [{"a.csv": PLAIN}],
    "rows": lambda: [{"a.csv": MIXED}],
    "table to train on": lambda: [{"a.csv": PLAIN}],
    "WAV": lambda: [{"a": _sound("WAV", s)} for s in ("PCM_16", "PCM_24", "FLOAT", "IMA_ADPCM")],
    "FLAC": lambda: [{"a": _sound("FLAC", "PCM_16")}],
    "MP3": lambda: [{"a": _sound("MP3", "MPEG_LAYER_III")}],
    "Opus": lambda: [{"a": _sound("OGG", "OPUS")}, {"a": _sound("OGG", "VORBIS")}],
    "ONNX": lambda: [{"g.onnx": _onnx()}],
    "checkpoint": lambda: [{"w.safetensors": _weights()}],
    "decoder": lambda: [{"w.safetensors": _weights()}, _diffusers()],
    "autoencoder": lambda: [
        _diffusers(),
        {"config.json": json.dumps({"_class_name": "AutoencoderTiny"}).encode(), "x.safetensors": save({})}
        | {"x.safetensors": _diffusers()["toy_decoder.safetensors"]},
    ],
    "latents": lambda: [{"l.npy": _array()}, {"l.safetensors": save({"l": torch.randn(2, 4, 8, 8)})}],
    "TorchScript": lambda: [{"m.pt": _scripted()}],
}


@cache
def seeds_of(reader: str) -> list[Files]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SEEDS.get(reader, lambda: [{"a": b"planted"}])()
