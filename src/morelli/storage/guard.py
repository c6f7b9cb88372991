"""Where foreign bytes meet somebody else's decoder: what that raises and warns of becomes an error or notes of ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from PIL import Image

from morelli.errors import MorelliError, UnreadableSample

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
    said = (
        Image.DecompressionBombWarning,
        DeprecationWarning,
    )  # the latter may be of another thread, and of no picture
    quiet = (w for w in heard if not issubclass(w.category, said))
    if not private:
        notes.extend(sorted({f"decoder warning: {' '.join(str(w.message).split())}" for w in quiet}))
