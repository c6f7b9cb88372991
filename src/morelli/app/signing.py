"""Sign reports: an in-toto statement over their bytes and those of every judged file.

Source: in-toto attestation framework v1.0 (Statement, ResourceDescriptor).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import file_digest
from pathlib import Path
from typing import Any

from morelli._version import __version__
from morelli.errors import MismatchError, MorelliError
from morelli.storage.signing import seal
from morelli.storage.writing import write_whole

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://morelli.readthedocs.io/report/v1"  # a name; nothing is fetched
SETTINGS = ("method", "rate", "threshold", "held_out")
REPORT, JUDGED = "report", "judged"
SUFFIX = ".dsse"
Files = str | Path | Sequence[str | Path]


def sign(
    reports: Files,
    key: str | Path,
    *,
    out: str | Path | None = None,
    passphrase: str | None = None,
    time: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Sign reports: JSON as `morelli attribute --json` prints it, and pages or any other file beside it.

    Of a JSON report the files it judged are signed too, by the digests it names, and its attributor and settings.

    Args:
        key: a private key in PEM.
        out: where to write the envelope; by default the first report's name and ".dsse".
        time: when, as the signer says, in ISO 8601 with a time zone. Without it no time is claimed.
    Returns:
        Where the envelope is. The same files, key and time give the same bytes.
    Raises:
        MismatchError: a judged file is no longer what was judged, or two reports share a name.
        UnsuitableKey: see `storage.signing_keys`.
        MorelliError: a file cannot be read, `out` exists, or `time` is no time.
    """
    paths = several(reports)
    out = Path(out) if out is not None else paths[0].with_name(paths[0].name + SUFFIX)
    if out.exists() and not overwrite:
        raise MorelliError(f"{out} exists. Name another file, or overwrite it (`--overwrite`).")
    envelope = seal(json.dumps(_statement(paths, time), sort_keys=True).encode(), read_bytes(Path(key)), passphrase)
    write_whole(out, envelope)
    return out


def _statement(paths: Sequence[Path], time: str | None) -> dict[str, Any]:
    predicate: dict[str, Any] = {"morelli": __version__, "attributor": None, "settings": None}
    if time is not None:
        predicate["time"] = _time(time)
    subjects: dict[str, dict[str, Any]] = {}
    for path in paths:
        if path.name in subjects:
            raise MismatchError(f"two reports are called {path.name}; expected different names. Sign them apart.")
        subjects[path.name] = _subject(path.name, digest_of(path), REPORT)
    for path in paths:
        if path.suffix.lower() != ".json":
            continue
        report = _report(path)
        about = report["attributor"]
        if predicate["attributor"] not in (None, found := {name: about.get(name) for name in ("name", "digest")}):
            raise MismatchError(f"{path.name} is by another attributor than the report before it. Sign them apart.")
        predicate |= {"attributor": found, "settings": {name: about.get(name) for name in SETTINGS}}
        for name, digest in _judged(report):
            place = place_of(name, paths)
            if place is not None and digest_of(place) != digest:
                raise MismatchError(f"{name} is no longer the file that was judged. Judge it again, or restore it.")
            if subjects.setdefault(name, _subject(name, digest, JUDGED))["digest"]["sha256"] != digest:
                raise MismatchError(f"{name} stands for two different files. Sign the reports apart.")
    return {
        "_type": STATEMENT,
        "subject": list(subjects.values()),
        "predicateType": PREDICATE,
        "predicate": predicate,
    }


def _subject(name: str, digest: str, role: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}, "annotations": {"role": role}}


def _report(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_bytes(path))
        if isinstance(found["attributor"], dict) and all(isinstance(each["facts"], dict) for each in found["verdicts"]):
            return dict(found)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise MorelliError(f"{path} is no report; expected the JSON that `morelli attribute --json` prints.")


def _judged(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and digest of each judged file. Those that were not read have none, and rest on the report's own."""
    for verdict in report["verdicts"]:
        if digest := verdict["facts"].get("sha256"):
            yield str(verdict["file"]), str(digest)


def place_of(name: str, reports: Sequence[Path]) -> Path | None:
    """Where a judged file is: as the report names it from here, from the report's folder, or beside the report."""
    folder = reports[0].parent
    return next((path for path in (Path(name), folder / name, folder / Path(name).name) if path.is_file()), None)


def digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MorelliError(f"{path} cannot be read ({error.strerror}); expected a file. Check the path.") from error


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MorelliError(f"{path} cannot be read ({error.strerror}); expected a file. Check the path.") from error


def several(files: Files) -> list[Path]:
    paths = [Path(files)] if isinstance(files, (str, Path)) else [Path(file) for file in files]
    if not paths:
        raise MorelliError("no report was named; expected at least one.")
    return paths


def _time(text: str) -> str:
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise MorelliError(f"'{text}' is no time; expected one like 2026-01-31T12:00:00Z.") from error
    if given.tzinfo is None:
        raise MorelliError(f"'{text}' names no time zone; expected one like 2026-01-31T12:00:00Z.")
    return given.isoformat()
