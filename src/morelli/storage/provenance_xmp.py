"""A few properties of an XMP packet. Declarations of entities are refused, so nothing in it can grow.

Sources: XMP part 1 (ISO 16684-1), 7; IPTC Photo Metadata Standard 2025.1 for DigitalSourceType and what begins with AI.
"""

from __future__ import annotations

from xml.etree import ElementTree

from morelli.storage.provenance_values import LOOKED_AT, Value

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
    """Those that are known, in the packet's order."""
    text = packet.strip("\0\ufeff \r\n\t")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        notes.append("XMP data declares entities; it was not read")
        return []
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        notes.append("XMP data is damaged; it was not read")
        return []
    found = []
    for element in root.iter():
        found += [Value("XMP", PROPERTIES[key], value) for key, value in element.items() if key in PROPERTIES]
        if element.tag in PROPERTIES:
            words = element.get(RESOURCE) or " ".join("".join(element.itertext()).split())
            found.append(Value("XMP", PROPERTIES[element.tag], words))
    return [Value(v.where, v.name, v.text[:LOOKED_AT], len(v.text)) for v in found if v.text]
