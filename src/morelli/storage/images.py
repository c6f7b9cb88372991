"""Pictures: bytes -> samples with facts about their coding, and samples -> files. Never repaired, seldom resized."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, JpegImagePlugin, TiffImagePlugin
from torch import Tensor

from morelli.errors import MismatchError, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.numerics.file_form import LEVELS
from morelli.numerics.perturbations import Window, resized
from morelli.storage.codings import coding_of, is_lossless_webp
from morelli.storage.depth import check_depth, from_eight_bits, scaled, span_of, to_eight_bits, to_sixteen_bits
from morelli.storage.dicom import decode_dicom, is_dicom
from morelli.storage.guard import guarded, silence_tiff
from morelli.storage.writing import replace_file

__all__ = ["decode", "decode_any", "format_of", "from_eight_bits", "to_eight_bits", "write_image"]

EXPECTED = "expected PNG, JPEG, WebP, BMP, TIFF or DICOM"
MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
BAND = 2**22  # values that are turned into shares at once
GREY_16 = ("I;16", "I;16B", "I;16L")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", *GREY_16)
REFUSED = {"CMYK": "CMYK (printing inks)", "I": "32-bit or signed integers", "F": "floating-point numbers"}
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}  # Pillow's numbers; grey and rarer ones have no name


Fit = Callable[[int, int], Window | None]  # height, width → what of such a picture is brought to the model's size


def decode(data: bytes, spec: SampleSpec, max_pixels: int, fit: Fit | None = None) -> tuple[Tensor, dict[str, Any]]:
    """Reads one picture; the format is decided by its first bytes.

    Args:
        spec: of 1 or 3 channels. A value v of b bits becomes low + v/(2^b-1) * (high-low); for DICOM see `dicom`. With
            a grid, of a larger picture the window nearest to the middle is read.
        max_pixels: checked against the header, before anything is decoded.
        fit: of pictures of 8 bits and another size; without it they are refused.
    Returns:
        float32 [1, *spec.shape] in [spec.low, spec.high], and facts: `format`, `mode` as stored, `bits` per
        channel, `levels` that a value can take, `size` [width, height] when upright, `coding` ("none", "jpeg:80", …;
        see `codings`), for JPEG `jpeg_tables` (64 steps each, row by row) and `jpeg_sampling` ("4:4:4", "4:2:2",
        "4:2:0"; None for grey and rarer ones), for WebP `lossless`, `notes`; of a picture that was brought to the
        model's size `fitted`, the window [left, top, width, height] that was.
    Raises:
        MismatchError: another width, height, number of channels or depth.
        UnreadableSample: anything else that is not read. The texts of both start with a verb; the caller puts
            the file's name in front.
        OutOfRange: the spec's range is not finite.
    """
    channels, height, width = spec.shape
    span_of(spec)
    if channels not in (1, 3):
        raise MismatchError(f"is a picture, read with 1 or 3 channels; this model reads {channels}. Give it its own.")
    values, facts = _decoded(data, max_pixels, spec, fit)
    if window := _window(spec, facts["size"], fit):
        values = _fitted(values, window, spec, facts)
    elif facts["size"] != [width, height]:
        top, left = _place(spec, facts["size"], fit)
        facts["notes"].append(f"the {width}x{height} pixels at ({left}, {top}) were read")
        values = values[top : top + height, left : left + width]
    shares = torch.from_numpy(_with_channels(_shares(values), channels, facts["notes"]))
    check_depth(shares, facts, spec)
    return scaled(shares[None], spec), facts


def decode_any(data: bytes, max_pixels: int) -> tuple[Tensor, dict[str, Any]]:
    """Reads one picture of whatever size: uint8 [3, h, w], and facts as `decode` has them. Sixteen bits become eight.

    Raises UnreadableSample, with a text that starts with a verb.
    """
    try:
        values, facts = _decoded(data, max_pixels, None)
    except MismatchError as error:  # a DICOM file in colour or with loss: no model's size is at stake here
        raise UnreadableSample(str(error)) from error
    if values.dtype != np.uint8:
        bands = np.array_split(values, max(1, values.size // BAND))  # shares take eight bytes a pixel
        values = np.concatenate([(_shares(band) * 255).round().astype(np.uint8) for band in bands if len(band)])
    return torch.from_numpy(np.require(_with_channels(values, 3, facts["notes"]), requirements="W")), facts


def _shares(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float64 from 0 to 1, of stored whole numbers; those of DICOM are shares already."""
    return values if values.dtype.kind == "f" else values / float(np.iinfo(values.dtype).max)


def _place(spec: SampleSpec, size: Sequence[int], fit: Fit | None) -> tuple[int, int]:
    """Top and left of what is read. Raises MismatchError where a picture of that size is not."""
    width, height = size
    place = spec.place(height, width)
    if place is None:
        reads = f"{spec.shape[2]}x{spec.shape[1]}"
        if spec.form.grid:
            reads += f" from the middle of {spec.least[1]}x{spec.least[0]} or more"
        why = "Pictures are not resized" if fit is None else "It knows nothing of what was cut or resized to that"
        raise MismatchError(f"is {width}x{height}; this model reads {reads}. {why}: give the file as it was made.")
    return place


def _window(spec: SampleSpec, size: Sequence[int], fit: Fit | None) -> Window | None:
    width, height = size
    return None if fit is None or spec.place(height, width) else fit(height, width)


def _fitted(
    values: np.ndarray[Any, Any], window: Window, spec: SampleSpec, facts: dict[str, Any]
) -> np.ndarray[Any, Any]:
    """The window at the size of the model's pictures; facts say so."""
    if values.dtype != np.uint8 or spec.form.levels != LEVELS:
        raise MismatchError("is of another size than this model's pictures, and not of 8 bits as they are.")
    top, left, height, width = window
    part = torch.from_numpy(values[top : top + height, left : left + width].copy())
    part = part[None] if part.ndim == 2 else part.movedim(2, 0)
    found = torch.stack([resized(channel[None, None], *spec.shape[1:])[0, 0] for channel in part], 2).numpy()
    done = "reduced" if height > spec.shape[1] else "enlarged"
    facts["fitted"] = [left, top, width, height]
    facts["notes"].append(
        f"the {width}x{height} pixels at ({left}, {top}) were {done} to {spec.shape[2]}x{spec.shape[1]}"
    )
    return found[..., 0] if values.ndim == 2 else found


def _decoded(
    data: bytes, max_pixels: int, spec: SampleSpec | None, fit: Fit | None = None
) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """As stored, uint8 or uint16 [h, w] or [h, w, 3]; of DICOM shares, float64 [h, w]; and facts.

    Where a spec reads the picture neither upright nor lying, nothing is decoded.
    """
    if is_dicom(data):
        return decode_dicom(data, max_pixels, None if spec is None else spec.form.window)
    kind = format_of(data)
    if kind == "TIFF":
        silence_tiff()
    notes: list[str] = []
    with guarded(kind, max_pixels, notes):
        image: Image.Image = Image.open(io.BytesIO(data), formats=[kind])
        _refuse_before_decoding(image, max_pixels)
        size = image.width, image.height
        if spec and not (spec.place(*size) or _window(spec, size, fit) or _window(spec, size[::-1], fit)):
            _place(spec, size, fit)
        bits = _bits(image, data)
        _verify(data, kind)
        facts: dict[str, Any] = {"format": kind, "mode": image.mode, "bits": bits}
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            facts["jpeg_tables"] = [list(table) for _, table in sorted(image.quantization.items())]
            facts["jpeg_sampling"] = SAMPLINGS.get(JpegImagePlugin.get_sampling(image))
        if kind == "WEBP":
            facts["lossless"] = is_lossless_webp(data)
        image = _plain(_upright(image, notes), notes)
        pixels = np.asarray(image)
    facts["size"] = [image.width, image.height]
    levels = 65536 if facts["mode"] in GREY_16 else LEVELS
    values = pixels.astype(np.uint16 if levels > LEVELS else np.uint8, copy=False)
    return values, facts | {"levels": levels, "coding": coding_of(facts), "notes": notes}


def format_of(data: bytes) -> str:
    """The name of the format that the first bytes promise. Raises UnreadableSample for any other."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for magic, kind in MAGIC.items():
        if data.startswith(magic):
            return kind
    raise UnreadableSample(f"starts with {data[:8].hex(' ')}, no known format; {EXPECTED}. Convert it to PNG.")


def write_image(sample: Tensor, path: str | Path, spec: SampleSpec) -> None:
    """Writes one sample [c, h, w] in [spec.low, spec.high] without loss: TIFF where the suffix says so, else PNG.

    Of 8 bits where `spec.form.levels` is 256, else of 16, which hold fewer levels exactly.

    Raises:
        MismatchError: the sample is not spec.shape, or not of 1 or 3 channels, or of 3 and more than 8 bits.
        OutOfRange: a NaN, or the spec's range is not finite.
        OSError: the path cannot be written.
    """
    path, channels = Path(path), len(sample)
    if channels not in (1, 3):
        raise MismatchError(f"{path.name} has {channels} channels; a picture is written from 1 or 3. Split it first.")
    if channels == 3 and spec.form.levels > LEVELS:
        raise MismatchError(f"{path.name} is in colour; more than 8 bits are written of grey alone. Split it first.")
    kind = {".tif": "TIFF", ".tiff": "TIFF"}.get(path.suffix.lower(), "PNG")
    if spec.form.levels > LEVELS:
        pixels = to_sixteen_bits(sample.unsqueeze(0), spec)[0, 0].cpu().numpy().astype(np.uint16)
    else:
        drawn = to_eight_bits(sample.unsqueeze(0), spec)[0].cpu().numpy()
        pixels = drawn[0] if channels == 1 else np.ascontiguousarray(drawn.transpose(1, 2, 0))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    replace_file(path, buffer.getvalue())


def _refuse_before_decoding(image: Image.Image, max_pixels: int) -> None:
    pixels = image.width * image.height
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # a tile may be declared larger than the picture
        tile = [int(image.tag_v2.get(tag, 0)) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
        pixels = max(pixels, math.prod(tile))
    if pixels > max_pixels:
        raise UnreadableSample(
            f"claims {image.width}x{image.height} pixels; the limit is {max_pixels}. Crop it or raise max_pixels."
        )
    if getattr(image, "is_animated", False):
        raise UnreadableSample("holds several pictures (animation or pages); expected one. Save each as its own file.")
    if image.mode not in MODES:
        raise UnreadableSample(
            f"stores {REFUSED.get(image.mode, image.mode)}; expected grey or RGB of 8 bits. Export it as RGB PNG."
        )


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits per channel as stored; a palette's colours have 8. Refuses what Pillow would silently round."""
    bits = 8
    if data.startswith(b"\x89PNG"):
        if data[12:16] != b"IHDR":
            raise UnreadableSample(
                "is a PNG that does not begin with its header; expected a sound one. Export it again."
            )
        bits = data[24]
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        inverted = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
        if inverted and image.mode in GREY_16:
            raise UnreadableSample("stores 16-bit grey with white as 0; expected black as 0. Export it as PNG.")
    elif data.startswith(b"BM") and data[14] != 12 and data[28:30] == b"\x10\0":
        bits = 5
    if image.mode in ("P", "PA"):
        return 8
    if bits not in (1, 2, 4, 8, 16) or (bits == 16) != (image.mode in GREY_16):
        raise UnreadableSample(
            f"stores {image.mode} with {bits} bits per channel; expected 8, or 16 for grey. Export it with 8 bits."
        )
    return bits


def _verify(data: bytes, kind: str) -> None:
    """Compares a PNG's checksums; decoding alone would let damaged pixels pass."""
    with Image.open(io.BytesIO(data), formats=[kind]) as image:
        image.verify()


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Decodes, and turns the picture as its EXIF orientation says. Pillow itself turns TIFF while decoding."""
    turned: Any = 1
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        turned = image.tag_v2.get(ExifTags.Base.Orientation, 1)
        image.load()
        upright: Image.Image = image
    else:
        image.load()
        try:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1)
        except Exception:  # as in `guard`; the pixels are sound
            notes.append("EXIF data is damaged; no orientation applied")
        upright = image.transpose(UPRIGHT[turned]) if turned in UPRIGHT else image
    if turned in UPRIGHT:
        notes.append(f"EXIF orientation {turned} applied")
    if "icc_profile" in image.info:
        notes.append("colour profile ignored")
    return upright


def _plain(image: Image.Image, notes: list[str]) -> Image.Image:
    """Without palette and opaque alpha: mode L, RGB or 16-bit grey. Refuses real transparency."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        notes.append("palette expanded")
    elif image.info.get("transparency") is not None:
        raise UnreadableSample("declares a transparent colour; expected an opaque picture. Flatten it first.")
    if image.mode in ("LA", "RGBA"):
        if image.getchannel("A").getextrema() != (255, 255):
            raise UnreadableSample("is partly transparent; expected an opaque picture. Flatten it first.")
        image = image.convert(image.mode[:-1])
        notes.append("opaque alpha dropped")
    return image.convert("L") if image.mode == "1" else image


def _with_channels(pixels: np.ndarray[Any, Any], channels: int, notes: list[str]) -> np.ndarray[Any, Any]:
    """[h, w] or [h, w, 3] -> [channels, h, w]."""
    if pixels.ndim == 2:
        if channels == 3:
            notes.append("grey copied to three channels")
        return np.stack([pixels] * channels)
    if channels == 3:
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if (pixels != pixels[..., :1]).any():
        raise MismatchError("is in colour; this model reads grey. Give the file as the generator wrote it.")
    notes.append("equal colour channels read as grey")
    return np.ascontiguousarray(pixels[None, ..., 0])
