"""Judge files: from samples and an attributor to a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any

import torch

from morelli.app.describing import custody, describe_both, no_option, opened
from morelli.app.scorer import COLUMNS, REFUSED, Scorer
from morelli.app.sources import Stage, silent
from morelli.attribution.attributor import TURNED, Attributor
from morelli.attribution.pooling import pooled_evidence, pooled_p_value
from morelli.attribution.report import JudgedFile, Outcome, RefusedFile, Report
from morelli.attribution.seconding import FIRST, SECOND, Seconded
from morelli.errors import MorelliError, UnreadableBundle, UnsuitableSolver
from morelli.features.protocol import Certifier
from morelli.numerics.calibration import benjamini_hochberg
from morelli.storage.journal import Journal
from morelli.storage.listing import find
from morelli.storage.samples import LIMITS, Limits, Reading
from morelli.storage.shards import Item, items

Result = JudgedFile | RefusedFile
TYPES: dict[str, type | UnionType] = {  # of a record that was read back
    "file": str,
    "row": int | None,
    "score": int | float | None,
    "p_value": int | float | None,
    "reason": str,
    "notes": dict,
    "likelihood_ratio": dict | None,
    "facts": dict,
}


def attribute(
    source: str | Path | Sequence[str | Path],
    attributor: str | Path | Attributor,
    *,
    second: str | Path | Attributor | None = None,
    csv: str | Path | None = None,
    certify: int = 0,
    together: bool = False,
    fdr: float | None = None,
    device: str = "cpu",
    stage: Stage = silent,
    limits: Limits = LIMITS,
) -> Report:
    """Did this model make these samples?

    Args:
        source: a folder, file, glob, or several of those.
        attributor: an Attributor, or the path of its bundle.
        second: an attributor of the same model by another method. Only what both attribute is attributed, each at half
            the rate; the second is asked about what the first attributes. See `attribution.seconding`.
        csv: also write each verdict here as soon as it is known; a run that was interrupted goes on where it
            stopped, and files already in it are not judged again.
        certify: solve the inversions of the first so many samples again, exactly and in float64 (seconds each), and
            report how far those that were judged are from the optimum; or search their latents again from four times as
            many starts, and report what was best. By the first of two attributors.
        together: all samples are of one source: judge them at once as well, which is surer. Copies count once, in
            whatever file the same pixels or numbers lie.
        fdr: also name the samples of this queue that are not attributed at this false-discovery rate: of those, at
            most such a share is of the model on average. Copies count once. See
            `numerics.calibration.benjamini_hochberg`.
        device: where to compute.
        stage: told about the work, for a progress bar.
        limits: what one file may cost; larger ones are refused.
    Returns:
        One verdict per image, window of sound or table row. Files that are no samples are listed as refused.
    Raises:
        UnreadableSample: there are no files at `source`.
        UnreadableBundle: the attributor cannot be read, or `csv` belongs to another one.
        UnsuitableSolver: `certify` was asked of a method that neither solves a lasso nor searches latents.
        MorelliError: the two attributors do not go together, or `together` or `fdr` was asked of two.
    """
    if second is not None and (together or fdr is not None):
        raise MorelliError("queues and sets of samples are judged by one attributor. Ask each of the two apart.")
    settings: dict[str, Any] = {"certify": certify, "together": together, "fdr": fdr, "device": device}
    if second is not None:
        settings = {"second": "in memory" if isinstance(second, Attributor) else no_option(str(second))} | settings
    in_memory = isinstance(attributor, Attributor) or isinstance(second, Attributor)
    made = custody(source, "" if in_memory else str(attributor), settings)
    attributor, about = opened(attributor)
    judge: Attributor | Seconded = attributor
    if second is not None:
        other, more = opened(second)
        if other is attributor or more["digest"] == about["digest"] != "in memory":
            raise MorelliError("the second attributor is the first one again. Give one of another method.")
        judge = Seconded(attributor, other)
        about = describe_both(judge, about, more)
    if fdr is not None:
        benjamini_hochberg(torch.empty(0), fdr)  # refuses what is no rate
    paths, scorer = find(source), Scorer(judge, device=device, limits=limits)
    certificates = _certify(paths, scorer, certify, stage) if certify else ()
    found = list(items(paths, limits=limits))
    progress = stage("judging", len(found))
    results: list[Result] = []
    if csv is None:
        for rows in scorer.stream(found):
            results += map(_result, rows)
            progress(1)
    else:
        owner = about["digest"] if second is None else f"{about['digest']} and {about['second']['digest']}"
        with Journal(Path(csv), owner, COLUMNS) as journal:
            results += _journalled(found, scorer, journal, progress)
    return _report(about, results, certificates, attributor if together else None, fdr, made)


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
    try:
        if record["outcome"] == REFUSED:
            return RefusedFile(str(record["file"]), str(record["reason"]))
        judged = JudgedFile.from_dict(record)
        for name, kinds in TYPES.items():
            if not isinstance(record[name], kinds):
                raise TypeError(f"{name} is {record[name]!r}")
        for name in (TURNED, FIRST, SECOND):
            if not 0 < record["notes"].get(name, 1) <= 1:
                raise ValueError(f"{name} is {record['notes'][name]!r}")
        return judged
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableBundle(
            f"the CSV has a line about {record.get('file')!r} that was changed ({error}). Name another."
        ) from None


def _report(
    about: dict[str, Any],
    results: list[Result],
    certificates: tuple[dict[str, Any], ...],
    pooling: Attributor | None,
    fdr: float | None,
    made: dict[str, Any],
) -> Report:
    judged = tuple(result for result in results if isinstance(result, JudgedFile))
    refused = tuple(result for result in results if isinstance(result, RefusedFile))
    pooled = None if pooling is None else _together(judged, pooling)
    return Report(about, judged, refused, certificates, pooled, None if fdr is None else _queue(judged, fdr), made)


def _once(judged: tuple[JudgedFile, ...]) -> list[JudgedFile]:
    """Of each sample that could be judged, the first copy: of the same pixels, whatever file they lie in."""
    found: dict[Any, JudgedFile] = {}
    for each in judged:
        if each.verdict.outcome is not Outcome.INCONCLUSIVE:
            content = each.facts.get("decoded_sha256") or each.facts.get("sha256", each.file)
            found.setdefault((content, each.row), each)
    return list(found.values())


def _queue(judged: tuple[JudgedFile, ...], fdr: float) -> dict[str, Any]:
    once = _once(judged)
    chances = torch.tensor([each.verdict.p_value for each in once], dtype=torch.float64)
    called = benjamini_hochberg(chances, fdr).tolist()
    names = [{"file": each.file, "row": each.row} for each, yes in zip(once, called, strict=True) if yes]
    return {"fdr": fdr, "samples": len(once), "not_attributed": names}


def _together(judged: tuple[JudgedFile, ...], attributor: Attributor) -> dict[str, Any]:
    usable = [each.verdict for each in _once(judged)]
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
        if not isinstance(reading, Reading):
            continue
        for row, sample in enumerate(reading.samples[: count - len(found)]):
            proof = extractor.certify(sample[None], [reading.facts])
            row_number = None if extractor.spec.is_image else row
            found.append({"file": item.name, "row": row_number} | proof.figures())
            progress(1)
        if len(found) >= count:
            break
    return tuple(found)
