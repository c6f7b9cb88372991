"""How large a picture claims to be, before anything of it is decoded."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, TiffImagePlugin


def claimed_pixels(path: Path) -> int:
    """Of a picture, as its header says: nothing is decoded. 0 of what is no picture, which readers refuse."""
    with path.open("rb") as file:
        first = file.read(132)
    if first[128:] == b"DICM":
        return _claimed_by_dicom(path)
    try:
        data = io.BytesIO(path.read_bytes())
        with Image.open(data, formats=["PNG", "JPEG", "WEBP", "BMP", "TIFF"]) as image:
            pixels = image.width * image.height
            if isinstance(image, TiffImagePlugin.TiffImageFile):  # a tile may be declared larger than the picture
                tile = [image.tag_v2.get(tag, 0) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
                pixels = max(pixels, int(tile[0]) * int(tile[1]))
            return pixels
    except Image.DecompressionBombError:
        return 2**62
    except Exception:  # readers say what is wrong with it
        return 0


def _claimed_by_dicom(path: Path) -> int:
    try:
        import pydicom

        header = pydicom.dcmread(path, stop_before_pixels=True)
        return int(header.Rows) * int(header.Columns)
    except Exception:  # as above
        return 0
