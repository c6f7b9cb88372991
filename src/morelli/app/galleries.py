"""Galleries: enrol a model from samples, list, remove, export and import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morelli._version import __version__
from morelli.app.predicting import FromWeights, from_weights
from morelli.app.sources import Stage, silent
from morelli.attribution.gallery import LEAST, Entry, Gallery, check_name
from morelli.attribution.report import RefusedFile
from morelli.attribution.world import World
from morelli.errors import MismatchError, MorelliError, TooFewSamples, UnreadableBundle, UnreadableSample
from morelli.features.fingerprint import WINDOW, FingerprintExtractor
from morelli.numerics.state import State
from morelli.storage import gallery_folder
from morelli.storage.bundle import MANIFEST
from morelli.storage.fingerprint_network import read_fingerprint_network
from morelli.storage.networks import SHIPPED
from morelli.storage.samples import find, read_picture

ADVISED = 10  # samples of an entry
Source = str | Path | Sequence[str | Path]


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Of many pictures: values [n, d], the file and the facts of each, and files that were refused."""

    values: Tensor
    files: tuple[str, ...]
    facts: tuple[dict[str, Any], ...]
    refused: tuple[RefusedFile, ...]

    def once(self) -> list[int]:
        """The first of each set of copies: copies are one sample, and no more is known from them."""
        return list({facts["sha256"]: i for i, facts in reversed(list(enumerate(self.facts)))}.values())[::-1]

    def warnings(self) -> list[str]:
        """What should not decide, but might: something that the model did not make."""
        formats = sorted({facts["format"] for facts in self.facts})
        found = []
        if len(formats) > 1:
            found.append(f"the samples have different formats ({', '.join(formats)}); what a codec leaves is in them.")
        if len({facts["sha256"] for facts in self.facts}) < len(self.facts):
            found.append("some files are copies of others; they count as one sample each.")
        return found


def open_network(path: str | Path | None = None, device: str = "cpu") -> tuple[FingerprintExtractor, World]:
    """The fingerprint network at `path`, or the one that ships, with its world; read again where it was replaced.

    Raises UnreadableBundle.
    """
    place = Path(path or SHIPPED / "fingerprint").absolute()
    try:
        written = (place / MANIFEST).stat().st_mtime_ns
    except OSError:
        written = 0  # reading says what is wrong
    return _open_network(place, written, device)


@lru_cache(maxsize=2)
def _open_network(path: Path, written: int, device: str) -> tuple[FingerprintExtractor, World]:
    extractor, state = read_fingerprint_network(path)
    extractor.network.to(device)
    try:
        world = World.from_state(state)
    except (KeyError, MorelliError) as error:
        raise UnreadableBundle(f"{path}: its world is damaged ({error}). Train the network again.") from None
    return extractor, world


def fingerprint(
    source: Source, extractor: FingerprintExtractor, world: World, stage: Stage = silent, *, least: int = 1
) -> Fingerprints:
    """Read and fingerprint pictures, one at a time; what their coding adds on average is taken away.

    Raises UnreadableSample where fewer than `least` can be used.
    """
    paths = find(source)
    progress, values, files, facts, refused = stage("fingerprinting", len(paths)), [], [], [], []
    for path in paths:
        try:
            pixels, known = read_picture(path)
            values.append(world.recentred(extractor.extract([pixels])[0], known["coding"]))
            files.append(str(path))
            facts.append(known)
        except MismatchError:
            size = f"{pixels.shape[2]}x{pixels.shape[1]}"
            reason = f"{path.name} is {size}; a fingerprint needs {WINDOW} pixels a side. Give the file as it was made."
            refused.append(RefusedFile(str(path), reason))
        except UnreadableSample as error:
            refused.append(RefusedFile(str(path), str(error)))
        progress(1)
    if len(values) < least:
        raise UnreadableSample(f"none of {len(paths)} files can be used; the first: {refused[0].reason}")
    rows = torch.stack(values) if values else torch.empty(0, 0)
    return Fingerprints(rows, tuple(files), tuple(facts), tuple(refused))


def enrol(
    name: str,
    samples: Source | None,
    gallery: str | Path,
    *,
    weights: str | Path | None = None,
    layers: str | None = None,
    upsample: str = "nearest",
    photographs: str | Path | None = None,
    network: str | Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    stage: Stage = silent,
) -> Entry:
    """Add a model to a gallery from samples of it, or from its weights; no other entry is touched.

    An entry from weights alone is a candidate without a p-value, and gives way to one from samples of the same name.

    Args:
        name: letters, digits, ".", "_" and "-".
        samples: ten pictures or more, of 64 pixels a side or more. Copies of one file count once.
        gallery: a folder, made where it is missing.
        weights: in place of samples, a safetensors file of a decoder, or a bundle of a head or a small GAN.
        layers, upsample, photographs: for weights, see `app.predicting.from_weights`.
        network: a fingerprint network of your own, in place of the one that ships.
    Raises:
        OutOfRange: a name that is none. TooFewSamples: fewer than five pictures.
        UnreadableBundle: there is an entry of that name, and `overwrite` is off; or no such weights.
        MismatchError: the gallery was made with another fingerprint network; both samples and weights, or neither;
            weights that no decoder's last blocks can be built from.
    """
    check_name(name)
    gallery = Path(gallery)
    if (samples is None) == (weights is None):
        given = "neither" if weights is None else "both"
        raise MismatchError(f"'{name}' was given {given} of samples and weights; give pictures where there are any.")
    if weights is None and (layers is not None or photographs is not None):
        raise MismatchError("layers and photographs are for weights (`--weights`); pictures need neither.")
    extractor, world = open_network(network, device)
    there = entries(gallery) if gallery.is_dir() else ()
    if any(entry.network != extractor.digest for entry in there if entry.name != name):
        raise MismatchError(f"{gallery} was made with another fingerprint network. Use that one, or another gallery.")
    replaced = next((entry for entry in there if entry.name == name), None)
    upgraded = replaced is not None and replaced.predicted and samples is not None
    if replaced is not None and not (overwrite or upgraded):
        raise UnreadableBundle(f"{gallery} has an entry '{name}'. Choose another name, or replace it (`--overwrite`).")
    if weights is not None:
        made = from_weights(weights, extractor, layers=layers, upsample=upsample, photographs=photographs, stage=stage)
        entry = Entry(name, made.values, extractor.digest, _card_of_weights(made), made.predicted)
    else:
        assert samples is not None
        found = fingerprint(samples, extractor, world, stage)
        once = found.once()
        if len(once) < LEAST:
            raise TooFewSamples(
                f"'{name}' has {len(once)} different samples; an entry needs {LEAST}, better {ADVISED}."
            )
        entry = Entry(name, found.values[once], extractor.digest, _card(found, once))
    gallery_folder.write_entry(gallery, name, entry.state(), overwrite=overwrite or upgraded)
    return entry


def _card_of_weights(made: FromWeights) -> dict[str, Any]:
    warnings = []
    if made.predicted:
        warnings.append("known from weights alone: a candidate without a p-value, never identified. Enrol pictures.")
    if made.about.get("guessed"):
        warnings.append(f"the last blocks are read as '{made.about['layers']}'; say otherwise by --layers.")
    return {
        "samples": 0 if made.predicted else len(made.values),
        "weights": made.about,
        "formats": {} if made.predicted else {"PNG": len(made.values)},
        "sizes": {},
        "refused": [],
        "warnings": warnings,
        "morelli": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _card(found: Fingerprints, once: Sequence[int]) -> dict[str, Any]:
    facts = [found.facts[i] for i in once]
    warnings = found.warnings()
    if len(once) < ADVISED:
        warnings.append(f"{len(once)} samples are few; with {ADVISED} or more the ranking is steadier.")
    return {
        "samples": len(once),
        "sha256": sha256("".join(sorted(each["sha256"] for each in facts)).encode()).hexdigest(),
        "formats": _counted(each["format"] for each in facts),
        "sizes": _counted("x".join(map(str, each["size"])) for each in facts),
        "refused": [refused.to_dict() for refused in found.refused[:100]],
        "warnings": warnings,
        "morelli": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _counted(values: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1])[:20])


def entries(gallery: str | Path) -> tuple[Entry, ...]:
    """All entries of a gallery, by name. Raises UnreadableBundle where there is none, or an entry is damaged."""
    found = gallery_folder.read_entries(Path(gallery))
    return tuple(_entry(name, state, gallery) for name, state in found.items())


def _entry(name: str, state: State, source: str | Path) -> Entry:
    """What a stranger may have written is checked here. Raises UnreadableBundle."""
    try:
        entry = Entry.from_state(state)
        values, card = entry.fingerprints, entry.card
        sound = (
            entry.name == name
            and isinstance(entry.network, str)
            and isinstance(entry.predicted, bool)
            and values.ndim == 2
            and values.is_floating_point()
            and bool(values.isfinite().all())
            and all(isinstance(card[key], dict) for key in ("formats", "sizes"))
            and all(str(card[key]).isprintable() for key in ("made", "samples"))
        )
    except (KeyError, TypeError, ValueError, AttributeError, MorelliError):
        sound = False
    if not sound:
        raise UnreadableBundle(f"{source}: '{name}' is no entry that this program wrote. Remove it, or leave it out.")
    return entry


def cards(gallery: str | Path, name: str | None = None) -> dict[str, Any]:
    """What every entry was enrolled from, or one of them, by name. Raises UnreadableBundle where it is not there."""
    found = {
        entry.name: dict(entry.card) | {"network": entry.network, "predicted": entry.predicted}
        for entry in entries(gallery)
    }
    if name is None:
        return found
    if name not in found:
        raise UnreadableBundle(f"{gallery} has no entry '{name}'; it has {', '.join(found) or 'none'}.")
    return {name: found[name]}


def open_gallery(
    gallery: str | Path, *, rate: float, network: str | Path | None = None, device: str = "cpu"
) -> tuple[Gallery, FingerprintExtractor]:
    """A gallery ready to rank, and the network that fingerprints for it.

    Raises MismatchError where the gallery was made with another network.
    """
    extractor, world = open_network(network, device)
    found = Gallery(entries(gallery), world, rate)
    if found.entries[0].network != extractor.digest:
        raise MismatchError(
            f"{gallery} was made with another fingerprint network ({found.entries[0].network[:12]}…, this is "
            f"{extractor.digest[:12]}…). Name that one, or enrol the models again."
        )
    return found, extractor


def remove(name: str, gallery: str | Path) -> None:
    """Remove an entry. Raises UnreadableBundle where there is none."""
    gallery_folder.remove_entry(Path(gallery), name)


def export_gallery(gallery: str | Path, file: str | Path, *, overwrite: bool = False) -> int:
    """Write all entries to one file; returns how many."""
    return gallery_folder.export_gallery(Path(gallery), Path(file), overwrite=overwrite)


def import_gallery(file: str | Path, gallery: str | Path, *, overwrite: bool = False) -> list[str]:
    """Add the entries of an exported file to a gallery; returns their names.

    Raises UnreadableBundle where the file is none, or an entry is damaged or there already.
    """
    source = Path(file)
    return gallery_folder.import_gallery(
        source, Path(gallery), overwrite=overwrite, check=lambda name, state: _entry(name, state, source)
    )
