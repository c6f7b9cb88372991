"""Inputs that are small, or within the limits, and ask for much: what they cost is the question.

By hand: PYTHONPATH=src:tests python -m fuzz.run --bombs. Each is judged as any other malformed input.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from hashlib import sha256

import numpy as np
from fuzz import seeds
from PIL import Image
from safetensors.torch import save

Files = dict[str, bytes]
WIDE, HIGH = 8000, 7999  # just below the limit of pixels


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(colour: int, bits: int, channels: int, value: bytes = b"\xff") -> Files:
    row = b"\0" + value * (WIDE * channels * bits // 8)
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(row) for _ in range(HIGH)) + packer.flush()
    header = struct.pack(">IIBBBBB", WIDE, HIGH, bits, colour, 0, 0, 0)
    palette = _chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + palette
    return {"a": head + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")}


def _image(kind: str, mode: str = "RGB", size: tuple[int, int] = (WIDE, HIGH), **options: object) -> Files:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return {"a": buffer.getvalue()}


def _dicom() -> Files:
    import pydicom

    small = pydicom.dcmread(io.BytesIO(seeds.dicom()))
    small.Rows, small.Columns, small.PixelData = HIGH, WIDE, bytes(2 * WIDE * HIGH)
    buffer = io.BytesIO()
    small.save_as(buffer)
    return {"a": buffer.getvalue()}


def _silence(kind: str, subtype: str, count: int = 63_000_000) -> Files:
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 16_000, 1, subtype, format=kind) as file:
        for _ in range(count // 1_000_000):
            file.write(np.zeros(1_000_000, np.float32))
    return {"a": buffer.getvalue()}


def _changed(reader: str, **settings: object) -> Files:
    """A sound bundle whose settings, at any depth, say something else."""
    files = dict(seeds.seeds_of(reader)[0])
    manifest = json.loads(files["manifest.json"])

    def visit(value: object) -> None:
        if isinstance(value, dict):
            for key in value:
                if key in settings:
                    value[key] = settings[key]
                visit(value[key])

    visit(manifest["content"])
    return files | {"manifest.json": json.dumps(manifest).encode()}


def _header(size: int) -> Files:
    """Tensors whose header is as large as safetensors allows."""
    entries = ",".join(f'"{i:08d}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(size // 70))
    header = ("{" + entries + "}").encode()
    blob = struct.pack("<Q", len(header)) + header
    files = dict(seeds.seeds_of("head")[0])
    manifest = json.loads(files["manifest.json"]) | {"sha256": sha256(blob).hexdigest(), "bytes": len(blob)}
    return {"manifest.json": json.dumps(manifest).encode(), "tensors.safetensors": blob}


def _zip(size: int) -> Files:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("manifest.json", "tensors.safetensors"):
            with archive.open(f"m0.entry/{name}", "w") as member:
                for _ in range(size // 2**20):
                    member.write(bytes(2**20))
    return {"g.zip": buffer.getvalue()}


def _autoencoder(**config: object) -> Files:
    said = {"_class_name": "AutoencoderKL", "block_out_channels": [8, 8], "norm_num_groups": 4}
    said |= {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    return {"config.json": json.dumps(said | config).encode(), "x.safetensors": save({})}


def _onnx(sizes: list[int]) -> Files:
    """A graph of a few bytes that makes a giant."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(seeds.seeds_of("ONNX")[0]["g.onnx"])
    shape = helper.make_tensor("sizes", TensorProto.INT64, [len(sizes)], sizes)
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["sizes"], ["giant"]))
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["giant"], ["most"], keepdims=0))
    last = model.graph.node[-1]
    made = last.output[0]
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("Add", ["before", "most"], [made]))
    return {"g.onnx": model.SerializeToString()}


BOMBS: dict[str, tuple[str, Callable[[], Files]]] = {
    "PNG, colour": ("PNG", lambda: _png(2, 8, 3)),
    "PNG, opaque alpha": ("PNG", lambda: _png(6, 8, 4)),
    "PNG, palette": ("PNG", lambda: _png(3, 8, 1, b"\0")),
    "PNG, 16 bits": ("16-bit PNG", lambda: _png(0, 16, 1)),
    "JPEG, progressive": ("JPEG", lambda: _image("JPEG", progressive=True)),
    "WebP, lossless": ("WebP", lambda: _image("WEBP", size=(16383, 3900), lossless=True, quality=0, method=0)),
    "TIFF, deflate": ("TIFF", lambda: _image("TIFF", compression="tiff_adobe_deflate")),
    "BMP, large": ("BMP", lambda: _image("BMP")),
    "DICOM, large": ("DICOM", _dicom),
    "FLAC, silence": ("FLAC", lambda: _silence("FLAC", "PCM_16")),
    "WAV, 8 bits": ("WAV", lambda: _silence("WAV", "PCM_U8")),
    "CSV, 200 MB": ("numbers", lambda: {"a.csv": b"1,2,3\n" * 33_000_000}),
    "CSV, rows of a byte": ("numbers", lambda: {"a.csv": b"\n" * 200_000_000}),
    "CSV, one line": ("numbers", lambda: {"a.csv": b"1," * 100_000_000}),
    "CSV, one wide character": ("numbers", lambda: {"a.csv": "😀\n".encode() + b"1,2,3\n" * 33_000_000}),
    "CSV, one quote": ("numbers", lambda: {"a.csv": b'"' + b"1,2,3\n" * 33_000_000}),
    "journal, one quote": ("journal", lambda: {"j.csv": seeds._journal() + b'"' + b"1,2,3\n" * 33_000_000}),
    "generator, wide": ("generator", lambda: _changed("generator", width=3000)),
    "generator, too wide": ("generator", lambda: _changed("generator", width=10**6)),
    "table generator, wide": ("table generator", lambda: _changed("table generator", width=20_000)),
    "fingerprint network, wide": (
        "fingerprint network",
        lambda: _changed("fingerprint network", stem=2**14, dimensions=2**16),
    ),
    "autoencoder, wide": ("autoencoder", lambda: _autoencoder(block_out_channels=[8192, 8192])),
    "autoencoder, deep": (
        "autoencoder",
        lambda: _autoencoder(layers_per_block=2000, block_out_channels=[128, 128]),
    ),
    "manifest, nested": (
        "head",
        lambda: seeds.seeds_of("head")[0] | {"manifest.json": b"[" * 2**23 + b"]" * 2**23},
    ),
    "manifest, many": (
        "head",
        lambda: seeds.seeds_of("head")[0] | {"manifest.json": b"[" + b"{}," * 5_000_000 + b"1]"},
    ),
    "header of tensors": ("head", lambda: _header(90_000_000)),
    "zip, 2 GB": ("gallery file", lambda: _zip(2**30)),
    "ONNX, giant": ("ONNX", lambda: _onnx([2**16, 2**16])),
    "ONNX, large": ("ONNX", lambda: _onnx([2**10, 2**10, 2**9])),
}
assert not set(BOMBS) & set(seeds.SEEDS)
