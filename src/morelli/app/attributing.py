"""Judge files: from samples and an attributor to verdicts, streamed, resumable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any

import torch

from morelli.app.bundles import load_attributor
from morelli.app.describing import custody, describe
from morelli.app.sources import Stage, silent
from morelli.attribution.attributor import Attributor
from morelli.attribution.pooling import pooled_evidence, pooled_p_value
from morelli.attribution.report import JudgedFile, Outcome, RefusedFile, Report, Verdict
from morelli.errors import MismatchError, UnreadableBundle, UnreadableSample, UnsuitableSolver
from morelli.features.protocol import Certifier, SampleSpec
from morelli.numerics.calibration import benjamini_hochberg
from morelli.storage.journal import Journal
from morelli.storage.samples import Reading, find, read

BATCH = 64

REFUSED = "refused"
COLUMNS = ("file", "row", "outcome", "score", "p_value", "reason", "notes", "likelihood_ratio", "facts")
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
    made = custody(
        source,
        "" if isinstance(attributor, Attributor) else str(attributor),
        {"certify": certify, "together": together, "fdr": fdr, "device": device},
    )
    attributor, about = _open(attributor)
    if fdr is not None:
        benjamini_hochberg(torch.empty(0), fdr)  # refuses what is no rate
    paths = find(source)
    certificates = _certify(paths, attributor, certify, stage) if certify else ()
    progress = stage("judging", len(paths))
    results: list[Result] = []
    if csv is None:
        for of_file in _judge_files(paths, attributor, device):
            results += of_file
            progress(1)
        return _report(about, results, certificates, attributor if together else None, fdr, made)
    names = {str(path) for path in paths}
    with Journal(Path(csv), about["digest"], COLUMNS) as journal:
        results += [_result(record) for record in journal.records if record["file"] in names]
        done = {result.file for result in results}
        progress(len(done))
        for of_file in _judge_files([path for path in paths if str(path) not in done], attributor, device):
            journal.append([_record(result) for result in of_file])
            results += of_file
            progress(1)
    return _report(about, results, certificates, attributor if together else None, fdr, made)


def _record(result: Result) -> dict[str, Any]:
    if isinstance(result, JudgedFile):
        return result.to_dict()
    return dict.fromkeys(COLUMNS) | {"outcome": REFUSED} | result.to_dict()


def _result(record: Mapping[str, Any]) -> Result:
    try:
        if record["outcome"] == REFUSED:
            return RefusedFile(str(record["file"]), str(record["reason"]))
        judged = JudgedFile.from_dict(record)
        for name, kinds in TYPES.items():
            if not isinstance(record[name], kinds):
                raise TypeError(f"{name} is {record[name]!r}")
        return judged
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableBundle(
            f"the CSV has a line about {record.get('file')!r} that was changed ({error}). Name another."
        ) from None


def _open(attributor: str | Path | Attributor) -> tuple[Attributor, dict[str, Any]]:
    name, digest = "", "in memory"
    if not isinstance(attributor, Attributor):
        name = Path(attributor).name
        attributor, digest = load_attributor(attributor)
    return attributor, describe(attributor, name, digest)


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


def _certify(paths: list[Path], attributor: Attributor, count: int, stage: Stage) -> tuple[dict[str, Any], ...]:
    """Of the first `count` readable samples: file, row, and what the extractor's second look found."""
    extractor = attributor.extractor
    if not isinstance(extractor, Certifier):
        raise UnsuitableSolver("this attributor's method inverts and searches nothing, so there is nothing to certify.")
    progress = stage("certifying", count)
    found: list[dict[str, Any]] = []
    for path in paths:
        reading = _read(path, extractor.spec)
        for row, sample in enumerate(reading.samples[: count - len(found)] if isinstance(reading, Reading) else ()):
            facts = reading.facts if isinstance(reading, Reading) else {}
            proof = extractor.certify(sample[None], [facts])
            row_number = None if extractor.spec.is_image else row
            found.append({"file": str(path), "row": row_number} | proof.figures())
            progress(1)
        if len(found) >= count:
            break
    return tuple(found)


def _judge_files(paths: Iterable[Path], attributor: Attributor, device: str) -> Iterator[list[Result]]:
    """The results of each file, in the order of `paths`. At most BATCH images are in memory, or one table."""
    waiting: list[Reading | Result] = []
    samples = 0
    for path in paths:
        waiting.append(_read(path, attributor.extractor.spec))
        samples += len(waiting[-1].samples) if isinstance(waiting[-1], Reading) else 0
        if samples >= BATCH:
            yield from _judge_batch(waiting, attributor, device)
            waiting, samples = [], 0
    yield from _judge_batch(waiting, attributor, device)


def _read(path: Path, spec: SampleSpec) -> Reading | Result:
    try:
        return read(path, spec)
    except MismatchError as error:  # a sound file of another size: nothing can be said
        return JudgedFile(str(path), Verdict(Outcome.INCONCLUSIVE, reason=str(error)), {})
    except UnreadableSample as error:
        return RefusedFile(str(path), str(error))


def _judge_batch(batch: list[Reading | Result], attributor: Attributor, device: str) -> Iterator[list[Result]]:
    read = [result for result in batch if isinstance(result, Reading)]
    facts = [result.facts for result in read for _ in result.samples]
    verdicts = iter(attributor.judge(torch.cat([each.samples for each in read]).to(device), facts) if read else [])
    is_image = attributor.extractor.spec.is_image
    for result in batch:
        if isinstance(result, Reading):
            rows = range(len(result.samples))
            named = [(next(verdicts), None if is_image else row) for row in rows]
            yield [JudgedFile(result.file, verdict, result.facts, row) for verdict, row in named]
        else:
            yield [result]
