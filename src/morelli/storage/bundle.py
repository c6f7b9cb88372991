"""Bundles: a State as two files, `manifest.json` and `tensors.safetensors`. Reading executes nothing.

The format is specified in docs/bundle-format.md. Both files may also be called as Hugging Face's libraries call theirs.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from morelli._version import __version__
from morelli.errors import UnreadableBundle
from morelli.numerics.state import State
from morelli.storage.writing import cannot_write, move_into_place

FORMAT = 1
MANIFEST, TENSORS = "manifest.json", "tensors.safetensors"
CONFIG, WEIGHTS, README = "config.json", "model.safetensors", "README.md"  # the same, with a card beside them
MANIFEST_LIMIT = 16 * 2**20
TENSORS_LIMIT = 8 * 2**30


@dataclass(frozen=True, eq=False)
class Bundle:
    """What was read. `digest` is the SHA-256 of the manifest, which holds that of the tensors."""

    kind: str
    state: State
    digest: str
    version: str


def write(
    path: Path,
    kind: str,
    state: State,
    *,
    overwrite: bool = False,
    card: str | None = None,
    replaces: str | None = None,
) -> str:
    """Write a bundle and return its digest. Either the whole bundle is at `path` afterwards, or what was there.

    Args:
        card: text of a README.md to write beside it; the files are named as Hugging Face's are then.
        replaces: digest of the bundle that this one was made from, and takes the place of.
    Raises:
        UnreadableBundle: something is at `path` and is no bundle of this kind, or `overwrite` is off; or the
            written bundle does not read back; or the folder cannot be written to; or what is at `path` is no longer
            what this one `replaces`.
    """
    place = Path(os.path.realpath(path))  # behind a link
    try:
        if place.exists():
            _refuse_overwriting(path, kind, overwrite)
        return _written(place, kind, state, overwrite, card, replaces)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and place.exists():
            raise UnreadableBundle(f"{path} was written by another process meanwhile; it is left alone.") from None
        raise UnreadableBundle(cannot_write(path, error)) from None


def _written(path: Path, kind: str, state: State, overwrite: bool, card: str | None, replaces: str | None) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    blob = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.flatten().items()})
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "morelli": __version__,
        "sha256": sha256(blob).hexdigest(),
        "bytes": len(blob),
        "content": state.describe(),
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n"
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        _write_through(staging / (TENSORS if card is None else WEIGHTS), blob)
        _write_through(staging / (MANIFEST if card is None else CONFIG), text.encode())
        if card is not None:
            _write_through(staging / README, card.encode())
        digest = read(staging, kind).digest
        os.chmod(staging, 0o755)
        if replaces is not None and read(path).digest != replaces:
            raise UnreadableBundle(f"{path} was changed by another process meanwhile; it is left alone. Try again.")
        move_into_place(staging, path, replace=overwrite)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return digest


def read(path: Path, kind: str | None = None) -> Bundle:
    """Read and check a bundle: format, kind, digest, sizes, finite numbers. One replaced meanwhile is read again.

    Raises:
        UnreadableBundle: one line that says what is wrong and what to do.
    """
    while True:
        before = _identity(path)
        try:
            return _read(path, kind)
        except UnreadableBundle:
            if _identity(path) == before:
                raise


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _read(path: Path, kind: str | None) -> Bundle:
    manifest_name, tensors_name = names(path)
    raw = _bytes_of(path / manifest_name, MANIFEST_LIMIT, path)
    try:
        manifest = json.loads(raw, parse_constant=_refuse_constant)
        found, version = str(manifest["kind"]), str(manifest["morelli"])
        declared, size, content = manifest["sha256"], manifest["bytes"], manifest["content"]
        number = manifest["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableBundle(
            f"{path}: {manifest_name} is damaged ({_short(error)}). Make the bundle again."
        ) from None
    if number != FORMAT:
        raise UnreadableBundle(f"{path} has bundle format {number!r}; this version reads {FORMAT}. Update morelli.")
    if kind is not None and found != kind:
        raise UnreadableBundle(f"{path} holds a {found}; expected a {kind}.")
    blob = _bytes_of(path / tensors_name, TENSORS_LIMIT, path)
    if len(blob) != size:
        raise UnreadableBundle(
            f"{path}: {tensors_name} has {len(blob)} bytes instead of {size}. Copy or make it again."
        )
    if sha256(blob).hexdigest() != declared:
        raise UnreadableBundle(
            f"{path}: {tensors_name} does not have the digest in {manifest_name}; it was changed. Do not use it."
        )
    try:
        tensors = load(blob)
        state = State.rebuild(content, tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableBundle(f"{path}: the content is damaged ({_short(error)}). Make the bundle again.") from None
    _check_finite(path, tensors)
    return Bundle(found, state, sha256(raw).hexdigest(), version)


def names(path: Path) -> tuple[str, str]:
    """What the manifest and the tensors of the bundle at `path` are called."""
    pretrained = not (path / MANIFEST).exists() and (path / CONFIG).exists()
    return (CONFIG, WEIGHTS) if pretrained else (MANIFEST, TENSORS)


def _bytes_of(file: Path, limit: int, bundle: Path) -> bytes:
    if not bundle.is_dir():
        what = "is a file" if bundle.exists() else "does not exist"
        raise UnreadableBundle(f"{bundle} {what}; a bundle is a folder with {MANIFEST} and {TENSORS}.")
    try:
        if not file.is_file():
            raise UnreadableBundle(f"{bundle} has no {file.name}; it is no bundle, or an incomplete one.")
        if (size := file.stat().st_size) > limit:
            raise UnreadableBundle(f"{bundle}: {file.name} has {size:,} bytes; the limit is {limit:,}.")
        return file.read_bytes()
    except (OSError, ValueError) as error:
        raise UnreadableBundle(f"{bundle}: cannot read {file.name}: {error}.") from None


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UnreadableBundle(f"{path}: tensor '{name}' holds NaN or infinite values. Make the bundle again.")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]


def check_free(path: str | Path, overwrite: bool) -> None:
    """Before work that ends in writing there. Raises UnreadableBundle where something stands that is to stay."""
    if Path(path).exists() and not overwrite:
        raise UnreadableBundle(f"{path} exists. Choose another name, or overwrite it (`--overwrite`).")


def _refuse_overwriting(path: Path, kind: str, overwrite: bool) -> None:
    try:
        found = read(path).kind
    except UnreadableBundle:
        raise UnreadableBundle(
            f"{path} exists and is no readable bundle; it is left alone. Choose another name."
        ) from None
    if found != kind:
        raise UnreadableBundle(f"{path} exists and holds a {found}; it is left alone. Choose another name.")
    check_free(path, overwrite)
    known = {MANIFEST, TENSORS, CONFIG, WEIGHTS, README}
    more = sorted(each.name for each in path.iterdir() if each.name not in known)
    if more:
        raise UnreadableBundle(f"{path} also holds {', '.join(more[:3])}; it is left alone. Choose another name.")


def _write_through(file: Path, content: bytes) -> None:
    with file.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
