"""Pages for people: a report on judged files, and a comparison of methods. One HTML file each, nothing outside it."""

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


def write_page(template: str, path: Path, content: Mapping[str, Any]) -> None:
    """Render `templates/<template>.html.j2` to `path`; the folder is made if need be."""
    text = PAGES.get_template(f"{template}.html.j2").render(content)
    write_whole(path, text)
