"""Judge files: from samples and an attributor to verdicts, streamed, resumable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morelli.app.bundles import load_attributor
from morelli.app.training import Stage, silent
from morelli.attribution.attributor import Attributor
from morelli.attribution.report import JudgedFile, Outcome, RefusedFile, Report, Verdict
from morelli.errors import MismatchError, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.storage.journal import Journal
from morelli.storage.samples import Reading, find, read

BATCH = 64


def attribute(
    source: str | Path | Sequence[str | Path],
    attributor: str | Path | Attributor,
    *,
    csv: str | Path | None = None,
    device: str = "cpu",
    stage: Stage = silent,
) -> Report:
    """Did this model make these samples?

    Args:
        source: a folder, file, glob, or several of those.
        attributor: an Attributor, or the path of its bundle.
        csv: also write each verdict here as soon as it is known; a run that was interrupted goes on where it
            stopped, and files already in it are not judged again.
        device: where to compute.
        stage: told about the work, for a progress bar.
    Returns:
        One verdict per image or table row. Files that are no samples are listed as refused.
    Raises:
        UnreadableSample: there are no files at `source`.
        UnreadableBundle: the attributor cannot be read, or `csv` belongs to another one.
    """
    attributor, about = _open(attributor)
    paths = find(source)
    progress = stage("judging", len(paths))
    if csv is None:
        results = _judge_files(paths, attributor, device)
        return _report(about, [_counted(result, progress) for result in results])
    with Journal(Path(csv), about["digest"]) as journal:
        before = [result for result in journal.results() if result.file in {str(path) for path in paths}]
        done = {result.file for result in before}
        progress(len(done))
        fresh = []
        for result in _judge_files([path for path in paths if str(path) not in done], attributor, device):
            journal.append(result)
            fresh.append(_counted(result, progress))
    return _report(about, before + fresh)


def _open(attributor: str | Path | Attributor) -> tuple[Attributor, dict[str, Any]]:
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
        "method": attributor.card.get("method"),
        "warnings": list(attributor.card.get("warnings", [])),
    }
    return attributor, about


def _report(about: dict[str, Any], results: list[JudgedFile | RefusedFile]) -> Report:
    judged = tuple(result for result in results if isinstance(result, JudgedFile))
    return Report(about, judged, tuple(result for result in results if isinstance(result, RefusedFile)))


def _counted(result: JudgedFile | RefusedFile, progress: Any) -> JudgedFile | RefusedFile:
    if isinstance(result, RefusedFile) or not result.row:
        progress(1)
    return result


def _judge_files(paths: Iterable[Path], attributor: Attributor, device: str) -> Iterator[JudgedFile | RefusedFile]:
    """In the order of `paths`; at most BATCH images are in memory, or one table."""
    waiting: list[tuple[Path, Reading | JudgedFile | RefusedFile]] = []
    for path in paths:
        waiting.append((path, _read(path, attributor.extractor.spec)))
        if len(waiting) == BATCH or (isinstance(waiting[-1][1], Reading) and len(waiting[-1][1].samples) > 1):
            yield from _judge_batch(waiting, attributor, device)
            waiting = []
    yield from _judge_batch(waiting, attributor, device)


def _read(path: Path, spec: SampleSpec) -> Reading | JudgedFile | RefusedFile:
    try:
        return read(path, spec)
    except MismatchError as error:  # a sound file of another size: nothing can be said
        return JudgedFile(str(path), Verdict(Outcome.INCONCLUSIVE, reason=str(error)), {})
    except UnreadableSample as error:
        return RefusedFile(str(path), str(error))


def _judge_batch(
    batch: list[tuple[Path, Reading | JudgedFile | RefusedFile]], attributor: Attributor, device: str
) -> Iterator[JudgedFile | RefusedFile]:
    stacked: list[Tensor] = [result.samples for _, result in batch if isinstance(result, Reading)]
    verdicts = iter(attributor.judge(torch.cat(stacked).to(device)) if stacked else [])
    for path, result in batch:
        if not isinstance(result, Reading):
            yield result
            continue
        is_image = attributor.extractor.spec.is_image
        for row in range(len(result.samples)):
            yield JudgedFile(str(path), next(verdicts), result.facts, None if is_image else row)
