"""Rows of a long job as Parquet: parts that are whole or not there, and one file made of them at the end."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from morelli.errors import UnreadableBundle
from morelli.storage.arrow import load_arrow
from morelli.storage.writing import alone, replace_file, sync_folder

KEY = b"morelli"  # of the metadata, which are JSON
NESTED = ("notes", "likelihood_ratio", "facts")  # columns of JSON
GROUP = 4096  # rows


class Parts:
    """A folder of parts beside `out`, `.NAME.parts`, of one job at a time. What a kill leaves behind is whole.

    Args:
        out: the file that the parts become.
        job: what the rows rest on, JSON-able. Parts of another job are refused.
    Raises:
        UnreadableBundle: on entering: the parts or `out` are of another job, or another process is at work, or
            the folder cannot be written.
        MorelliError: pyarrow is not installed.
    """

    def __init__(self, out: Path, job: Mapping[str, Any]) -> None:
        load_arrow()
        self.out, self.job = out, dict(job)
        self.folder = out.with_name(f".{out.name}.parts")

    def __enter__(self) -> Parts:
        if self.out.exists():
            self._check(self.about(), self.out)
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("ab")
        with ExitStack() as stack:
            stack.enter_context(lock)
            stack.enter_context(alone(lock, self.out))
            if self.out.exists():  # since we looked, another job may have finished
                self._check(self.about(), self.out)
            self._claim(self.folder / "job.json")
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            if error is not None and self.folder.is_dir() and not self.names():
                self.discard()

    def about(self) -> dict[str, Any]:
        """What the finished file says of itself. Raises UnreadableBundle where it is no such file."""
        try:
            found = json.loads(load_arrow().parquet.read_metadata(self.out).metadata[KEY])
        except Exception as error:
            raise UnreadableBundle(
                f"{self.out} exists and holds no verdicts; it is left alone. Name another."
            ) from error
        return dict(found)

    def names(self) -> frozenset[str]:
        """Of the parts that are there."""
        return frozenset(name for name in os.listdir(self.folder) if name.endswith(".parquet"))

    def add(self, name: str, content: bytes) -> None:
        """Raises UnreadableBundle where it cannot be written."""
        with _writing(self.folder):
            replace_file(self.folder / name, content, sync=True)

    def finish(self, names: Sequence[str]) -> dict[str, Any]:
        """Put the named parts together in their order, remove them all, and return what the file says of itself.

        Raises UnreadableBundle: ranges are missing or overlap, a part is damaged, or `out` cannot be written.
        """
        names = sorted(names)
        spans = [(int(start), int(stop)) for start, stop in (name.split("-")[:2] for name in names)]
        if [start for start, _ in spans] != [0, *(stop for _, stop in spans)][: len(spans)]:
            raise UnreadableBundle(f"the parts in {self.folder} do not follow on each other. Run the job again.")
        counts: dict[str, int] = {}
        arrow, whole = load_arrow(), self.folder / "whole.tmp"
        with _writing(self.out):
            with whole.open("wb") as file:
                with arrow.parquet.ParquetWriter(file, _schema(), compression="zstd") as writer:
                    for table in self._tables(names):
                        for each in arrow.compute.value_counts(table["outcome"]).to_pylist():
                            counts[each["values"]] = counts.get(each["values"], 0) + each["counts"]
                        writer.write_table(table)
                    about = self.job | {
                        "items": spans[-1][1] if spans else 0,
                        "summary": dict(sorted(counts.items())),
                        "parts_sha256": digest_of(names),
                    }
                    writer.add_key_value_metadata({KEY: _json(about)})
                file.flush()
                os.fsync(file.fileno())
            os.replace(whole, self.out)
            sync_folder(self.out.parent)
        self.discard()
        return about

    def discard(self) -> None:
        """Remove the folder of parts."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tables(self, names: Sequence[str]) -> Iterator[Any]:
        """Of GROUP rows or a little more."""
        arrow = load_arrow()
        waiting: list[Any] = []
        for name in names:
            try:
                with arrow.parquet.ParquetFile(self.folder / name) as part:
                    for group in range(part.num_row_groups):
                        waiting.append(part.read_row_group(group))
                        if sum(map(len, waiting)) >= GROUP:
                            yield arrow.concat_tables(waiting).combine_chunks()
                            waiting = []
            except (arrow.ArrowException, OSError) as error:
                raise UnreadableBundle(f"{self.folder / name} is damaged. Delete it and run the job again.") from error
        if waiting:
            yield arrow.concat_tables(waiting).combine_chunks()

    def _claim(self, path: Path) -> None:
        if path.exists():
            try:
                found = dict(json.loads(path.read_bytes()))
            except (ValueError, TypeError, OSError) as error:
                raise UnreadableBundle(f"{path} is damaged. Delete {self.folder} to start the job anew.") from error
            self._check(found, self.folder)
            return
        with _writing(self.folder):
            replace_file(path, _json(self.job), sync=True)

    def _check(self, found: Mapping[str, Any], where: Path) -> None:
        for name, ours in self.job.items():
            if found.get(name) != ours:
                raise UnreadableBundle(
                    f"{where} belongs to a job with another {name} ({_short(found.get(name))}; this one has "
                    f"{_short(ours)}). It is left alone: choose another name, or delete it."
                )


def encode(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as one Parquet file; the same rows give the same bytes. Nested values are JSON with sorted keys."""
    arrow, target, rows = load_arrow(), io.BytesIO(), iter(rows)
    schema = _schema()
    with arrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        while group := list(islice(rows, GROUP)):
            columns = {name: [_cell(name, row[name]) for row in group] for name in schema.names}
            writer.write_table(arrow.table(columns, schema))
    return target.getvalue()


def digest_of(names: Iterable[str]) -> str:
    return sha256("\n".join(sorted(names)).encode()).hexdigest()


def _cell(name: str, value: Any) -> Any:
    if name in NESTED:
        return None if value is None else _json(value).decode()
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _schema() -> Any:
    arrow = load_arrow()
    text, number = arrow.string(), arrow.float64()
    kinds = {"file": text, "row": arrow.int64(), "outcome": text, "score": number, "p_value": number, "reason": text}
    return arrow.schema(list((kinds | dict.fromkeys(NESTED, text)).items()))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Failures to write become one line."""
    try:
        yield
    except OSError as error:
        raise UnreadableBundle(
            f"{path} cannot be written ({error.strerror or error}). Make room or check its rights, and run the job "
            "again: it goes on where it stopped."
        ) from error


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
