"""A page as PDF. WeasyPrint is optional, and is loaded when it is needed."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from morelli.errors import MorelliError

INSTALL = "pip install 'morelli[pdf]', on Debian also apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"


def check_pdf() -> Any:
    """WeasyPrint. Raises MorelliError, with the command that installs it, where it cannot be loaded."""
    try:
        with warnings.catch_warnings():  # of libraries that a later WeasyPrint will ask for
            warnings.simplefilter("ignore")
            import weasyprint
    except Exception as error:  # ImportError without the package, OSError without its libraries
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]
        raise MorelliError(f"a PDF needs WeasyPrint, which cannot be loaded ({said}). Install it: {INSTALL}.") from None
    return weasyprint


def pdf_of(html: str, identifier: str) -> bytes:
    """PDF with an outline and tags; nothing outside the page is fetched.

    Args:
        identifier: in place of a random one, so that the same page gives the same bytes.
    Raises:
        MorelliError: see `check_pdf`.
    """
    weasyprint = check_pdf()
    for name in ("weasyprint", "fontTools"):
        logging.getLogger(name).setLevel(logging.ERROR)  # of style for screens that it leaves out
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols=("data",))
    document = weasyprint.HTML(string=html, url_fetcher=fetcher)
    return bytes(document.write_pdf(pdf_identifier=identifier[:32].encode(), pdf_tags=True))
