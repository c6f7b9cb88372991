"""Attack cards: what an attributor's owner measured of attacks, read from JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morelli.errors import UnreadableBundle

LIMIT = 2**20  # bytes


def read_attack_card(path: str | Path) -> dict[str, Any]:
    """What was measured of attacks, as docs/report.md describes it. Raises UnreadableBundle for anything else."""
    path = Path(path)
    try:
        if path.stat().st_size > LIMIT:
            raise ValueError(f"more than {LIMIT} bytes")
        card = json.loads(path.read_text(encoding="utf-8"))
        rows = [_attack(row) for row in card["attacks"]]
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise UnreadableBundle(f"{path} is no attack card ({said}); docs/report.md says what one holds.") from None
    known = {key: str(card[key]) for key in ("title", "note", "made", "attributor") if card.get(key) is not None}
    return known | {"attacks": rows}


def _attack(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": str(row["name"]), "aim": str(row["aim"])}
    for key in ("psnr", "success", "low", "high", "samples"):
        value = row["success"] if key == "success" else row.get(key)
        if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
            raise ValueError(f"{key} is {str(value)[:40]!r}")
        found[key] = None if value is None else int(value) if key == "samples" else float(value)
    for key in ("success", "low", "high"):
        if found[key] is not None and not 0 <= found[key] <= 1:
            raise ValueError(f"{key} is {found[key]}, no share")
    return found | {"note": str(row.get("note") or "")}


def strongest(attacks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each aim and note the attack that succeeds most, at the highest PSNR; the JSON has all."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in attacks:
        best = found.setdefault((row["note"], row["aim"]), row)
        if _success(row) > _success(best):
            found[row["note"], row["aim"]] = row
    return list(found.values())


def _success(attack: Mapping[str, Any]) -> tuple[float, float]:
    success, psnr = (attack[key] for key in ("success", "psnr"))
    return (-1.0 if success is None else success, -1.0 if psnr is None else psnr)
