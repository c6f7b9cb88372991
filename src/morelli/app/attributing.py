"""Judge files: from samples and an attributor to a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from morelli.app.bundles import load_attributor
from morelli.app.imprinting import LEFT_OUT
from morelli.app.scorer import COLUMNS, REFUSED, Scorer
from morelli.app.sources import Stage, silent
from morelli.attribution.attributor import Attributor
from morelli.attribution.pooling import pooled_evidence, pooled_p_value
from morelli.attribution.report import JudgedFile, Outcome, RefusedFile, Report
from morelli.detectors.folds import Folds
from morelli.errors import UnsuitableSolver
from morelli.features.protocol import Certifier
from morelli.numerics.calibration import benjamini_hochberg
from morelli.storage.journal import Journal
from morelli.storage.listing import find
from morelli.storage.samples import Reading
from morelli.storage.shards import Item, items

Result = JudgedFile | RefusedFile


def attribute(
    source: str | Path | Sequence[str | Path],
    attributor: str | Path | Attributor,
    *,
    csv: str | Path | None = None,
    certify: int = 0,
    together: bool = False,
    fdr: float | None = None,
    device: str = "cpu",
    stage: Stage = silent,
) -> Report:
    """Did this model make these samples?

    Args:
        source: a folder, file, glob, or several of those.
        attributor: an Attributor, or the path of its bundle.
        csv: also write each verdict here as soon as it is known; a run that was interrupted goes on where it
            stopped, and files already in it are not judged again.
        certify: solve the inversions of the first so many samples again, exactly and in float64 (seconds each), and
            report how far those that were judged are from the optimum; or search their latents again from four times as
            many starts, and report what was best.
        together: all samples are of one source: judge them at once as well, which is surer. Copies count once.
        fdr: also name the samples of this queue that are not attributed at this false-discovery rate: of those, at
            most such a share is of the model on average. Copies count once. See
            `numerics.calibration.benjamini_hochberg`.
        device: where to compute.
        stage: told about the work, for a progress bar.
    Returns:
        One verdict per image, window of sound or table row. Files that are no samples are listed as refused.
    Raises:
        UnreadableSample: there are no files at `source`.
        UnreadableBundle: the attributor cannot be read, or `csv` belongs to another one.
        UnsuitableSolver: `certify` was asked of a method that neither solves a lasso nor searches latents.
    """
    attributor, about = opened(attributor)
    if fdr is not None:
        benjamini_hochberg(torch.empty(0), fdr)  # refuses what is no rate
    paths = find(source)
    scorer = Scorer(attributor, device=device)
    certificates = _certify(paths, scorer, certify, stage) if certify else ()
    found = list(items(paths))
    progress = stage("judging", len(found))
    results: list[Result] = []
    if csv is None:
        for rows in scorer.stream(found):
            results += map(_result, rows)
            progress(1)
    else:
        with Journal(Path(csv), about["digest"], COLUMNS) as journal:
            results += _journalled(found, scorer, journal, progress)
    return _report(about, results, certificates, attributor if together else None, fdr)


def _journalled(
    found: list[Item], scorer: Scorer, journal: Journal, progress: Callable[[int], None]
) -> Iterator[Result]:
    """Results of all items, first those that the journal has."""
    names = {item.name for item in found}
    known = [record for record in journal.records if record["file"] in names]
    yield from map(_result, known)
    done = {record["file"] for record in known}
    progress(len(done))
    for rows in scorer.stream(item for item in found if item.name not in done):
        journal.append(rows)
        yield from map(_result, rows)
        progress(1)


def _result(record: Mapping[str, Any]) -> Result:
    if record["outcome"] == REFUSED:
        return RefusedFile(record["file"], record["reason"])
    return JudgedFile.from_dict(record)


def opened(attributor: str | Path | Attributor) -> tuple[Attributor, dict[str, Any]]:
    """An attributor and what a report says of it. Raises UnreadableBundle."""
    name, digest = "", "in memory"
    if not isinstance(attributor, Attributor):
        name = Path(attributor).name
        attributor, digest = load_attributor(attributor)
    about = {
        "name": name,
        "digest": digest,
        "rate": attributor.rate,
        "threshold": attributor.threshold,
        "held_out": len(attributor.held_out),
        "promise": _promise(attributor),
        "method": attributor.card.get("method"),
        "warnings": list(attributor.card.get("warnings", [])),
        "population": None if attributor.population is None else attributor.population.about(attributor.rate),
    }
    return attributor, about


def _promise(attributor: Attributor) -> str:
    n, rate = len(attributor.held_out), attributor.rate
    if attributor.card.get("calibrated") == LEFT_OUT:
        return f"Own samples are rejected in about {rate:.2%} of cases ({n} samples, each left out in turn)."
    if attributor.extractor.spec.is_audio and not isinstance(attributor.detector, Folds):
        return (
            f"Own windows are rejected in about {rate:.2%} of cases ({n} held-out windows; those of a file are alike)."
        )
    if not isinstance(attributor.detector, Folds):
        return f"Own samples are rejected in at most {rate:.2%} of cases ({n} held-out samples)."
    folds, proved = len(attributor.detector.detectors), attributor.detector.bound(rate)
    return (
        f"Own samples are rejected in about {rate:.2%} of cases, at most {proved:.2%} ({n} samples in {folds} folds)."
    )


def _report(
    about: dict[str, Any],
    results: list[Result],
    certificates: tuple[dict[str, Any], ...],
    pooling: Attributor | None,
    fdr: float | None,
) -> Report:
    judged = tuple(result for result in results if isinstance(result, JudgedFile))
    refused = tuple(result for result in results if isinstance(result, RefusedFile))
    pooled = None if pooling is None else _together(judged, pooling)
    return Report(about, judged, refused, certificates, pooled, None if fdr is None else _queue(judged, fdr))


def _queue(judged: tuple[JudgedFile, ...], fdr: float) -> dict[str, Any]:
    """Of each sample that could be judged, the first copy."""
    once: dict[Any, JudgedFile] = {}
    for each in judged:
        if each.verdict.outcome is not Outcome.INCONCLUSIVE:
            once.setdefault((each.facts.get("sha256", each.file), each.row), each)
    chances = torch.tensor([each.verdict.p_value for each in once.values()], dtype=torch.float64)
    called = benjamini_hochberg(chances, fdr).tolist()
    names = [{"file": each.file, "row": each.row} for each, yes in zip(once.values(), called, strict=True) if yes]
    return {"fdr": fdr, "samples": len(once), "not_attributed": names}


def _together(judged: tuple[JudgedFile, ...], attributor: Attributor) -> dict[str, Any]:
    once = {(each.facts.get("sha256", each.file), each.row): each.verdict for each in judged}
    usable = [v for v in once.values() if v.outcome is not Outcome.INCONCLUSIVE]
    if not usable:
        return {"samples": 0, "outcome": Outcome.INCONCLUSIVE.value, "p_value": None, "log10_e_value": None}
    p = pooled_p_value(attributor, usable)
    outcome = Outcome.ATTRIBUTED if p > attributor.rate else Outcome.NOT_ATTRIBUTED
    evidence = pooled_evidence(attributor, usable)
    return {"samples": len(usable), "outcome": outcome.value, "p_value": p, "log10_e_value": evidence}


def _certify(paths: list[Path], scorer: Scorer, count: int, stage: Stage) -> tuple[dict[str, Any], ...]:
    """Of the first `count` readable samples: file, row, and what the extractor's second look found."""
    extractor = scorer.attributor.extractor
    if not isinstance(extractor, Certifier):
        raise UnsuitableSolver("this attributor's method inverts and searches nothing, so there is nothing to certify.")
    progress = stage("certifying", count)
    found: list[dict[str, Any]] = []
    for item in items(paths):
        reading = scorer.read(item)
        for row, sample in enumerate(reading.samples[: count - len(found)] if isinstance(reading, Reading) else ()):
            facts = reading.facts if isinstance(reading, Reading) else {}
            proof = extractor.certify(sample[None], [facts])
            row_number = None if extractor.spec.is_image else row
            found.append({"file": item.name, "row": row_number} | proof.figures())
            progress(1)
        if len(found) >= count:
            break
    return tuple(found)
