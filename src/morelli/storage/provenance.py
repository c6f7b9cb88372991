"""What a picture file says of its own origin: C2PA manifests and metadata. Facts beside a verdict, never part of one.

Metadata is removed by any conversion and written by any editor, so neither its presence nor its absence proves
anything. Nothing is fetched, nothing is executed. Sources of the known tools: docs/provenance.md.
"""

from __future__ import annotations

from typing import Any

from morelli.storage.provenance_c2pa import manifest_of
from morelli.storage.provenance_pieces import Piece, pieces
from morelli.storage.provenance_tiff import CONTAINED, fields
from morelli.storage.provenance_tools import tool_of
from morelli.storage.provenance_values import ENTRIES, Value, cleaned
from morelli.storage.provenance_xmp import properties

READ = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # BMP carries nothing of this kind
ELSEWHERE = ("XMP", "provenance")


def provenance_of(data: bytes, kind: str, notes: list[str], trust: str = "") -> dict[str, Any]:
    """Facts of origin in the bytes of one picture; an empty list or None says that none was found.

    Args:
        kind: its format, one of `READ`.
        notes: told what could not be read, or not all.
        trust: PEM certificates of roots whose C2PA signers count as known; without any, no signer does.
    Returns:
        `c2pa`, None or `state` ("valid"; "untrusted": sound, by a signer that `trust` does not vouch for; "invalid"),
        `claim_generator`, `signer`, `time`, `actions`, and `ai_generated`: what the manifest says of that, or None;
        `metadata`: `where`, `name`, `value` (shortened) and `tool`, if one is known to write such;
        `tools`: those named by metadata or manifest.
    """
    values: list[Value] = []
    for piece in pieces(data, kind, notes):
        for value in _values(piece, notes):
            if value.where != CONTAINED:
                values.append(value)
            else:  # XMP in a field of TIFF
                values += properties(value.text, notes)
        if len(values) > ENTRIES:
            notes.append(f"more than {ENTRIES} entries of metadata; the rest is not shown")
            break
    manifest, agents = manifest_of(data, kind, notes, trust)
    if manifest is None and any((value.where, value.name) == ELSEWHERE for value in values):
        notes.append("names a C2PA manifest that lies elsewhere; it was not fetched")
    entries = [_entry(value) for value in values[:ENTRIES]]
    named = [entry["tool"] for entry in entries] + [tool_of("claim generator", agent) for agent in agents]
    return {"c2pa": manifest, "metadata": entries, "tools": list(dict.fromkeys(name for name in named if name))}


def _values(piece: Piece, notes: list[str]) -> list[Value]:
    if piece.kind == "exif":
        return list(fields(piece.content, notes))
    if piece.kind == "xmp":
        return properties(piece.text(), notes)
    return [Value(piece.where, piece.name, piece.text(), piece.length)]


def _entry(value: Value) -> dict[str, Any]:
    name = cleaned(value.name)
    tool = tool_of(name, value.text)
    return {"where": value.where, "name": name, "value": value.shown(), "tool": tool}
