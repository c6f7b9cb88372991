"""What pictures say of their own origin, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from morelli.cli.answers import harmless

SHOWN = 200


def origins_in(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each file that says something of its own origin, or may do so unread."""
    lines = []
    for file, facts in {verdict["file"]: verdict["facts"] for verdict in verdicts[:SHOWN]}.items():
        found, notes = facts.get("provenance") or {}, facts.get("notes", ())
        if any(found.values()) or _of_manifests(notes):
            lines.append(f"says of its origin: {file}: {origin(found, notes)}")
    return lines


def origin(found: Mapping[str, Any], notes: Sequence[str]) -> str:
    """What a picture says of its own origin, on one line, with notes on manifests that were not read."""
    parts = []
    if manifest := found["c2pa"]:
        told = {True: ", says AI-generated", False: ", says not AI-generated", None: ""}[manifest["ai_generated"]]
        by = f", by {manifest['claim_generator']}" if manifest["claim_generator"] else ""
        signer = f", signed by {manifest['signer']}" if manifest["signer"] else ""
        parts.append(f"C2PA manifest, {manifest['state']}{by}{signer}{told}")
    if found["tools"]:
        parts.append(f"names {', '.join(found['tools'])}")
    if count := len(found["metadata"]):
        parts.append(f"{count} {'entry' if count == 1 else 'entries'} of metadata")
    return "; ".join([*parts, *_of_manifests(notes)]) or "nothing found"


def _of_manifests(notes: Sequence[str]) -> list[str]:
    return [note for note in notes if "C2PA" in note]


@harmless
def origins(found: Mapping[str, Any]) -> str:
    """Of each file what it says, entry by entry."""
    lines = []
    for file in found["files"][:SHOWN]:
        facts = file["provenance"]
        lines.append(f"{file['file']}: {origin(facts, file['notes'])}")
        if manifest := facts["c2pa"]:
            said = ((name, value) for name, value in manifest.items() if value not in (None, "", []))
            lines += [f"  C2PA {name}: {_listed(value)}" for name, value in said]
        for entry in facts["metadata"]:
            tool = f" [{entry['tool']}]" if entry["tool"] else ""
            lines.append(f"  {entry['where']}, {entry['name']}{tool}: {entry['value']}")
        lines += [f"  note: {note}" for note in file["notes"] if note not in _of_manifests(file["notes"])]
    if len(found["files"]) > SHOWN:
        lines.append(f"… and {len(found['files']) - SHOWN} more; use --json to see all.")
    return "\n".join(
        [*lines, *(f"refused: {each['reason']}" for each in found["refused"][:SHOWN]), "", found["limits"]]
    )


def _listed(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
