"""Files -> tensors: what is read is exact, what is refused is refused by name, and nothing else happens."""

from __future__ import annotations

import io
import json
import math
import os
import struct
import zlib
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from morelli.errors import MismatchError, OutOfRange, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.numerics.file_form import FileForm
from morelli.storage.samples import Limits, find, from_eight_bits, read, read_all, to_eight_bits, write_image

RGB = SampleSpec((3, 2, 4))  # 4 wide, 2 high
GREY = SampleSpec((1, 2, 4))
UNIT = SampleSpec((1, 2, 4), 0.0, 1.0)
TABLE = SampleSpec((3,), -math.inf, math.inf)
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
SHADES = np.array([[0, 1, 2, 3], [100, 127, 128, 255]], dtype=np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, bits: int, colour: int, rows: list[bytes], *extra: bytes) -> bytes:
    """A PNG written by hand, so that Pillow is not its own oracle."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def put(folder: Path, data: bytes, name: str = "a.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refusal(
    path: Path, spec: SampleSpec, *words: str, limits: Limits | None = None, kind: type = UnreadableSample
) -> str:
    with pytest.raises(kind) as caught:
        read(path, spec, limits or Limits())
    text = str(caught.value)
    assert caught.type is kind
    assert text.isprintable() and path.name in text
    for word in words:
        assert word in text, text
    return text


def as_expected(array: np.ndarray, top: int, spec: SampleSpec) -> torch.Tensor:
    """The definition, value by value."""
    values = [spec.low + float(v) / top * (spec.high - spec.low) for v in array.reshape(-1)]
    return torch.tensor(values, dtype=torch.float32).reshape(1, *array.shape)


# pictures that are read


def test_hand_written_rgb_png_is_read_exactly(tmp_path: Path) -> None:
    data = png(4, 2, 8, 2, [row.tobytes() for row in PIXELS])
    reading = read(put(tmp_path, data), RGB)
    assert reading.samples.dtype == torch.float32
    assert torch.equal(reading.samples, as_expected(PIXELS.transpose(2, 0, 1), 255, RGB))
    assert reading.facts == {
        "sha256": sha256(data).hexdigest(),
        "decoded_sha256": sha256(PIXELS.tobytes()).hexdigest(),
        "format": "PNG",
        "mode": "RGB",
        "bits": 8,
        "size": [4, 2],
        "levels": 256,
        "coding": "none",
        "notes": [],
        "provenance": {"c2pa": None, "metadata": [], "tools": []},
    }


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_agree(tmp_path: Path, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    path = put(tmp_path, encoded(Image.fromarray(PIXELS), kind, **options), f"a.{kind.lower()}")
    reading = read(path, RGB)
    assert torch.equal(to_eight_bits(reading.samples, RGB)[0], torch.from_numpy(PIXELS.transpose(2, 0, 1)))
    assert (reading.facts["format"], reading.facts["bits"], reading.facts["notes"]) == (kind, 8, [])


def test_the_format_is_decided_by_content(tmp_path: Path) -> None:
    facts = read(put(tmp_path, encoded(Image.fromarray(PIXELS), "PNG"), "a.JPG"), RGB).facts
    assert facts["format"] == "PNG"
    assert facts["notes"] == ["suffix .JPG does not match format PNG"]
    assert read(put(tmp_path, encoded(Image.fromarray(PIXELS), "PNG"), "a.sample"), RGB).facts["notes"] == []


def test_jpeg_tables_are_facts(tmp_path: Path) -> None:
    tables = [list(range(1, 65)), [7] * 64]
    path = put(tmp_path, encoded(Image.fromarray(PIXELS), "JPEG", qtables=tables), "a.jpeg")
    facts = read(path, RGB).facts
    assert facts["jpeg_tables"] == tables
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_low_depth_grey(tmp_path: Path, bits: int) -> None:
    shades = np.arange(8).reshape(2, 4) % 2**bits
    rows = [int("".join(f"{v:0{bits}b}" for v in row).ljust(-(-4 * bits // 8) * 8, "0"), 2) for row in shades]
    data = png(4, 2, bits, 0, [row.to_bytes(-(-4 * bits // 8), "big") for row in rows])
    reading = read(put(tmp_path, data), UNIT)
    assert torch.equal(reading.samples, as_expected(shades[None], 2**bits - 1, UNIT))
    assert reading.facts["bits"] == bits


@pytest.mark.parametrize("name", ["hand.png", "little.tif", "big.tif"])
def test_sixteen_bit_grey_keeps_every_bit(tmp_path: Path, name: str) -> None:
    shades = np.array([[0, 1, 255, 256], [257, 32768, 65534, 65535]])
    if name == "hand.png":
        data = png(4, 2, 16, 0, [row.astype(">u2").tobytes() for row in shades])
    elif name == "little.tif":
        data = encoded(Image.fromarray(shades.astype("<u2")), "TIFF")
    else:
        data = encoded(Image.frombytes("I;16B", (4, 2), shades.astype(">u2").tobytes()), "TIFF")
        assert data.startswith(b"MM")
    deep = replace(UNIT, form=FileForm(levels=65536))
    reading = read(put(tmp_path, data, name), deep)
    assert torch.equal(reading.samples, as_expected(shades[None], 65535, UNIT))
    assert (reading.facts["bits"], reading.facts["levels"]) == (16, 65536)
    assert read(put(tmp_path, data, name), replace(RGB, form=FileForm(levels=65536))).samples.shape == (1, 3, 2, 4)


def test_grey_and_colour(tmp_path: Path) -> None:
    grey = put(tmp_path, encoded(Image.fromarray(SHADES), "PNG"), "grey.png")
    equal = put(tmp_path, encoded(Image.fromarray(SHADES).convert("RGB"), "PNG"), "equal.png")
    colour = put(tmp_path, encoded(Image.fromarray(PIXELS), "PNG"), "colour.png")
    copied = read(grey, RGB)
    assert copied.facts["notes"] == ["grey copied to three channels"]
    assert torch.equal(copied.samples, as_expected(np.stack([SHADES] * 3), 255, RGB))
    assert torch.equal(read(grey, GREY).samples, as_expected(SHADES[None], 255, GREY))
    assert torch.equal(read(equal, GREY).samples, read(grey, GREY).samples)
    assert read(equal, GREY).facts["notes"] == ["equal colour channels read as grey"]
    refusal(colour, GREY, "in colour", "reads grey", kind=MismatchError)


def test_palette(tmp_path: Path) -> None:
    colours = bytes([10, 20, 30, 200, 100, 0])
    rows = [bytes([0, 1, 0, 1]), bytes([1, 1, 0, 0])]
    reading = read(put(tmp_path, png(4, 2, 8, 3, rows, chunk(b"PLTE", colours))), RGB)
    assert reading.facts["notes"] == ["palette expanded"]
    assert (reading.facts["mode"], reading.facts["bits"]) == ("P", 8)
    assert to_eight_bits(reading.samples, RGB)[0, :, 0, 1].tolist() == [200, 100, 0]
    seen = png(4, 2, 8, 3, rows, chunk(b"PLTE", colours), chunk(b"tRNS", b"\xff\x80"))
    refusal(put(tmp_path, seen), RGB, "transparent", "Flatten")
    opaque = png(4, 2, 8, 3, rows, chunk(b"PLTE", colours), chunk(b"tRNS", b"\xff\xff"))
    assert read(put(tmp_path, opaque), RGB).facts["notes"] == ["palette expanded", "opaque alpha dropped"]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_alpha_is_dropped_only_where_it_hides_nothing(tmp_path: Path, mode: str, kind: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode[:-1])
    image.putalpha(255)
    reading = read(put(tmp_path, encoded(image, kind), f"a.{kind.lower()}"), RGB)
    assert "opaque alpha dropped" in reading.facts["notes"]
    if mode == "RGBA":
        assert torch.equal(reading.samples, as_expected(PIXELS.transpose(2, 0, 1), 255, RGB))
    image.putpixel((3, 1), (*[9] * (len(mode) - 1), 254))
    refusal(put(tmp_path, encoded(image, kind), f"a.{kind.lower()}"), RGB, "partly transparent", "Flatten")


def test_a_transparent_colour_is_refused(tmp_path: Path) -> None:
    data = png(4, 2, 8, 0, [row.tobytes() for row in SHADES], chunk(b"tRNS", b"\0\0"))
    refusal(put(tmp_path, data), GREY, "transparent colour")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_exif_orientation(tmp_path: Path, kind: str, turned: int) -> None:
    """Stored so that undoing the orientation gives a picture with its bright corner at the top left."""
    upright = np.zeros((16, 32), dtype=np.uint8)
    upright[:8, :8] = 255
    stored = {
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright.T, 2),
        8: np.rot90(upright, -1),
    }[turned]
    exif = Image.Exif()
    exif[0x0112] = turned
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    reading = read(put(tmp_path, data, f"a.{kind.lower()}"), SampleSpec((1, 16, 32)))
    assert (to_eight_bits(reading.samples, SampleSpec((1, 16, 32)))[0, 0] - torch.from_numpy(upright)).abs().max() < 9
    assert (f"EXIF orientation {turned} applied" in reading.facts["notes"]) == (turned > 1)
    assert reading.facts["size"] == [32, 16]


def test_damaged_exif_is_a_note(tmp_path: Path) -> None:
    rows = [row.tobytes() for row in SHADES]
    reading = read(put(tmp_path, png(4, 2, 8, 0, rows, chunk(b"eXIf", b"not tiff at all"))), GREY)
    assert reading.facts["notes"] == ["EXIF data is damaged; no orientation applied"]
    short = encoded(Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    (note,) = read(put(tmp_path, short, "a.jpg"), RGB).facts["notes"]
    assert note.startswith("decoder warning: ") and "EXIF" in note


def test_colour_profile_is_a_note(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(PIXELS), "PNG", icc_profile=b"profile")
    assert read(put(tmp_path, data), RGB).facts["notes"] == ["colour profile ignored"]


# pictures that are refused


def test_another_size_is_a_mismatch(tmp_path: Path) -> None:
    path = put(tmp_path, encoded(Image.new("RGB", (5, 7)), "PNG"))
    refusal(path, RGB, "is 5x7", "reads 4x2", kind=MismatchError)
    refusal(path, SampleSpec((2, 7, 5)), "reads 2", kind=MismatchError)
    refusal(path, SampleSpec((1, 3, 7, 5)), "(1, 3, 7, 5)", kind=MismatchError)
    refusal(path, SampleSpec((1, 5)), "expected WAV")
    with pytest.raises(OutOfRange, match="finite"):
        read(path, SampleSpec((3, 7, 5), -math.inf, math.inf))


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_colour_is_refused_and_not_truncated(tmp_path: Path, colour: int, channels: int) -> None:
    data = png(4, 2, 16, colour, [b"\xff\xff" * 4 * channels] * 2)
    refusal(put(tmp_path, data), RGB, "16 bits per channel")


def tiff(bits: list[int], photometric: int, rows: bytes) -> bytes:
    """A little-endian, uncompressed TIFF of 4x2, written by hand."""
    n = len(bits)
    depths = struct.pack(f"<{n}H", *bits)
    tags = [
        (256, 3, 1, 4),
        (257, 3, 1, 2),
        (258, 3, n, bits[0] if n == 1 else 8 + len(rows)),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, n),
        (278, 3, 1, 2),
        (279, 4, 1, len(rows)),
    ]
    start = 8 + len(rows) + len(depths)
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + b"\0" * 4
    return b"II*\0" + struct.pack("<I", start) + rows + depths + body


def test_tiff_depths(tmp_path: Path) -> None:
    plain = tiff([8], 1, SHADES.tobytes())
    assert torch.equal(read(put(tmp_path, plain, "a.tif"), GREY).samples, as_expected(SHADES[None], 255, GREY))
    inverted = tiff([8], 0, SHADES.tobytes())
    expected = as_expected(255 - SHADES[None], 255, GREY)
    assert torch.equal(read(put(tmp_path, inverted, "a.tif"), GREY).samples, expected)
    refusal(put(tmp_path, tiff([16], 0, b"\1\2" * 8), "a.tif"), GREY, "white as 0")
    refusal(put(tmp_path, tiff([12], 1, b"\1\2\3" * 4), "a.tif"), GREY, "12 bits")
    refusal(put(tmp_path, tiff([16] * 3, 2, b"\1\2" * 24), "a.tif"), RGB, "16 bits")


def test_other_codings_are_refused_by_name(tmp_path: Path) -> None:
    refusal(put(tmp_path, encoded(Image.new("CMYK", (4, 2)), "JPEG"), "a.jpg"), RGB, "CMYK", "Export it as RGB")
    refusal(put(tmp_path, encoded(Image.new("F", (4, 2)), "TIFF"), "a.tif"), GREY, "floating-point")
    refusal(put(tmp_path, encoded(Image.new("I", (4, 2)), "TIFF"), "a.tif"), GREY, "32-bit")
    refusal(put(tmp_path, encoded(Image.new("RGB", (4, 2)), "GIF"), "a.gif"), RGB, "47 49 46", "expected PNG, JPEG")


def test_sixteen_bit_bmp_is_refused(tmp_path: Path) -> None:
    header = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 4, 2, 1, 16, 0, 16, 0, 0, 0, 0
    )
    refusal(put(tmp_path, header + b"\1\2" * 8, "a.bmp"), RGB, "5 bits per channel")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "MPO"])
def test_several_pictures_are_refused(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (4, 2), (shade, 0, 0)) for shade in (0, 250)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    refusal(put(tmp_path, data, "a"), RGB, "several pictures")


def test_a_claimed_giant_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = png(100_000, 100_000, 8, 2, [b""])
    refusal(put(tmp_path, huge), RGB, "pixels", str(Limits().max_pixels))
    warned = png(10_000, 10_000, 8, 2, [b""])  # Pillow itself only warns
    refusal(put(tmp_path, warned), RGB, "10000x10000", "64000000")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("was decoded"))
    path = put(tmp_path, encoded(Image.new("L", (4, 2)), "BMP"), "a.bmp")
    refusal(path, GREY, "4x2", "limit is 7", limits=Limits(max_pixels=7))


def test_a_giant_tile_is_refused(tmp_path: Path) -> None:
    data = tiff([8], 1, SHADES.tobytes())
    data = data.replace(struct.pack("<HHII", 277, 3, 1, 1), struct.pack("<HHII", 322, 4, 1, 60_000))
    data = data.replace(struct.pack("<HHII", 278, 3, 1, 2), struct.pack("<HHII", 323, 4, 1, 60_000))
    refusal(put(tmp_path, data, "a.tif"), GREY, "the limit is 64000000")


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(SHADES), "PNG")
    path = put(tmp_path, data)
    assert read(path, GREY, Limits(max_bytes=len(data), max_pixels=8)).samples.shape == (1, 1, 2, 4)
    refusal(path, GREY, f"{len(data)} bytes", limits=Limits(max_bytes=len(data) - 1))


def test_damage(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    spec = SampleSpec((3, 64, 64))
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
        data = encoded(Image.fromarray(noise), kind)
        assert read(put(tmp_path, data, "a"), spec).facts["format"] == kind
        for cut in (len(data) // 2, 20):
            refusal(put(tmp_path, data[:cut], "a"), spec, f"starts like {kind}", "damaged or cut short")
    whole = encoded(Image.fromarray(noise), "PNG", compress_level=0)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    refusal(put(tmp_path, bytes(flipped)), spec, "damaged")  # decoding alone would not always notice
    refusal(put(tmp_path, whole[:-12]), spec, "damaged")
    refusal(put(tmp_path, b""), spec, "is empty")
    refusal(put(tmp_path, b"<html>"), spec, "3c 68 74 6d 6c 3e", "expected PNG")


def test_header_of_a_png_must_come_first(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(SHADES), "PNG")
    refusal(put(tmp_path, data[:8] + chunk(b"tEXt", b"a\0b") + data[8:]), GREY, "header")


# what is not a file


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal(tmp_path, RGB, "is a folder")
    refusal(tmp_path / "gone.png", RGB, "does not exist")
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    refusal(pipe, RGB, "is a pipe, socket or device")
    refusal(Path("/dev/zero"), RGB, "device")
    refusal(tmp_path / ("x" * 500), RGB, "cannot be opened")
    with pytest.raises(UnreadableSample, match="cannot be opened"):
        read(Path("a\0b"), RGB)
    path = put(tmp_path, encoded(Image.fromarray(PIXELS), "PNG"), "locked.png")

    def locked(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", locked)
    refusal(path, RGB, "may not be read", "rights")


def test_a_file_that_becomes_a_pipe_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second check is made on what was opened."""
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    regular = os.stat(put(tmp_path, b"x", "other"))
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    refusal(pipe, RGB, "is a pipe, socket or device")


def test_names_cannot_break_the_line(tmp_path: Path) -> None:
    path = put(tmp_path, b"nonsense", "a\n\x1b[2J.png")
    with pytest.raises(UnreadableSample) as caught:
        read(path, RGB)
    assert str(caught.value).isprintable()
    assert r"a\n\x1b[2J.png" in str(caught.value)


# tables


@pytest.mark.parametrize(
    "text",
    [
        b"1,2.5,-3e2\n4,5,6\n",
        b"1;2.5;-3e2\r\n4;5;6",
        b"1\t2.5\t-3e2\r4\t5\t6\r",
        b"\xef\xbb\xbf1, 2.5 ,-3e2\n\n4,+5,6\n\n",
        b"x,y;z;w\n1;2.5;-3e2\n4;5;6",
        b'x,"y, z",w\n1,"2.5",-3e2\n4,5,6',
    ],
)
def test_tables(tmp_path: Path, text: bytes) -> None:
    reading = read(put(tmp_path, text, "t.txt"), TABLE)
    assert reading.samples.dtype == torch.float32
    assert reading.samples.tolist() == [[1.0, 2.5, -300.0], [4.0, 5.0, 6.0]]
    assert reading.facts["size"] == [3, 2]
    assert reading.facts["format"] == ("TSV" if b"\t" in text else "CSV")
    assert reading.facts["notes"] == (["header row skipped"] if b"x" in text else [])
    assert json.loads(json.dumps(reading.facts)) == reading.facts


def test_one_column(tmp_path: Path) -> None:
    reading = read(put(tmp_path, b"height\n1\n2\n", "t.csv"), SampleSpec((1,)))
    assert reading.samples.tolist() == [[1.0], [2.0]]


def test_table_suffix(tmp_path: Path) -> None:
    assert read(put(tmp_path, b"1,2,3", "t.tsv"), TABLE).facts["notes"] == ["suffix .tsv does not match format CSV"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"1,2,3\n4,oops,6", ["'oops'", "row 2, column 2", "expected a number"]),
        (b"1,2,3\n\n4,5,", ["''", "row 3, column 3"]),
        (b"a,b,c\n1,2,nan", ["row 2, column 3", "not a number"]),
        (b"-inf,2,3", ["row 1, column 1", "infinite"]),
        (b"1,2,1e39", ["row 1, column 3", "too large"]),
        (b"1,2,1_000", ["'1_000'"]),
        ("1,2,٣".encode(), ["row 1, column 3"]),
        (b"1;2;3\n1,5;2;3", ["'1,5'", "decimal point"]),
        (b"a,b,c\n", ["no row of numbers"]),
        (b"\n \n", ["no row of numbers"]),
        (b"1,2,\xff", ["not UTF-8", "0xff", "offset 4"]),
        (b'1,2,"3', ["damaged in row 1"]),
        (b"1,2," + b"3" * 200_000, ["damaged in row 1"]),
        (b"1,2,3\n" + b"," * 2_000_000, ["characters in row 2"]),
        (b"\x89PNG\r\n\x1a\n", ["not UTF-8", "0x89"]),
    ],
)
def test_bad_tables(tmp_path: Path, text: bytes, words: list[str]) -> None:
    refusal(put(tmp_path, text, "t.csv"), TABLE, *words)


def test_another_column_count_is_a_mismatch(tmp_path: Path) -> None:
    refusal(put(tmp_path, b"1,2,3,4", "t.csv"), TABLE, "4 columns in row 1", "reads 3", kind=MismatchError)
    refusal(put(tmp_path, b"1,2,3\n1", "t.csv"), TABLE, "1 column in row 2", "reads 3", kind=MismatchError)
    refusal(put(tmp_path, b"a,b\n1,2,3", "t.csv"), TABLE, "2 columns in row 1", "reads 3", kind=MismatchError)


def test_row_limit(tmp_path: Path) -> None:
    path = put(tmp_path, b"a,b,c\n1,2,3\n1,2,3\n", "t.csv")
    assert len(read(path, TABLE, Limits(max_rows=2)).samples) == 2
    refusal(path, TABLE, "more than 1 rows", limits=Limits(max_rows=1))


# eight bits, there and back


@given(st.floats(-4, 4), st.floats(0.01, 8), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_eight_bits_round_trip(low: float, span: float, seed: int) -> None:
    spec = SampleSpec((3, 8, 32), low, low + span)
    every = torch.randperm(256, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    pixels = every.repeat(6).reshape(2, 3, 8, 32)
    samples = from_eight_bits(pixels, spec)
    assert samples.dtype == torch.float32
    assert torch.equal(to_eight_bits(samples, spec), pixels)
    assert samples.min() >= torch.tensor(spec.low) and samples.max() <= torch.tensor(spec.high)


def test_rounding_is_to_nearest_and_clips() -> None:
    spec = SampleSpec((1, 1, 6), 0.0, 255.0)
    samples = torch.tensor([0.49, 0.51, 1.49, 254.51, -7.0, math.inf]).reshape(1, 1, 1, 6)
    assert to_eight_bits(samples, spec).flatten().tolist() == [0, 1, 1, 255, 0, 255]


@pytest.mark.parametrize("spec", [RGB, GREY, SampleSpec((3, 2, 4), 0.0, 1.0)])
def test_written_pictures_read_back(tmp_path: Path, spec: SampleSpec) -> None:
    generator = torch.Generator().manual_seed(3)
    sample = torch.rand(spec.shape, generator=generator) * (spec.high - spec.low) + spec.low
    path = tmp_path / "a.bin"
    write_image(sample.requires_grad_(), path, spec)
    assert path.read_bytes().startswith(b"\x89PNG")
    back = read(path, spec).samples
    assert torch.equal(to_eight_bits(back, spec), to_eight_bits(sample[None], spec))
    assert (back[0] - sample).abs().max() <= (spec.high - spec.low) / 255 / 2 + 1e-6
    write_image(back[0], tmp_path / "b.png", spec)
    assert (tmp_path / "b.png").read_bytes() == path.read_bytes()


def test_what_cannot_be_eight_bits(tmp_path: Path) -> None:
    with pytest.raises(OutOfRange, match="NaN"):
        to_eight_bits(torch.full((1, 1, 2, 4), math.nan), GREY)
    with pytest.raises(MismatchError, match="uint8"):
        to_eight_bits(torch.zeros((1, 1, 2, 4), dtype=torch.uint8), GREY)
    with pytest.raises(MismatchError, match="float32"):
        from_eight_bits(torch.zeros((1, 1, 2, 4)), GREY)
    with pytest.raises(MismatchError, match="samples are"):
        write_image(torch.zeros((1, 4, 2)), tmp_path / "a.png", GREY)
    with pytest.raises(MismatchError, match="2 channels"):
        write_image(torch.zeros((2, 4, 2)), tmp_path / "a.png", SampleSpec((2, 4, 2)))
    with pytest.raises(MismatchError, match="Tables"):
        to_eight_bits(torch.zeros((1, 3)), TABLE)
    with pytest.raises(OutOfRange, match="finite"):
        to_eight_bits(torch.zeros((1, 1, 2, 4)), SampleSpec((1, 2, 4), -math.inf, math.inf))
    assert list(tmp_path.iterdir()) == []


# finding


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.png", "a.csv", "deep/er/c", ".hidden", ".secret/d.png", "deep/.e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "link.png").symlink_to(tmp_path / "b.png")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_a_folder_is_searched_to_the_bottom(tree: Path) -> None:
    names = ["a.csv", "b.png", "deep/er/c", "link.png"]
    assert find(tree) == find(str(tree)) == [tree / name for name in names]


def test_find_one_and_many(tree: Path) -> None:
    assert find(tree / ".hidden") == [tree / ".hidden"]
    assert find(tree / "pipe") == [tree / "pipe"]  # read() says why not
    b, a = tree / "b.png", tree / "a.csv"
    assert find([b, str(a), tree / "deep" / ".." / "b.png", tree]) == [
        b,
        a,
        tree / "deep" / "er" / "c",
        tree / "link.png",
    ]


def test_find_patterns(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(str(tree / "*.png")) == [tree / "b.png", tree / "link.png"]
    assert find(str(tree / "**" / "c")) == [tree / "deep" / "er" / "c"]
    assert find(str(tree / "d*")) == [tree / "deep" / "er" / "c"]
    assert find(str(tree / ".h*")) == [tree / ".hidden"]
    monkeypatch.chdir(tree)
    assert find("[ab].*") == [Path("a.csv"), Path("b.png")]
    (tree / "[ab].*").write_bytes(b"a file of that very name wins")
    assert find("[ab].*") == [Path("[ab].*")]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gone.png", ["gone.png", "does not exist", "expected"]),
        ("*.gone", ["*.gone", "matches no file"]),
        ("a**b", ["a**b", "not usable"]),
        ("empty", ["empty", "holds no files"]),
        ("", ["does not exist"]),
        ([], ["no files were named"]),
        (["b.png", "gone\n.png"], [r"gone\n.png"]),
    ],
)
def test_finding_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch, source: Any, words: list[str]) -> None:
    monkeypatch.chdir(tree)
    (tree / "empty" / ".git").mkdir(parents=True)
    (tree / "empty" / ".git" / "config").write_bytes(b"x")
    with pytest.raises(UnreadableSample) as caught:
        find(source)
    assert str(caught.value).isprintable()
    for word in words:
        assert word in str(caught.value)


def test_a_folder_that_cannot_be_listed_is_not_skipped(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def locked(path: Any) -> Any:
        if str(path).endswith("er"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(UnreadableSample, match="er cannot be listed"):
        find(tree)


# many files


def test_read_all_reports_the_refused_and_goes_on(tmp_path: Path) -> None:
    good = [put(tmp_path, encoded(Image.fromarray(SHADES + shift), "PNG"), f"{shift}.png") for shift in (0, 1)]
    bad = [put(tmp_path, b"junk", "bad.png"), put(tmp_path, encoded(Image.new("L", (9, 9)), "PNG"), "large.png")]
    ticks: list[int] = []
    read_in = read_all([bad[0], good[0], bad[1], good[1]], GREY, progress=ticks.append)
    samples, refused = read_in.samples, read_in.refused
    assert torch.equal(samples, torch.cat([read(path, GREY).samples for path in good]))
    assert [path for path, _ in refused] == bad
    assert "bad.png starts with" in refused[0][1] and "large.png is 9x9" in refused[1][1]
    assert ticks == [1, 1, 1, 1]


def test_read_all_stacks_rows(tmp_path: Path) -> None:
    paths = [put(tmp_path, b"1,2,3\n4,5,6", "a.csv"), put(tmp_path, b"7,8,9", "b.csv")]
    assert read_all(paths, TABLE).samples.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_read_all_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSample, match=r"none of 2 files .*a\.png is empty"):
        read_all([put(tmp_path, b""), tmp_path / "gone"], GREY)
    with pytest.raises(UnreadableSample, match="no files were given"):
        read_all([], GREY)


# hostile bytes

SEEDS = {
    "PNG": encoded(Image.fromarray(PIXELS), "PNG", exif=Image.Exif()),
    "JPEG": encoded(
        Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    ),
    "WEBP": encoded(Image.fromarray(PIXELS), "WEBP"),
    "BMP": encoded(Image.fromarray(PIXELS).quantize(4), "BMP"),
    "TIFF": encoded(Image.fromarray(PIXELS), "TIFF", compression="tiff_lzw"),
    "CSV": b"a,b,c\n1,2,3\n4,5,6\n",
}
FAST = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def survives(folder: Path, data: bytes) -> str:
    path = put(folder, data, "fuzz")
    seen = ""
    for spec in (RGB, TABLE):
        try:
            reading = read(path, spec)
        except (UnreadableSample, MismatchError) as error:
            assert str(error).isprintable() and str(error).startswith("fuzz ")
            seen += type(error).__name__[0]
        else:
            assert reading.samples.shape[1:] == spec.shape and reading.samples.isfinite().all()
            assert json.loads(json.dumps(reading.facts)) == reading.facts
            seen += "R"
    return seen


def repaired(data: bytes) -> bytes:
    """The same PNG with right checksums, so that damage gets past them and reaches the decoder."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        out += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return out + data[at:]


@given(start=st.sampled_from([b"", *(seed[:12] for seed in SEEDS.values())]), rest=st.binary(max_size=200))
@FAST
def test_random_bytes(tmp_path: Path, start: bytes, rest: bytes) -> None:
    survives(tmp_path, start + rest)


@pytest.mark.parametrize("kind", SEEDS)
@given(
    edits=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 2**16) | st.none(),
)
@FAST
def test_mutated_files(tmp_path: Path, kind: str, edits: list[tuple[int, int]], cut: int | None) -> None:
    data = bytearray(SEEDS[kind])
    for at, value in edits:
        data[at % len(data)] = value
    if cut is not None:
        del data[cut % len(data) :]
    survives(tmp_path, bytes(data))
    if kind == "PNG":
        survives(tmp_path, repaired(bytes(data)))


def test_the_seeds_are_sound(tmp_path: Path) -> None:
    """Otherwise the mutations above would only ever meet the first check."""
    assert {kind: survives(tmp_path, data) for kind, data in SEEDS.items() if kind != "JPEG"} == {
        "PNG": "RU",
        "WEBP": "RU",
        "BMP": "RU",
        "TIFF": "RU",
        "CSV": "UR",
    }
    assert survives(tmp_path, SEEDS["JPEG"]) == "MU"  # its orientation makes it 2x4
    assert repaired(SEEDS["PNG"]) == SEEDS["PNG"]
