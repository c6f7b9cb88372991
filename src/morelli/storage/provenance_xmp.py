"""A few properties of an XMP packet. Declarations of entities are refused, so nothing in it can grow.

Sources: XMP part 1 (ISO 16684-1), 7; IPTC Photo Metadata Standard 2025.1 for DigitalSourceType and what begins with AI.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from xml.etree import ElementTree

from morelli.storage.provenance_values import ENTRIES, LOOKED_AT, Value

IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"
PROPERTIES = {
    "{http://ns.adobe.com/xap/1.0/}CreatorTool": "CreatorTool",
    "{http://ns.adobe.com/photoshop/1.0/}Credit": "Credit",
    "{http://ns.adobe.com/tiff/1.0/}Software": "Software",
    "{http://ns.adobe.com/exif/1.0/}UserComment": "UserComment",
    "{http://purl.org/dc/elements/1.1/}description": "description",
    "{http://purl.org/dc/terms/}provenance": "provenance",  # where a C2PA manifest lies that the file does not hold
    **{IPTC + name: name for name in ("DigitalSourceType", "AISystemUsed", "AISystemVersionUsed")},
    IPTC + "AIPromptInformation": "AIPromptInformation",
}


def properties(packet: str, notes: list[str]) -> list[Value]:
    """Those that are known, in the packet's order; one more than ENTRIES at most. No tree is built of it."""
    text = packet.strip("\0\ufeff \r\n\t")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        notes.append("XMP data declares entities; it was not read")
        return []
    reader = _Reader()
    try:
        ElementTree.XML(text, ElementTree.XMLParser(target=reader))
    except (ElementTree.ParseError, ValueError):
        notes.append("XMP data is damaged; it was not read")
        return []
    return reader.found


class _Reader:
    """Is told of a packet part by part. Elements inside a known one are its text, whatever they are called."""

    def __init__(self) -> None:
        self.found: list[Value] = []
        self._depth, self._length, self._text = 0, 0, io.StringIO()  # of the known element that is open

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        for key, value in attributes.items():
            if key in PROPERTIES:
                self._keep(key, value, len(value))
        if self._depth or tag in PROPERTIES:
            self._depth += 1
        if self._depth == 1:
            self._length, self._text = 0, io.StringIO()
            self.data(attributes.get(RESOURCE, ""))

    def data(self, text: str) -> None:
        if self._depth:
            self._text.write(text[: max(0, LOOKED_AT - self._length)])
            self._length += len(text)

    def end(self, tag: str) -> None:
        if self._depth == 1:
            self._keep(tag, " ".join(self._text.getvalue().split()), self._length)
        self._depth = max(0, self._depth - 1)

    def close(self) -> None: ...

    def _keep(self, tag: str, text: str, length: int) -> None:
        if text and len(self.found) <= ENTRIES:
            self.found.append(Value("XMP", PROPERTIES[tag], text[:LOOKED_AT], length))
