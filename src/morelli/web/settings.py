"""What a server opens, and what one client may cost it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from morelli.errors import OutOfRange


@dataclass(frozen=True)
class Limits:
    """Each is checked before the work it bounds.

    Attributes:
        max_bytes: of one request, all of its files together; counted while it arrives.
        max_files: of one request.
        max_pixels: of one picture, as its header claims; larger ones are not decoded.
        max_rows: of tables, or windows of sound, of one request: each of its files may have an even share. The answer
            has some 500 bytes for each.
        time_limit: seconds of judging for one request, and as many again for its upload.
        queue: requests that are uploading, waiting or being judged; further ones are answered 503.
        rate_limit: files a minute that one client may send, and at once after a pause; 0: any number.
        workers: processes that judge. Each holds all attributors and the gallery.
    Raises:
        OutOfRange: one that is not positive and finite, or a rate limit that one request may exceed, as such a request
            would never be taken.
    """

    max_bytes: int = 32 * 2**20
    max_files: int = 16
    max_pixels: int = 16_000_000
    max_rows: int = 20_000
    time_limit: float = 60.0
    queue: int = 64
    rate_limit: int = 300
    workers: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf or (value == 0 and name != "rate_limit"):
                raise OutOfRange(f"{name} is {value}; expected a positive number.")
        if 0 < self.rate_limit < self.max_files:
            raise OutOfRange(
                f"rate_limit is {self.rate_limit} files a minute, less than one request may have ({self.max_files}); "
                "raise it, or lower max_files."
            )


@dataclass(frozen=True)
class Settings:
    """Attributes:
    attributors: bundles; the page offers them by the names of their folders.
    gallery: of known models, where there is one. rate: unknown models are taken for a known one at most so often.
    network: that fingerprints for it, in place of the shipped one.
    token: what clients must send as `Authorization: Bearer …`; None: anybody may ask.
    hosts: values of the Host header that are answered, without port; empty: any.
    """

    attributors: tuple[Path, ...]
    gallery: Path | None = None
    rate: float = 0.05
    network: Path | None = None
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    device: str = "cpu"
