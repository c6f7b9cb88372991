"""Long jobs: verdicts on any number of samples into one Parquet file, in bounded memory, however often interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any

from morelli._version import __version__
from morelli.app.describing import opened
from morelli.app.scorer import BATCH, REFUSED, Scorer
from morelli.app.sources import Stage, silent
from morelli.attribution.report import LIMITS, SCHEMA, Outcome
from morelli.errors import MorelliError, UnreadableBundle
from morelli.storage.listing import stream
from morelli.storage.parts import Parts, digest_of, encode
from morelli.storage.shards import Item, items

ITEMS = 1024  # of images in one part; tables may be large, and have a part each


@dataclass(frozen=True)
class Chunk:
    """Items from `start` to before `stop`, which become one part, named by that range and a digest of their names."""

    start: int
    items: tuple[Item, ...]

    @property
    def stop(self) -> int:
        return self.start + len(self.items)

    @property
    def name(self) -> str:
        known = repr([(item.name, item.place, item.stamp) for item in self.items])
        digest = sha256(known.encode("utf-8", "backslashreplace")).hexdigest()
        return f"{self.start:012d}-{self.stop:012d}-{digest[:32]}.parquet"


@dataclass(frozen=True)
class Job:
    """Everything that a process needs to know to do a share of it. Fields are as of `attribute_to`.

    Attributes:
        digest: of the attributor.
        size: items of a part.
    """

    source: tuple[str, ...]
    attributor: str
    digest: str
    out: str
    column: str | None = None
    device: str = "cpu"
    batch: int = BATCH
    prefetch: bool = True
    size: int = ITEMS

    def scorer(self) -> Scorer:
        """Raises UnreadableBundle where another attributor is at that path, as on another machine."""
        scorer = Scorer(self.attributor, device=self.device, batch=self.batch, prefetch=self.prefetch)
        if scorer.digest != self.digest:
            raise UnreadableBundle(f"{self.attributor} is not the one that this job began with. Copy that one here.")
        return scorer

    def chunks(self) -> Iterator[Chunk]:
        """All of them, in order. Not more than one is in memory."""
        own = os.path.abspath(self.out)
        paths = (path for path in stream(self.source) if os.path.abspath(path) != own)
        start, found = 0, items(paths, self.column)
        while share := tuple(islice(found, self.size)):
            yield Chunk(start, share)
            start += len(share)


Made = tuple[str, int, bytes | None]  # a part's name, how many items it has, its content unless it was there
Work = Callable[[Job, frozenset[str]], Iterator[Made]]  # given the names of parts that are there


def attribute_to(
    source: str | Path | Sequence[str | Path],
    attributor: str | Path,
    out: str | Path,
    *,
    column: str | None = None,
    device: str = "cpu",
    batch: int = BATCH,
    prefetch: bool = True,
    stage: Stage = silent,
    work: Work | None = None,
) -> dict[str, Any]:
    """Did this model make these samples? Verdicts on all of them as one Parquet file.

    A job that was interrupted, however that happened, goes on where it stopped when it is started again. Its parts
    lie in `.NAME.parts` beside `out` until then. If files come, go or change meanwhile, the parts they are in are
    made again.

    Args:
        source: a folder, file, glob, or several of those. Tar archives (as of WebDataset) and Parquet files with a
            column of bytes (as of Hugging Face) are opened; see `storage.shards.items`.
        attributor: the path of its bundle.
        out: the file, ending in .parquet. A row has the columns of `morelli attribute --csv`; notes, likelihood ratio
            and facts are JSON. Of files that are no samples the outcome is "refused".
        column: of Parquet files, the one with the samples; by default the only one of bytes.
        batch, prefetch: see `Scorer`.
        work: who judges the chunks; by default this process. See `morelli.cluster`.
    Returns:
        What a report says but for the verdicts: `schema`, `attributor`, `summary` which counts outcomes, `limits`; how
        many `items` there were, and `out`. The file's own metadata say what it rests on, under the key `morelli`.
    Raises:
        UnreadableSample: there are no files at `source`.
        UnreadableBundle: the attributor cannot be read, or `out` belongs to another job, or cannot be written.
        MorelliError: pyarrow is not installed.
    """
    target = Path(out)
    if target.suffix != ".parquet":
        raise MorelliError(f"the output is {target.name}; expected a name that ends in .parquet. For CSV use --csv.")
    named = (source,) if isinstance(source, (str, Path)) else tuple(source)
    judge, about = opened(attributor)
    size = 1 if judge.extractor.spec.is_table else ITEMS
    sources = tuple(str(Path(one)) for one in named)
    job = Job(sources, str(attributor), about["digest"], str(target), column, device, batch, prefetch, size)
    with Parts(target, _identity(job, about)) as parts:
        if target.exists():
            return _finished(job, parts, about)
        progress = stage("judging", 0)
        names = []
        for name, count, content in (work or _here)(job, parts.names()):
            if content is not None:
                parts.add(name, content)
            names.append(name)
            progress(count)
        return _summary(parts.finish(names), about, job.out)


def part_of(scorer: Scorer, chunk: Chunk) -> bytes:
    """The verdicts on a chunk, as the content of its part."""
    return encode(chain.from_iterable(scorer.stream(chunk.items)))


def _here(job: Job, done: frozenset[str]) -> Iterator[Made]:
    scorer = job.scorer()
    for chunk in job.chunks():
        name = chunk.name
        yield name, len(chunk.items), None if name in done else part_of(scorer, chunk)


def _identity(job: Job, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a job must share with the parts it goes on with, in words for a person."""
    return {
        "attributor": about["digest"],
        "source": list(job.source),
        "column": job.column,
        "device": job.device.partition(":")[0],
        "batch": job.batch,
        "schema": SCHEMA,
        "version": __version__,
    }


def _finished(job: Job, parts: Parts, about: Mapping[str, Any]) -> dict[str, Any]:
    found = parts.about()
    if digest_of(chunk.name for chunk in job.chunks()) != found["parts_sha256"]:
        raise UnreadableBundle(
            f"{job.out} is finished, and since then files came, went or changed. Choose another name, or delete it."
        )
    parts.discard()
    return _summary(found, about, job.out)


def _summary(found: Mapping[str, Any], about: Mapping[str, Any], out: str) -> dict[str, Any]:
    counts = dict.fromkeys([*(outcome.value for outcome in Outcome), REFUSED], 0) | found["summary"]
    return {
        "schema": SCHEMA,
        "attributor": dict(about),
        "summary": counts,
        "items": found["items"],
        "out": out,
        "limits": LIMITS,
    }
