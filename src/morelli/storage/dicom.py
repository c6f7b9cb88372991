"""Grey DICOM files: bytes → shares of a window, with facts about the pixels and none about the patient.

Stored value → × slope + intercept → the window → [0, 1], inverted where the least value is white. The window decides
what of the file is seen, and so belongs to how a model's files are written: see docs/medical.md.
Source: DICOM PS3.3, C.7.6.3 (pixels), C.11.1 (rescaling), C.11.2 (windows).
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morelli.errors import MismatchError, UnreadableSample
from morelli.storage.guard import guarded

Window = tuple[float, float]  # centre and width
KIND = "DICOM"
GREY = ("MONOCHROME1", "MONOCHROME2")  # the least value is white; is black
COLOURS = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
DEFLATED = "1.2.840.10008.1.2.1.99"
AS_MADE = "and what that changed is not known. Give it as it was generated."
INSTEAD = "Make the model's head with a window for all (`--window`)."
LARGEST = 2  # times the size of the pixels that their compressed form may have


def is_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def decode_dicom(data: bytes, max_pixels: int, window: Window | None) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Reads one grey frame.

    Args:
        max_pixels: checked against the header, before pixels are decoded.
        window: centre and width in rescaled units; None takes the file's first, or where it has none all that its bits
            can hold.
    Returns:
        float64 [h, w] in [0, 1], and facts: `format`, `mode`, `bits` that are stored, `levels` between the window's
        ends, `size`, `window`, `transfer` (the coding's name), `coding` "none", `notes`.
    Raises:
        MismatchError: in colour, or coded with loss.
        UnreadableSample: everything else that is not read, or pydicom is missing. Texts start with a verb, and quote
            nothing of the file but numbers and standard names.
    """
    notes: list[str] = []
    with guarded(KIND, max_pixels, notes, private=True):
        header = header_of(data)
        rows, columns = int(header.get("Rows", 0)), int(header.get("Columns", 0))
        transfer = header.file_meta.TransferSyntaxUID
        _refuse(header, rows, columns, max_pixels)
        mode, bits = str(header.PhotometricInterpretation), int(header.BitsStored)
        slope, intercept = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
        if not (0 < slope < math.inf and math.isfinite(intercept)):
            raise UnreadableSample(
                f"has rescale slope {slope:g} and intercept {intercept:g}; expected a positive slope. Export it again."
            )
        low, high, found = _ends(header, window, bits, slope, intercept, notes)
        raw = _pixels(header, transfer)
        if raw.shape != (rows, columns):
            raise UnreadableSample(f"decodes to {raw.shape}; its header says {(rows, columns)}. Export it again.")
    raw *= slope  # in place: a copy of every step would be the size of the picture, eight bytes a pixel
    raw += intercept
    raw -= low
    raw /= high - low
    grey = raw.clip(0, 1, out=raw)
    facts: dict[str, Any] = {"format": KIND, "mode": mode, "bits": bits, "size": [columns, rows], "window": list(found)}
    facts |= {"levels": round((high - low) / slope) + 1, "transfer": str(transfer.name), "coding": "none"}
    if mode == GREY[0]:
        np.subtract(1, grey, out=grey)
    return grey, facts | {"notes": notes}


def header_of(data: bytes) -> Any:
    """The whole data set; its pixels are not decoded yet. Raises UnreadableSample rather than inflate anything."""
    try:
        import pydicom
    except Exception as error:  # a broken installation raises nearly anything
        raise UnreadableSample("is DICOM; reading it takes `pip install 'morelli[dicom]'`.") from error
    if _transfer_of(data) == DEFLATED:
        raise UnreadableSample("is deflated to an unknown size; expected another coding. Export it uncompressed.")
    header = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in header:
        raise UnreadableSample("is DICOM without a picture of whole numbers; expected a grey image. Name another file.")
    return header


def _transfer_of(data: bytes) -> str:
    """Of the file's meta information, which is never compressed."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    file = io.BytesIO(data)
    read_preamble(file, force=False)
    return str(_read_file_meta_info(file).TransferSyntaxUID)


def _refuse(header: Any, rows: int, columns: int, max_pixels: int) -> None:
    """What is not read, before anything is decoded."""
    mode, channels = str(header.get("PhotometricInterpretation", "")), int(header.get("SamplesPerPixel", 1))
    if rows * columns > max_pixels or min(rows, columns) < 1:
        raise UnreadableSample(
            f"claims {columns}x{rows} pixels; the limit is {max_pixels}. Crop it or raise max_pixels."
        )
    if channels != 1 or mode not in GREY:
        named = mode if mode in COLOURS else f"{channels} channels"
        raise MismatchError(f"is in colour ({named}); DICOM is read as grey. Give a MONOCHROME1 or MONOCHROME2 image.")
    if (frames := int(header.get("NumberOfFrames") or 1)) != 1:
        raise UnreadableSample(f"holds {frames} frames; expected one. Save each as its own file.")
    allocated, bits = int(header.BitsAllocated), int(header.BitsStored)
    if allocated not in (8, 16) or not 2 <= bits <= allocated:
        raise UnreadableSample(f"stores {bits} bits in {allocated}; expected 2 to 16 in 8 or 16. Export it so.")
    if "ModalityLUTSequence" in header:
        raise UnreadableSample("is rescaled by a table; expected slope and intercept. Export it rescaled.")
    if str(header.get("LossyImageCompression", "00")) == "01":
        raise MismatchError(f"was compressed with loss, {AS_MADE}")
    if (held := len(header.PixelData)) > LARGEST * rows * columns * (allocated // 8) + 2**16:
        raise UnreadableSample(f"has {held} bytes of pixels, more than {columns}x{rows} take. Export it again.")


def _pixels(header: Any, transfer: Any) -> NDArray[np.float64]:
    """Stored values [rows, columns]."""
    from pydicom import uid

    lossy = {getattr(uid, name) for name in ("JPEGBaseline8Bit", "JPEGExtended12Bit", "JPEGLSNearLossless", "JPEG2000")}
    if transfer in lossy:
        raise MismatchError(f"is coded as {transfer.name}, which may lose, {AS_MADE}")
    try:
        return np.asarray(header.pixel_array).astype(np.float64)
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        if transfer.is_compressed:
            raise UnreadableSample(
                f"is coded as {transfer.name}, which is not decoded here. Install pylibjpeg with its plugins, or "
                "export it uncompressed."
            ) from error
        raise


def _ends(
    header: Any, asked: Window | None, bits: int, slope: float, intercept: float, notes: list[str]
) -> tuple[float, float, Window]:
    """The rescaled values that become 0 and 1, and the window they stand for."""
    shape = "LINEAR"
    if asked is None and "WindowCenter" in header and "WindowWidth" in header:
        centres, widths = (_numbers(header[name]) for name in ("WindowCenter", "WindowWidth"))
        if not centres or not widths:
            raise UnreadableSample(f"has an empty window; expected centre and width. {INSTEAD}")
        if max(len(centres), len(widths)) > 1:
            notes.append(f"first of {len(centres)} windows taken")
        asked, shape = (centres[0], widths[0]), str(header.get("VOILUTFunction", "LINEAR"))
    elif asked is None and "VOILUTSequence" in header:
        raise UnreadableSample(f"is shown through a table; expected a window. {INSTEAD}")
    if asked is None:
        notes.append("no window; all that its bits hold taken")
        least = -(2 ** (bits - 1)) if int(header.get("PixelRepresentation", 0)) else 0
        low, high = (value * slope + intercept for value in (least, least + 2**bits - 1))
        return low, high, ((low + high + slope) / 2, high - low + slope)
    centre, width = asked
    if shape not in ("LINEAR", "LINEAR_EXACT"):
        raise UnreadableSample(f"has a window that is no straight line; expected one. {INSTEAD}")
    reach = (width - 1) / 2 if shape == "LINEAR" else width / 2
    if not (math.isfinite(centre) and 0 < reach < math.inf):
        raise UnreadableSample(f"has the window {centre:g}, {width:g}; expected a width above 1. Export it again.")
    middle = centre - 0.5 if shape == "LINEAR" else centre
    return middle - reach, middle + reach, asked


def _numbers(element: Any) -> list[float]:
    """Of an element that holds none, one or several."""
    return [float(each) for each in ([element.value] if element.VM == 1 else element.value or [])]
