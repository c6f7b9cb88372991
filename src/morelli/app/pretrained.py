"""Heads and attributors as folders in the manner of Hugging Face: `config.json`, `model.safetensors`, `README.md`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from morelli.app.autoencoders import autoencoder_head
from morelli.app.bundles import KINDS, load
from morelli.app.model_card import model_card
from morelli.attribution.attributor import Attributor
from morelli.errors import MorelliError, UnreadableBundle
from morelli.numerics.head import Head
from morelli.storage import bundle
from morelli.storage.autoencoders import PIPELINE


def save_pretrained(thing: Head | Attributor, folder: str | Path, *, overwrite: bool = False) -> str:
    """Write a head or an attributor as a folder for a model hub, and return its digest, that of its bundle.

    `config.json` and `model.safetensors` have the bytes of a bundle's `manifest.json` and `tensors.safetensors`, so
    every command reads the folder too. `README.md` is a model card; it is not read again, and may be edited.

    Raises:
        UnreadableBundle: `folder` exists and must not be replaced; a clone of a repository never is.
    """
    kind = next((name for name, type_ in KINDS.items() if isinstance(thing, type_)), None)
    if kind is None:
        raise MorelliError(f"a {type(thing).__name__} cannot be saved; expected one of: {', '.join(KINDS)}.")
    return bundle.write(Path(folder), kind, thing.state(), overwrite=overwrite, card=model_card(thing))


def from_pretrained(folder: str | Path, **settings: Any) -> Head | Attributor:
    """What `save_pretrained` wrote, or the head of an autoencoder in a folder of diffusers'. Local; no code is run.

    Args:
        settings: of an autoencoder's head: `source`, `draws`, `size`, `whole`, `seed`, `device`; see
            `app.autoencoders.head_from_autoencoder`. It takes seconds to minutes.
    Raises:
        UnreadableBundle: there is no such folder here, or it holds neither.
        MorelliError: see `morelli.load_autoencoder`.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UnreadableBundle(f"{folder} is no folder on this machine. Nothing is fetched: download it first.")
    if _of_diffusers(path):
        return autoencoder_head(path, **settings)[0]
    if settings:
        raise MorelliError(f"{', '.join(settings)} given, but only an autoencoder takes it. Leave it out.")
    if bundle.names(path)[0] == bundle.CONFIG and not (path / bundle.WEIGHTS).is_file():
        raise UnreadableBundle(
            f"{folder} holds neither a head or an attributor of Morelli's nor an autoencoder of diffusers'. Of another "
            "generator, make a head with `morelli.TorchGenerator`."
        )
    return load(path)


def _of_diffusers(path: Path) -> bool:
    if (path / PIPELINE).is_file():
        return True
    config = path / bundle.CONFIG
    if not config.is_file() or config.stat().st_size > bundle.MANIFEST_LIMIT:
        return False
    try:
        found = json.loads(config.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "_class_name" in found
