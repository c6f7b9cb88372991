"""pyarrow, which is not installed everywhere."""

from __future__ import annotations

from typing import Any

from morelli.errors import MorelliError


def load_arrow() -> Any:
    """The package, with what Parquet files take. Raises MorelliError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except Exception as error:  # a broken installation raises nearly anything
        raise MorelliError("reading and writing Parquet needs pyarrow: pip install 'morelli[jobs]'.") from error
    return pyarrow
