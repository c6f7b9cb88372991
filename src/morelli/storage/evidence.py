"""Pages for people: a report on judged files, and a comparison of methods. One file each, nothing outside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from morelli.storage.writing import write_whole

PAGES = Environment(
    loader=PackageLoader("morelli.storage"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}\u00a0%"


def ratio(log10: float) -> str:
    """A likelihood ratio: below 1 as one over something, which is easier to read."""
    return f"{10**log10:.3g}" if log10 >= 0 else f"1/{10**-log10:.3g}"


def coded(coding: str) -> str:
    """As `storage.codings` has it, in words."""
    kind, _, strength = coding.partition(":")
    if kind == "none":
        return "without loss"
    picture = kind in ("jpeg", "webp")
    return f"{kind.upper()}, quality about {strength}" if picture else f"{kind}, about {strength} kbit/s"


PAGES.filters |= {"percent": percent, "ratio": ratio, "coded": coded}
SCHEMA = Path(__file__).parent / "schemas" / "report-3.json"


def page(template: str, content: Mapping[str, Any]) -> str:
    """`templates/<template>.html.j2`, rendered; what is no Unicode, in names of files, is escaped."""
    text = PAGES.get_template(f"{template}.html.j2").render(content)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_page(template: str, path: Path, content: Mapping[str, Any]) -> None:
    """Render `templates/<template>.html.j2` to `path`; the folder is made if need be."""
    write_whole(path, page(template, content))
