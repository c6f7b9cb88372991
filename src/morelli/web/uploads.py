"""A multipart body → files in a folder of ours, under names of ours, counted while they arrive."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from morelli.web.contents import FIRST, unwanted
from morelli.web.refusals import Refusal
from morelli.web.settings import Limits

FIELD = "files"
PATIENCE = 10  # seconds, with a body that is not wanted
LONGEST_NAME, LARGEST_HEADERS, LARGEST_FIELD, MOST_FIELDS = 120, 8 * 1024, 64 * 1024, 16


@dataclass(frozen=True)
class Upload:
    """One file: `path` where it lies, None where it was refused by its content; `name` as the client calls it."""

    name: str
    path: Path | None
    refused: str = ""


def shown(name: str) -> str:
    """A client's file name without folders or control characters, and not too long. It is shown, never opened."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(c if c.isprintable() else "?" for c in last)
    return printable[:LONGEST_NAME] or "unnamed"


class Receiver:
    """Takes the body piece by piece. A file that its first bytes betray as a bundle is never written.

    Args:
        suffixes: that stored files keep, since readers compare them with the content.
    """

    def __init__(self, content_type: str, folder: Path, limits: Limits, suffixes: Collection[str]) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise Refusal(415, "not_multipart", f"expected multipart/form-data with one or more '{FIELD}'.")
        if not options.get(b"boundary"):
            raise Refusal(400, "malformed", "the Content-Type names no boundary.")
        self.uploads: list[Upload] = []
        self._folder, self._limits, self._suffixes = folder, limits, suffixes
        self._bytes = self._parts = self._of_headers = self._of_field = 0
        self._name, self._value, self._headers = b"", b"", dict[bytes, bytes]()
        self._first = b""
        self._upload: Upload | None = None
        self._file: IO[bytes] | None = None
        called: dict[str, Callable[..., None]] = {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._part_ends,
            "on_end": self._ends,
        }
        self._complete = False
        try:
            self._parser = MultipartParser(options[b"boundary"], called)  # type: ignore[arg-type]
        except FormParserError as error:
            raise Refusal(400, "malformed", f"the Content-Type's boundary cannot be used ({error}).") from None

    def take(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > self._limits.max_bytes + LARGEST_FIELD:
            limit = self._limits.max_bytes
            raise Refusal(413, "too_large", f"the request has more than {limit} bytes. Send fewer or smaller files.")
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Refusal(400, "malformed", f"the body is not well-formed multipart/form-data ({error}).") from None

    def finish(self) -> list[Upload]:
        """Raises Refusal where the body was cut short, or held no file."""
        if not self._complete and self._parts:
            raise Refusal(400, "malformed", "the body ends before its last boundary.")
        if not self.uploads:
            raise Refusal(422, "no_file", f"no file was sent; expected one or more under the name '{FIELD}'.")
        return self.uploads

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > self._limits.max_files + MOST_FIELDS:
            raise Refusal(413, "too_many_files", f"more than {self._limits.max_files} files in one request.")
        self._headers, self._of_headers, self._of_field = {}, 0, 0
        self._first, self._upload = b"", None

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += self._counted(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data[start:end])

    def _counted(self, data: bytes) -> bytes:
        self._of_headers += len(data)
        if self._of_headers > LARGEST_HEADERS:
            raise Refusal(400, "malformed", "the headers of a part are too long.")
        return data

    def _header_ends(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if options.get(b"name", b"").decode("utf-8", "replace") != FIELD:
            return  # other fields are read past
        if b"filename" not in options:
            raise Refusal(422, "no_file", f"'{FIELD}' is a text without a file name; expected a file.")
        if len(self.uploads) == self._limits.max_files:
            raise Refusal(413, "too_many_files", f"more than {self._limits.max_files} files in one request.")
        name = shown(options.get(b"filename", b"").decode("utf-8", "replace"))
        suffix = Path(name).suffix.lower()
        path = self._folder / (secrets.token_hex(16) + (suffix if suffix in self._suffixes else ""))
        self._upload, self._file = Upload(name, path), path.open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._upload is None:
            self._of_field += end - start
            if self._of_field > LARGEST_FIELD:
                raise Refusal(413, "too_large", f"a field other than '{FIELD}' is too long.")
            return
        if self._upload.refused or self._file is None:
            return
        if len(self._first) < FIRST:
            self._first += data[start : min(end, start + FIRST)]
            if what := unwanted(self._first):
                self._refuse(what)
                return
        self._file.write(data[start:end])

    def _refuse(self, what: str) -> None:
        assert self._upload is not None and self._upload.path is not None
        self.close()
        self._upload.path.unlink()
        reason = f"{self._upload.name} is {what}. Only samples are read here, never bundles, models or archives."
        self._upload = Upload(self._upload.name, None, reason)

    def _part_ends(self) -> None:
        self.close()
        if self._upload is not None:
            self.uploads.append(self._upload)

    def _ends(self) -> None:
        self._complete = True


async def receive(
    chunks: AsyncIterator[bytes],
    content_type: str,
    folder: Path,
    limits: Limits,
    suffixes: Collection[str],
) -> list[Upload]:
    """The files of a request, in `folder`. What is refused half way is read past, so that the answer arrives.

    Raises Refusal.
    """
    receiver: Receiver | None = None
    try:
        async with asyncio.timeout(limits.time_limit):
            try:
                receiver = Receiver(content_type, folder, limits, suffixes)
                async for chunk in chunks:
                    receiver.take(chunk)
                return receiver.finish()
            except Refusal:
                await drain(chunks, limits.max_bytes)
                raise
    except TimeoutError:
        raise Refusal(408, "too_slow", f"the upload took more than {limits.time_limit:g} seconds.") from None
    finally:
        if receiver is not None:
            receiver.close()


async def drain(chunks: AsyncIterator[bytes], most: int) -> None:
    """Reads past what is left of a body, up to a point: a client that is still sending would not see the answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            async for chunk in chunks:
                most -= len(chunk)
                if most < 0:
                    return
