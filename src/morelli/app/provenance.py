"""What files say of their own origin, without any attributor."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morelli.errors import MorelliError, UnreadableSample
from morelli.storage.samples import find, read_origin

LIMITS = (
    "What a file says of itself is easily removed and easily forged. Nothing found proves nothing, "
    "and no verdict rests on any of it."
)


def provenance(source: str | Path | Sequence[str | Path], *, trust: str | Path | None = None) -> dict[str, Any]:
    """What do these pictures say of their own origin?

    Args:
        source: a folder, file, glob, or several of those.
        trust: a PEM file of root certificates; C2PA signers that these vouch for count as known. Without it none does.
    Returns:
        `files`: of each its name and the facts of `storage.samples.read_origin`; `refused`: name and reason; `limits`.
    Raises:
        UnreadableSample: there are no files at `source`.
        MorelliError: `trust` cannot be read.
    """
    roots = "" if trust is None else _roots(Path(trust))
    files, refused = [], []
    for path in find(source):
        try:
            files.append({"file": str(path)} | read_origin(path, roots))
        except UnreadableSample as error:
            refused.append({"file": str(path), "reason": str(error)})
    return {"files": files, "refused": refused, "limits": LIMITS}


def _roots(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise MorelliError(f"{path} cannot be read ({error}); expected certificates in PEM.") from error
    if "BEGIN CERTIFICATE" not in text:
        raise MorelliError(f"{path} holds no certificate; expected root certificates in PEM.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)  # reads each, and nothing else
    except ssl.SSLError as error:
        raise MorelliError(f"{path} holds a damaged certificate; expected root certificates in PEM.") from error
    return text
