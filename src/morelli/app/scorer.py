"""The scorer: items in, rows out. The plain loop, the jobs and the cluster all run this one class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from morelli.app.bundles import load_attributor
from morelli.attribution.attributor import Attributor
from morelli.attribution.report import JudgedFile, Outcome, RefusedFile, Verdict
from morelli.attribution.seconding import Seconded
from morelli.errors import MismatchError, UnreadableSample
from morelli.storage.samples import LIMITS, Limits, Reading, read
from morelli.storage.shards import Contents, Item

BATCH = 64
REFUSED = "refused"
COLUMNS = ("file", "row", "outcome", "score", "p_value", "reason", "notes", "likelihood_ratio", "facts")
Row = dict[str, Any]


class Scorer:
    """Judges items by an attributor: `Scorer("my.attributor")(items)`.

    A row is what a report says of one sample (`JudgedFile.to_dict`); of what is no sample, `outcome` is "refused" and
    `reason` says why. Rows do not depend on which items are judged together.

    Attributes:
        attributor, digest: what judges; the digest of its bundle, or "in memory".
    """

    def __init__(
        self,
        attributor: str | Path | Attributor | Seconded,
        *,
        device: str = "cpu",
        batch: int = BATCH,
        prefetch: bool = True,
        limits: Limits = LIMITS,
    ) -> None:
        """
        Args:
            attributor: an Attributor, two of which one seconds the other, or the path of a bundle.
            batch: as many samples are judged at once, or those of one table. So many images are in memory thrice.
            prefetch: read the next batch, in a thread, while one is judged.
            limits: what one item may cost; larger ones are refused.
        Raises:
            UnreadableBundle: the attributor cannot be read.
        """
        self.attributor: Attributor | Seconded
        self.attributor, self.digest = (
            (attributor, "in memory") if isinstance(attributor, Attributor | Seconded) else load_attributor(attributor)
        )
        self.device, self.batch, self.prefetch = device, batch, prefetch
        self._limits, self._contents = limits, Contents(limits)

    def __call__(self, items: Iterable[Item]) -> list[list[Row]]:
        """The rows of each item: one of an image, many of a table or of sound."""
        return list(self.stream(items))

    def stream(self, items: Iterable[Item]) -> Iterator[list[Row]]:
        """The same one by one, in the order of the items, which are taken when they are needed."""
        batches = self._batches(items)
        for batch in _ahead(batches) if self.prefetch else batches:
            yield from self._judged(batch)

    def read(self, item: Item) -> Reading | Row:
        """Samples and facts, or the row where there is nothing to judge."""
        try:
            spec = self.attributor.extractor.spec
            data = self._contents.of(item)
            return read(Path(item.name), spec, self._limits, data=data, fit=self.attributor.fit)
        except MismatchError as error:  # a sound file of a size of which nothing is known
            return JudgedFile(item.name, Verdict(Outcome.INCONCLUSIVE, reason=str(error)), {}).to_dict()
        except UnreadableSample as error:
            return dict.fromkeys(COLUMNS) | {"outcome": REFUSED} | RefusedFile(item.name, str(error)).to_dict()

    def _batches(self, items: Iterable[Item]) -> Iterator[list[tuple[str, Reading | Row]]]:
        waiting: list[tuple[str, Reading | Row]] = []
        samples = 0
        for item in items:
            found = self.read(item)
            waiting.append((item.name, found))
            samples += len(found.samples) if isinstance(found, Reading) else 0
            if samples >= self.batch or len(waiting) >= 4 * self.batch:
                yield waiting
                waiting, samples = [], 0
        if waiting:
            yield waiting

    def _judged(self, batch: list[tuple[str, Reading | Row]]) -> Iterator[list[Row]]:
        readings = [found for _, found in batch if isinstance(found, Reading)]
        facts = [reading.facts for reading in readings for _ in reading.samples]
        samples = [reading.samples for reading in readings]
        verdicts = iter(self.attributor.judge(torch.cat(samples).to(self.device), facts) if samples else [])
        is_image = self.attributor.extractor.spec.is_image
        for name, found in batch:
            if isinstance(found, Reading):
                rows = [None] if is_image else range(len(found.samples))
                yield [JudgedFile(name, next(verdicts), found.facts, row).to_dict() for row in rows]
            else:
                yield [found]


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same, each made while its predecessor is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
