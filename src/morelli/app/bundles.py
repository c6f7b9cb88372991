"""Save, load and describe what Morelli makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from morelli.attribution.attributor import Attributor
from morelli.errors import MorelliError, UnreadableBundle
from morelli.numerics.head import Head
from morelli.storage import bundle

KINDS: dict[str, type[Head] | type[Attributor]] = {"head": Head, "attributor": Attributor}


def save(thing: Head | Attributor, path: str | Path, *, overwrite: bool = False, replaces: str | None = None) -> str:
    """Write a head or an attributor as a bundle and return its digest.

    Args:
        replaces: digest of the bundle at `path` that it was made from, so that nobody else's change is lost.
    Raises:
        UnreadableBundle: `path` exists and must not be replaced, or is no longer what this one replaces.
    """
    kind = next((name for name, type_ in KINDS.items() if isinstance(thing, type_)), None)
    if kind is None:
        raise MorelliError(f"a {type(thing).__name__} cannot be saved; expected one of: {', '.join(KINDS)}.")
    return bundle.write(Path(path), kind, thing.state(), overwrite=overwrite, replaces=replaces)


def load(path: str | Path) -> Head | Attributor:
    """Read whatever bundle is at `path`. Nothing in it is executed. Raises UnreadableBundle."""
    return _revive(Path(path), bundle.read(Path(path)))


def load_head(path: str | Path) -> Head:
    """Read a head bundle. Raises UnreadableBundle."""
    thing = _revive(Path(path), bundle.read(Path(path), "head"))
    assert isinstance(thing, Head)
    return thing


def load_attributor(path: str | Path) -> tuple[Attributor, str]:
    """Read an attributor bundle; also its digest. Raises UnreadableBundle."""
    found = bundle.read(Path(path), "attributor")
    thing = _revive(Path(path), found)
    assert isinstance(thing, Attributor)
    return thing, found.digest


def inspect(path: str | Path) -> dict[str, Any]:
    """What a bundle holds, without its tensors: kind, digest, settings of every part, card. Raises UnreadableBundle."""
    found = bundle.read(Path(path))
    thing = _revive(Path(path), found)
    described: dict[str, Any] = {
        "kind": found.kind,
        "digest": found.digest,
        "morelli": found.version,
        "tensors": {name: list(tensor.shape) for name, tensor in found.state.flatten().items()},
        "content": found.state.describe(),
    }
    if isinstance(thing, Attributor):
        described |= {
            "reads": thing.extractor.spec.settings(),
            "held_out": len(thing.held_out),
            "threshold": thing.threshold,
            "population": None if thing.population is None else thing.population.about(thing.rate),
        }
    return described


def _revive(path: Path, found: bundle.Bundle) -> Head | Attributor:
    if found.kind not in KINDS:
        raise UnreadableBundle(f"{path} holds a {found.kind!r}; expected one of: {', '.join(KINDS)}.")
    try:
        return KINDS[found.kind].from_state(found.state)
    except (MorelliError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        first = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise UnreadableBundle(f"{path}: the parts do not fit together ({first}). Make the bundle again.") from None
