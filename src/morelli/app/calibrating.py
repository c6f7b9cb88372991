"""Calibrate an attributor on a declared population: from a folder for each source to likelihood ratios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morelli._version import __version__
from morelli.app.bundles import load_attributor, save
from morelli.app.sources import Stage, digests, silent
from morelli.attribution.attributor import Attributor
from morelli.attribution.confounds import counted
from morelli.attribution.population import ALL, Judged, Population, fit_population
from morelli.errors import MismatchError, MorelliError, OutOfRange, TooFewSamples, UnreadableSample
from morelli.features.protocol import Facts, SampleSpec
from morelli.numerics.calibration import relative
from morelli.numerics.likelihood_ratio import KINDS
from morelli.numerics.perturbations import Jpeg, Perturbation, Webp, drawn, parse
from morelli.storage.bundle import check_free
from morelli.storage.images import from_eight_bits, to_eight_bits
from morelli.storage.samples import Reading, find, read

BATCH = 64
COPIES = 100
FEW_SOURCES = 10  # below: a warning
ALIKE = 0.9  # share of a source that is attributed, above which it may be the model itself


def calibrate(
    attributor: str | Path | Attributor,
    population: str | Path,
    *,
    out: str | Path | None = None,
    calibrator: str = "logistic",
    leave_source_out: bool = False,
    copies: int = COPIES,
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
    stage: Stage = silent,
) -> Attributor:
    """Measure how samples of other sources are judged, so that verdicts can carry likelihood ratios and error rates.

    Args:
        attributor: an Attributor, or the path of its bundle.
        population: a folder with a sub-folder for each source of the population that verdicts are to hold for; of
            none of them may samples have been seen in training.
        out: where to write the bundle; by default in place of the one that was read.
        calibrator: "logistic", "pav" or "kde".
        leave_source_out: also measure how good the ratios are, each source by a calibrator fitted without it.
        copies: so many images of each source are judged once more after each of the attributor's own conditions, so
            that ratios of compressed or noisy samples have something to rest on.
        seed: of the copies' strengths and noise.
        overwrite: replace an attributor at `out`.
        stage: told about the work, for a progress bar.
    Returns:
        The attributor with its population.
    Raises:
        MorelliError or one of its kinds: a sample was seen in training, too few sources, a source without any sample
            that can be judged; nothing is written then.
    """
    if calibrator not in KINDS:
        raise OutOfRange(f"the calibrator is '{calibrator}'; expected one of {', '.join(KINDS)}.")
    if copies < 0:
        raise OutOfRange(f"{copies} copies were asked for; give 0 or more.")
    place, replaced, read_from = (None if out is None else Path(out)), overwrite, None
    if not isinstance(attributor, Attributor):
        if place is None or place.resolve() == Path(attributor).resolve():
            place, replaced = Path(attributor), True
            attributor, read_from = load_attributor(attributor)
        else:
            attributor, _ = load_attributor(attributor)
    if place is not None:
        check_free(place, replaced)
    sources = _sources(Path(population))
    progress = stage("judging the population", sum(map(len, sources.values())))
    found = _Found(list(attributor.own_scores()))
    rng = torch.Generator().manual_seed(seed)
    for name, paths in sources.items():
        found.sources[name] = about = _Source()
        for readings in _batches(paths, attributor.extractor.spec, about):
            _judge(found, name, readings, attributor, copies, rng, device)
            progress(len(readings))
        progress(about.refused)
        if not about.judged:
            raise TooFewSamples(
                f"not one of {len(paths)} files of source '{name}' could be judged: {about.reason} Leave it out."
            )
    calibrated = replace(attributor, population=_fitted(attributor, found, calibrator, leave_source_out, copies))
    if place is not None:
        save(calibrated, place, overwrite=replaced, replaces=read_from)
    return calibrated


@dataclass
class _Source:
    """What became of one source's samples."""

    judged: int = 0
    inconclusive: int = 0
    refused: int = 0
    copied: int = 0
    reason: str = ""
    digests: list[str] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)

    def card(self) -> dict[str, Any]:
        counts = {"judged": self.judged, "inconclusive": self.inconclusive, "refused": self.refused}
        return counts | {"sha256": sha256("".join(sorted(self.digests)).encode()).hexdigest()}


@dataclass
class _Found:
    """Numbers, one for each sample that was judged."""

    conditions: list[str]
    sources: dict[str, _Source] = field(default_factory=dict)
    rows: list[tuple[int, float, float, int, bool]] = field(default_factory=list)

    def judged(self) -> Judged:
        source, score, p_value, condition, made = zip(*self.rows, strict=True)
        return Judged(
            tuple(self.sources),
            torch.tensor(source),
            torch.tensor(score, dtype=torch.float64),
            torch.tensor(p_value, dtype=torch.float64),
            torch.tensor(condition),
            torch.tensor(made),
        )


def _sources(folder: Path) -> dict[str, list[Path]]:
    """Files of each sub-folder, by its name."""
    if not folder.is_dir():
        raise UnreadableSample(
            f"{folder} is no folder; expected one with a sub-folder of samples for each source of the population."
        )
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if loose := [path.name for path in inside if not path.is_dir()]:
        raise MismatchError(
            f"{folder} holds the file {loose[0]} beside the sources' folders; every sample must lie in the folder of "
            "its source. Move it."
        )
    if len(inside) < 2:
        raise TooFewSamples(
            f"{folder} has {len(inside)} sub-folders, one for each source; it takes at least two, better ten or more."
        )
    return {path.name: find(path) for path in inside}


def _batches(paths: list[Path], spec: SampleSpec, about: _Source) -> Iterator[list[Reading]]:
    """Some files at a time; those that are no samples are counted."""
    waiting: list[Reading] = []
    for path in paths:
        try:
            waiting.append(read(path, spec))
            about.digests.append(waiting[-1].facts["sha256"])
            about.facts.append(waiting[-1].facts)
        except (MismatchError, UnreadableSample) as error:
            about.refused, about.reason = about.refused + 1, about.reason or str(error)
        if sum(len(reading.samples) for reading in waiting) >= BATCH:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _judge(
    found: _Found,
    name: str,
    readings: list[Reading],
    attributor: Attributor,
    copies: int,
    rng: torch.Generator,
    device: str,
) -> None:
    """Samples as they are, and copies of some in every condition but the first, as it makes own samples."""
    for reading in readings:
        _refuse_if_seen(reading, name, attributor)
    samples = torch.cat([reading.samples for reading in readings])
    facts: list[Facts] = [reading.facts for reading in readings for _ in reading.samples]
    for some, theirs in zip(samples.split(BATCH), _split(facts), strict=True):
        _add(found, name, attributor, some.to(device), theirs, made=False)
    about, spec = found.sources[name], attributor.extractor.spec
    left = samples[: max(0, copies - about.copied)]
    if attributor.experts is None or not spec.is_image or not len(left):
        return
    about.copied += len(left)
    for condition in found.conditions[1:]:
        copied, theirs = changed(to_eight_bits(left, spec), condition, rng)
        for some, known in zip(from_eight_bits(copied, spec).split(BATCH), _split(theirs), strict=True):
            _add(found, name, attributor, some.to(device), known, made=True)


def _split(facts: list[Facts]) -> list[list[Facts]]:
    return [facts[start : start + BATCH] for start in range(0, len(facts), BATCH)]


def _add(found: _Found, name: str, attributor: Attributor, samples: Tensor, facts: list[Facts], *, made: bool) -> None:
    about, source, own = found.sources[name], list(found.sources).index(name), attributor.own_scores()
    for verdict in attributor.judge(samples, facts):
        if verdict.score is None or verdict.p_value is None or verdict.reason:
            about.inconclusive += not made
            about.reason = about.reason or verdict.reason
            continue
        about.judged += not made
        condition = verdict.notes.get("condition", "")
        score = float(relative(own[condition], torch.tensor([verdict.score], dtype=torch.float64)))
        found.rows.append((source, score, verdict.p_value, found.conditions.index(condition), made))


def changed(pixels: Tensor, condition: str, rng: torch.Generator) -> tuple[Tensor, list[Facts]]:
    """uint8 [n, c, h, w] in a condition, of a strength of its own for each where that is a range, with the facts that
    files of it would give: JPEG and WebP say how they are coded.
    """
    each = drawn(parse(condition), len(pixels), rng)
    copied = [one.apply(image[None], rng) for one, image in zip(each, pixels, strict=True)]
    return torch.cat(copied), [{"coding": _coding(one)} for one in each]


def _coding(perturbation: Perturbation) -> str:
    if isinstance(perturbation, Jpeg | Webp):
        return f"{perturbation.settings()['type']}:{perturbation.quality}"
    return "none"


def _refuse_if_seen(reading: Reading, source: str, attributor: Attributor) -> None:
    """A table is refused where more than half of its rows were seen."""
    if not len(attributor.seen):
        return
    known = torch.isin(digests(reading.samples, attributor.extractor.spec), attributor.seen)
    if float(known.double().mean()) > 0.5:
        raise MorelliError(
            f"{reading.file} trained or calibrated this attributor, so source '{source}' says too little of sources "
            "it has never seen. Leave the whole source out."
        )


def _fitted(attributor: Attributor, found: _Found, calibrator: str, leave_source_out: bool, copies: int) -> Population:
    own = {name: relative(scores, scores) for name, scores in attributor.own_scores().items()}
    fitted = fit_population(own, found.judged(), calibrator, leave_source_out=leave_source_out)
    card: Mapping[str, Any] = {
        "calibrator": calibrator,
        "sources": {name: about.card() for name, about in found.sources.items()},
        "sha256": sha256("".join(about.card()["sha256"] for about in found.sources.values()).encode()).hexdigest(),
        "copies": copies if attributor.experts is not None else 0,
        "conditions": found.conditions,
        "facts": counted([facts for about in found.sources.values() for facts in about.facts]),
        "warnings": _warnings(attributor, found, fitted),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "morelli": __version__,
    }
    return replace(fitted, card=card)


def _warnings(attributor: Attributor, found: _Found, fitted: Population) -> list[str]:
    warnings = []
    if len(found.sources) < FEW_SOURCES:
        warnings.append(
            f"the population has {len(found.sources)} sources: error rates and ratios rest on few, and no ratio above "
            f"{len(found.sources) + 1} can be said."
        )
    for name, share in fitted.shares(attributor.rate).items():
        if share > ALIKE:
            warnings.append(f"{share:.0%} of source '{name}' are attributed: it shares the model's layers, or is it.")
    if not len(attributor.seen):
        warnings.append("the attributor does not say what trained it, so it cannot be told whether samples were seen.")
    refused = sum(about.refused for about in found.sources.values())
    if refused:
        warnings.append(f"{refused} files were refused.")
    if fitted.left_out and (cost := fitted.about(attributor.rate)["conditions"][ALL]["cllr"]) >= 1:
        warnings.append(f"ratios of sources that were left out mislead: Cllr is {cost:.2f}, and 1 says nothing.")
    return warnings
