"""How large a picture claims to be, before anything of it is decoded."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, TiffImagePlugin

from morelli.storage.dicom import header_of, is_dicom


def claimed_pixels(path: Path) -> int:
    """Of a picture, as its header says: nothing is decoded. 0 of what is no picture, which readers refuse."""
    try:
        data = path.read_bytes()  # which may be gone already, with its client
        if is_dicom(data):
            header = header_of(data)
            return int(header.Rows) * int(header.Columns)
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP", "BMP", "TIFF"]) as image:
            pixels = image.width * image.height
            if isinstance(image, TiffImagePlugin.TiffImageFile):  # a tile may be declared larger than the picture
                tile = [image.tag_v2.get(tag, 0) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
                pixels = max(pixels, int(tile[0]) * int(tile[1]))
            return pixels
    except Image.DecompressionBombError:
        return 2**62
    except Exception:  # readers say what is wrong with it
        return 0
