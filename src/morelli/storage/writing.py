"""Files and folders that are written whole or not at all, and a lock that a killed process does not leave behind."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from morelli.errors import MorelliError, UnreadableBundle

FULL = "The disk is full: make room, or name another place."
RIGHTS = "You may not write there: check the rights, or name another place."
ADVICE = {
    errno.ENOSPC: FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): FULL,
    errno.EROFS: "That disk can only be read: name another place.",
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EFBIG: "Files of that size are not allowed there: name another place.",
}
EXCHANGE, HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux


def cannot_write(path: object, error: OSError) -> str:
    """What to say of it: the path, why, and what to do."""
    why = error.strerror or str(error) or type(error).__name__
    return f"{path} cannot be written ({why}). {ADVICE.get(error.errno or 0, 'Check the folder.')}"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, UTF-8 where it is text; the folder is made if need be. Afterwards it is all there, or as it was.

    Raises MorelliError that names the path.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data, sync=True)
    except OSError as error:
        raise MorelliError(cannot_write(path, error)) from error


def replace_file(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Put a file in place in one step, whatever kills the process. Links are followed; a pipe or device is written to.

    `sync`: it also survives a power failure. Raises OSError.
    """
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_file():
        place.write_bytes(data)
        return
    partial = place.with_name(f".{place.name[:40]}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, partial)
        os.replace(partial, place)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    if sync:
        sync_folder(place.parent)


def move_into_place(staging: Path, path: Path, *, replace: bool) -> None:
    """Rename a folder. One that is there is exchanged for it in one step; `staging` then holds the old one.

    Where the system cannot exchange, the old one is moved aside, to `.NAME.old.*`, and put back whatever interrupts,
    but for a kill between two renames. Raises OSError.
    """
    if not (replace and path.exists()):
        os.rename(staging, path)  # fails where another process was quicker
    elif not _exchanged(staging, path):
        _moved_aside(staging, path)
    sync_folder(path.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """False where the system or the disk has no such call."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # an old C library
        return False
    if call(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0:
        return True
    found = ctypes.get_errno()
    if found in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV):
        return False
    raise OSError(found, os.strerror(found), str(other))


def _moved_aside(staging: Path, path: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    kept = aside / path.name
    try:
        os.rename(path, kept)
        os.rename(staging, path)
    finally:
        if kept.exists() and not path.exists():
            os.rename(kept, path)
        shutil.rmtree(aside, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """So that a rename survives a power failure, where the system has that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def alone(file: IO[bytes], path: Path) -> Iterator[None]:
    """Inside, no other process is. The lock goes with the process, however it ends; Windows has none.

    Raises UnreadableBundle where another process is inside.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            yield  # a disk without locks
            return
        raise UnreadableBundle(f"another process is writing {path}. Wait for it, or name another file.") from None
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            fcntl.flock(file, fcntl.LOCK_UN)


def is_regular(handle: int) -> bool:
    return stat.S_ISREG(os.fstat(handle).st_mode)
