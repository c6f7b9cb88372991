"""Where pictures keep words: text chunks of PNG, segments of JPEG, chunks of WebP, the fields of TIFF.

Sources: PNG (W3C, third edition) 11.3.3 and 11.3.4.5; JPEG: Exif 2.32, 4.7.2, and XMP part 3, 1.1.3;
WebP: RFC 9649, 2.7.1.5.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from morelli.storage.provenance_values import LOOKED_AT, as_text

PARTS = 100_000  # chunks or segments that are walked through
XMP = b"http://ns.adobe.com/xap/1.0/\0"
EXIF = b"Exif\0\0"
LARGEST_XMP = 2**20
PACKETS = 4  # of XMP, and of EXIF: each may have to be unpacked
PROFILES = {"exif": "exif", "APP1": "exif", "xmp": "xmp"}  # as ImageMagick writes them into PNG, in hexadecimal


@dataclass(frozen=True)
class Piece:
    """`kind` "text", "exif" or "xmp"; `length` of a text in bytes, None where it was cut unseen."""

    kind: str
    where: str
    name: str
    content: bytes
    length: int | None = 0

    def text(self) -> str:
        return as_text(self.content)


def pieces(data: bytes, kind: str, notes: list[str]) -> Iterator[Piece]:
    """What the file carries, in its order. Ends where the file is damaged: whoever decodes it says so."""
    found = READERS[kind](data) if kind in READERS else iter(())
    packets = Counter[str]()
    for parts, piece in enumerate(found):
        if parts >= PARTS:
            notes.append(f"more than {PARTS} parts; metadata behind those is not looked for")
            return
        if piece is None:
            continue
        packets[piece.kind] += 1
        if piece.kind != "text" and packets[piece.kind] > PACKETS:
            notes.append(f"more than {PACKETS} packets of {piece.where}; metadata behind those is not looked for")
            return
        yield piece


def _png(data: bytes) -> Iterator[Piece | None]:
    at = 8
    while at + 12 <= len(data):
        size, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        start, end = at + 8, min(at + 8 + size, len(data) - 4)
        if name == b"IEND":
            return
        if name == b"eXIf":
            yield Piece("exif", "EXIF", "", data[start:end])
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            yield _png_text(name, data[start : min(end, start + LARGEST_XMP)], end - start)
        else:
            yield None
        at += 12 + size


def _png_text(chunk: bytes, body: bytes, size: int) -> Piece | None:
    key, _, rest = body.partition(b"\0")
    length: int | None = size - len(key) - 1
    packed = chunk == b"zTXt"
    if packed:
        rest = rest[1:]
    elif chunk == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:]
        before = len(rest)
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]
        length = size - len(key) - 3 - (before - len(rest))
    name = key[:79].decode("latin-1")
    profile = PROFILES.get(name.removeprefix("Raw profile type "), "") if name.startswith("Raw profile") else ""
    limit = LARGEST_XMP if profile or name == "XML:com.adobe.xmp" else LOOKED_AT
    if packed:
        unpacker = zlib.decompressobj()
        try:
            rest = unpacker.decompress(rest, limit)
        except zlib.error:
            return Piece("text", "PNG text", name, b"(damaged)")
        length = len(rest) if unpacker.eof else None
    rest = rest[:limit]
    if profile:
        return _profile(profile, rest)
    if name == "XML:com.adobe.xmp":
        return Piece("xmp", "XMP", "", rest)
    return Piece("text", "PNG text", name, rest, length)


def _profile(kind: str, text: bytes) -> Piece | None:
    """A name, a length and hexadecimal digits, on lines of their own."""
    lines = text.split(b"\n", 3)
    try:
        content = bytes.fromhex(lines[3].decode("ascii")) if len(lines) == 4 else b""
    except ValueError:
        return Piece("text", "PNG text", f"Raw profile type {kind}", b"(damaged)")
    if content.startswith(XMP):
        return Piece("xmp", "XMP", "", content.removeprefix(XMP))
    return Piece(kind, kind.upper(), "", content.removeprefix(EXIF))


def _jpeg(data: bytes) -> Iterator[Piece | None]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0xDA, 0xD9):  # pixels, end
            return
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # filling, or without a length
            at += 1 if marker == 0xFF else 2
            yield None
            continue
        size = int.from_bytes(data[at + 2 : at + 4])
        body = data[at + 4 : at + 2 + size]
        if marker == 0xE1 and body.startswith(EXIF):
            yield Piece("exif", "EXIF", "", body[len(EXIF) :])
        elif marker == 0xE1 and body.startswith(XMP):
            yield Piece("xmp", "XMP", "", body[len(XMP) :])
        elif marker == 0xFE:
            yield Piece("text", "JPEG comment", "comment", body, len(body))
        else:
            yield None
        at += 2 + max(size, 2)


def _webp(data: bytes) -> Iterator[Piece | None]:
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"EXIF":
            yield Piece("exif", "EXIF", "", data[at + 8 : at + 8 + size].removeprefix(EXIF))
        elif name == b"XMP ":
            yield Piece("xmp", "XMP", "", data[at + 8 : at + 8 + min(size, LARGEST_XMP)])
        else:
            yield None
        at += 8 + size + size % 2


def _tiff(data: bytes) -> Iterator[Piece | None]:
    yield Piece("exif", "EXIF", "", data)


READERS: dict[str, Callable[[bytes], Iterator[Piece | None]]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WEBP": _webp,
    "TIFF": _tiff,
}
