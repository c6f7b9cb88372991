"""Verify signed reports: whose key, which bytes, which judged files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from morelli.app.signing import PREDICATE, REPORT, STATEMENT, Files, digest_of, place_of, read_bytes, several
from morelli.errors import MismatchError, MorelliError
from morelli.storage.signing import PAYLOAD_TYPE, payload_of, read_envelope

CONTAINERS = (".tar", ".parquet")
NO_REPORT = "what was signed is no report of Morelli's"


def verify_report(
    reports: Files, signature: str | Path, public_key: str | Path, *, judged: bool = True
) -> dict[str, Any]:
    """Are these the reports that this key signed, and the files they judged?

    Args:
        public_key: in PEM, or a certificate. That it is the signer's must be known from elsewhere.
        judged: also look at the judged files, where the report names them or beside it.
    Returns:
        `verified`; `problems`, each a sentence; `files`, each with its `role` ("report" or "judged"), signed `sha256`
        and `state` ("sound", "altered", "missing", "not signed", "not looked at"); what was signed, as `predicate`.
        Samples inside of tar and Parquet files are never looked at.
    Raises:
        UnsuitableKey, MorelliError: key, envelope or a report cannot be read.
    """
    paths = several(reports)
    envelope = read_envelope(read_bytes(Path(signature)))
    try:
        statement = _stated(envelope.payload_type, payload_of(envelope, read_bytes(Path(public_key))))
    except MismatchError as error:
        return {"verified": False, "problems": [str(error)], "files": [], "predicate": None}
    files, problems = [], []
    for role, name, digest, state, problem in _compared(_subjects(statement), paths, judged):
        files.append({"role": role, "file": name, "sha256": digest, "state": state})
        problems += [problem] if problem else []
    return {"verified": not problems, "problems": problems, "files": files, "predicate": statement["predicate"]}


def _stated(kind: str, payload: bytes) -> dict[str, Any]:
    if kind != PAYLOAD_TYPE:
        raise MismatchError(f"the envelope holds {kind[:80]!r}; expected {PAYLOAD_TYPE}.")
    try:
        statement = dict(json.loads(payload))
    except (ValueError, TypeError, RecursionError):
        raise MismatchError(f"{NO_REPORT}.") from None
    if (statement.get("_type"), statement.get("predicateType")) != (STATEMENT, PREDICATE):
        raise MismatchError(f"{NO_REPORT}: {str(statement.get('predicateType'))[:80]!r}.")
    if not _is_ours(statement.get("predicate")):
        raise MismatchError(f"{NO_REPORT}.")
    return statement


def _is_ours(predicate: Any) -> bool:
    if not isinstance(predicate, dict) or "attributor" not in predicate:
        return False
    about = predicate["attributor"]
    return about is None or (isinstance(about, dict) and {"name", "digest"} <= about.keys())


def _subjects(statement: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Role, name and digest of each."""
    try:
        found = [(each["annotations"]["role"], each["name"], each["digest"]["sha256"]) for each in statement["subject"]]
        if all(isinstance(word, str) for words in found for word in words):
            return found
    except (KeyError, TypeError):
        pass
    raise MorelliError("what was signed names no files; expected what `morelli sign` wrote.")


def _compared(
    subjects: Sequence[tuple[str, str, str]], paths: Sequence[Path], judged: bool
) -> Iterator[tuple[str, str, str, str, str]]:
    """Role, name, signed digest, state, and a sentence where that is a problem."""
    signed = {name: digest for role, name, digest in subjects if role == REPORT}
    given = {path: digest_of(path) for path in paths}
    named, renamed = {path.name for path in paths}, {given[path] for path in paths if path.name not in signed}
    for path, digest in given.items():
        if signed.get(path.name) == digest or (path.name not in signed and digest in signed.values()):
            yield REPORT, path.name, digest, "sound", ""
        elif path.name in signed:
            yield REPORT, path.name, signed[path.name], "altered", _altered(path.name, digest, signed[path.name])
        else:
            yield REPORT, path.name, "", "not signed", f"{path.name} was not signed; signed were {', '.join(signed)}"
    for name, digest in signed.items():
        if name not in named and digest not in renamed:
            yield REPORT, name, digest, "not looked at", ""
    for role, name, digest in subjects:
        if role == REPORT:
            continue
        place = place_of(name, paths) if judged else None
        if not judged or (place is None and _is_inside(name)):
            yield role, name, digest, "not looked at", ""
        elif place is None:
            yield role, name, digest, "missing", f"{name}, which was judged, is missing"
        elif (found := digest_of(place)) != digest:
            yield role, name, digest, "altered", _altered(f"{name}, which was judged,", found, digest)
        else:
            yield role, name, digest, "sound", ""


def _is_inside(name: str) -> bool:
    """Whether a sample lies in a larger file, whose parts are not read here."""
    return any(folder.suffix.lower() in CONTAINERS for folder in PurePath(name).parents)


def _altered(name: str, found: str, signed: str) -> str:
    return f"{name} was altered: its SHA-256 is {found}, signed was {signed}"
