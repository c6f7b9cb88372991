"""Which known model made it, if any? Are two sets of one model? Which base does a fine-tune have?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from morelli.app.galleries import Fingerprints, Source, fingerprint, open_gallery, open_network
from morelli.app.sources import Stage, silent
from morelli.attribution.gallery import Gallery, Ranking
from morelli.attribution.lineage import LIMITS, Lineage, trace
from morelli.attribution.report import SCHEMA, RefusedFile
from morelli.attribution.verification import Verification
from morelli.attribution.verification import verify as compare

PAIRS = "cosine"  # scoring where no gallery says what varies within a model; see experiments/zero-shot


@dataclass(frozen=True)
class Identified:
    """A ranking, with the file it is about, or the number of files that were taken together."""

    file: str
    ranking: Ranking
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        ranking = self.ranking
        return {
            "file": self.file,
            "identified": ranking.identified,
            "p_value": ranking.p_value,
            "candidates": [asdict(candidate) for candidate in ranking.candidates],
            "predicted": [asdict(candidate) for candidate in ranking.predicted],
            "facts": self.facts,
        }


@dataclass(frozen=True)
class Identification:
    """What `identify` returns: a ranking per file, or one for all together."""

    gallery: dict[str, Any]
    identified: tuple[Identified, ...]
    refused: tuple[RefusedFile, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "gallery": self.gallery,
            "samples": [each.to_dict() for each in self.identified],
            "refused": [each.to_dict() for each in self.refused],
            "limits": LIMITS,
        }


def identify(
    samples: Source,
    gallery: str | Path,
    *,
    together: bool = False,
    rate: float = 0.05,
    network: str | Path | None = None,
    device: str = "cpu",
    stage: Stage = silent,
) -> Identification:
    """Which of the gallery's models made these samples, if any?

    Args:
        samples: pictures of 64 pixels a side or more.
        together: all samples are of one source; one ranking, surer than those of single samples. Copies count once.
        rate: samples of unrelated models that are not in the gallery are identified at most this often.
    Raises:
        UnreadableSample: not one file can be used. UnreadableBundle: there is no gallery.
        MismatchError: it was made with another network. TooFewSamples: the rate cannot be resolved.
    """
    opened, extractor = open_gallery(gallery, rate=rate, network=network, device=device)
    found = fingerprint(samples, extractor, opened.world, stage)
    return ranked(found, opened, extractor.digest, name=Path(gallery).name, together=together, stage=stage)


def ranked(
    found: Fingerprints, gallery: Gallery, network: str, *, name: str, together: bool = False, stage: Stage = silent
) -> Identification:
    """What `identify` returns, from a gallery that is open: a server opens it once."""
    progress = stage("ranking", 1 if together else len(found.files))
    groups: list[tuple[str, Tensor, dict[str, Any]]]
    if together:
        once = found.once()
        groups = [(f"{len(once)} files", found.values[once], {})]
    else:
        groups = [(file, found.values[i : i + 1], found.facts[i]) for i, file in enumerate(found.files)]
    rankings = []
    for file, values, facts in groups:
        rankings.append(Identified(file, gallery.rank(values), facts))
        progress(1)
    about = {
        "name": name,
        "entries": len(gallery.entries),
        "predicted": sum(entry.predicted for entry in gallery.entries),
        "network": network,
        "rate": gallery.rate,
        "warnings": coded_otherwise(found, gallery),
    }
    return Identification(about, tuple(rankings), found.refused)


def coded_otherwise(found: Fingerprints, gallery: Gallery) -> list[str]:
    """A warning where samples have a format that no entry was enrolled in: what a codec does is larger than a trace."""
    enrolled = {kind for entry in gallery.entries for kind in entry.card.get("formats", {})}
    others = sorted({facts["format"] for facts in found.facts} - enrolled)
    if not enrolled or not others:
        return []
    return [
        f"samples are {', '.join(others)}, and the gallery was enrolled from {', '.join(sorted(enrolled))}. A codec "
        "changes more than one model differs from another: enrol samples that are coded as these are."
    ]


def verify(
    first: Source,
    second: Source,
    *,
    rate: float = 0.05,
    network: str | Path | None = None,
    device: str = "cpu",
    stage: Stage = silent,
) -> Verification:
    """One model or two? No gallery is needed.

    Args:
        first, second: pictures, each set of one model. Copies count once.
        rate: sets of two models are called one about this often, kin more often.
    Raises:
        UnreadableSample: a set without a picture. OutOfRange, TooFewSamples: a rate that is none, or too small.
    """
    extractor, world = open_network(network, device)
    one, other = (fingerprint(source, extractor, world, stage) for source in (first, second))
    found = compare(one.values[one.once()], other.values[other.once()], replace(world, scoring=PAIRS), rate)
    return replace(found, refused=one.refused + other.refused)


def lineage(
    samples: Source,
    gallery: str | Path,
    *,
    rate: float = 0.05,
    network: str | Path | None = None,
    device: str = "cpu",
    stage: Stage = silent,
) -> Lineage:
    """Which of the gallery's models has the decoder that a fine-tune's samples went through?

    Args:
        samples: five pictures or more of one model. Copies count once.
        rate: of wrong claims, that it is one of these at all, and that it is this one rather than another.
    Raises:
        TooFewSamples: fewer samples. Otherwise what `identify` raises.
    """
    opened, extractor = open_gallery(gallery, rate=rate, network=network, device=device)
    found = fingerprint(samples, extractor, opened.world, stage)
    return replace(trace(found.values[found.once()], opened), refused=found.refused)
