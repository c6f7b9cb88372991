"""A few fields of EXIF data, or of a TIFF file, which is built alike. No others are looked at: no place, no person.

Pillow reads every field and copies it; 10.1 takes 1.5 GB for 1 MB of many fields over the same bytes (13 has a limit).
Here each known field is read once, and in part. Sources: TIFF 6.0, section 2; Exif 2.32, 4.6.5 (user comments);
BigTIFF as libtiff has it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from morelli.storage.provenance_values import LOOKED_AT, Value, as_text

FIELDS = {270: "ImageDescription", 271: "Make", 272: "Model", 305: "Software", 37510: "UserComment"}
XMP, EXIF = 700, 34665  # a field that holds XMP; where the fields of EXIF begin
CONTAINED = "XMP in a field"
NAME = "EXIF data"
EIGHT_BYTES = (16, 18)  # types of pointers in BigTIFF
ONE_BYTE = (1, 2, 6, 7, 129)  # types: numbers, ASCII, signed, undefined, UTF-8
MOST = 4096  # fields of one directory
LARGEST_XMP = 2**20


def fields(data: bytes, notes: list[str]) -> Iterator[Value]:
    """Those of the first directory and of EXIF's own. XMP is handed on whole, as `where` CONTAINED."""
    try:
        yield from _fields(data)
    except (struct.error, KeyError):
        if not any(NAME in note for note in notes):  # the decoder may have said so
            notes.append(f"{NAME} is damaged; what could be read of it is shown")


def _fields(data: bytes) -> Iterator[Value]:
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    pointer, counted, inline = (f"{order}Q", f"{order}Q", 8) if big else (f"{order}I", f"{order}H", 4)
    entry = struct.Struct(f"{order}HH{pointer[1]}{inline}s")
    places, first = list(struct.unpack_from(pointer, data, 8 if big else 4)), True
    wanted = {*FIELDS, XMP}
    while places:
        place = places.pop()
        (count,) = struct.unpack_from(counted, data, place)
        for i in range(min(count, MOST)):
            at = place + struct.calcsize(counted) + i * entry.size
            tag, kind, size, value = entry.unpack_from(data, at)
            if tag == EXIF and first:
                first = False
                places += (
                    struct.unpack(pointer, value) if kind in EIGHT_BYTES else struct.unpack_from(f"{order}I", value)
                )
            elif kind in ONE_BYTE and tag in wanted:
                wanted.remove(tag)
                begin = at + entry.size - inline if size <= inline else struct.unpack(pointer, value)[0]
                content = data[begin : begin + min(size, LARGEST_XMP if tag == XMP else LOOKED_AT)]
                if tag == XMP:
                    yield Value(CONTAINED, "", as_text(content))
                elif text := _text(content, tag, order):
                    yield Value("EXIF", FIELDS[tag], text, size)


def _text(content: bytes, tag: int, order: str) -> str:
    if tag == 37510:
        coding, content = content[:8], content[8:]
        if coding == b"UNICODE\0":
            zeros = [content[:512:2].count(0), content[1:512:2].count(0)]  # writers disagree on the order of bytes
            big = zeros[0] > zeros[1] if zeros[0] != zeros[1] else order == ">"
            return content.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\0 ")
        if coding not in (b"ASCII\0\0\0", bytes(8)):
            content = coding + content
    return as_text(content.rstrip(b"\0 "))
