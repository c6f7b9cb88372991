"""Where foreign bytes meet somebody else's decoder: what that raises and warns of becomes an error or notes of ours."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock

from PIL import Image, ImageFile

from morelli.errors import MorelliError, UnreadableSample

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors are printed where nobody set up logging
_QUIET = Lock()
_DECODING = Lock()  # recording warnings swaps process-wide filters, so one picture at a time


@contextmanager
def guarded(kind: str, max_pixels: int, notes: list[str], *, private: bool = False) -> Iterator[None]:
    """Raises UnreadableSample for whatever a decoder raises; warnings are added to `notes`.

    Args:
        kind: of the file, in words.
        private: the decoder's own words may quote the file, and are not repeated.
    """
    with _DECODING, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries set it for everybody, WeasyPrint among them
        try:
            yield
        except MorelliError:
            raise
        except Image.DecompressionBombError as error:
            raise UnreadableSample(
                f"claims more pixels than are ever decoded; the limit is {max_pixels}. Expected one sample; crop it."
            ) from error
        except Exception as error:  # decoders raise nearly every kind on hostile bytes
            found = type(error).__name__ + ("" if private else f": {ascii(str(error))[1:-1][:120]}")
            raise UnreadableSample(
                f"starts like {kind} but is damaged or cut short ({found}); expected a complete picture. "
                "Copy or export it again."
            ) from (None if private else error)
    said = Image.DecompressionBombWarning, DeprecationWarning  # the latter may be of another thread, of no picture
    quiet = (w for w in heard if not issubclass(w.category, said))
    if not private:
        notes.extend(sorted({f"decoder warning: {' '.join(str(w.message).split())}" for w in quiet}))


@cache
def silence_tiff() -> None:
    """Once: libtiff says on standard error what is wrong with a file, and then fails, which is enough."""
    with suppress(OSError, AttributeError):  # linked in, and out of reach
        library = ctypes.CDLL(Image.core.__file__)  # type: ignore[attr-defined]
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, nothing reaches standard error, of any thread: for libmpg123, which cannot be told to be silent."""
    with _QUIET:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
