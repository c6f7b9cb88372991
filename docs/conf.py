"""The site: the repository's own pages, where they lie, so that every link holds in both. `make docs` builds it."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "extensions"))

import morelli  # noqa: E402

project, author = "Morelli", "the authors of Morelli"
version = release = morelli.__version__
root_doc = "docs/index"
include_patterns = ["docs/**.md", "experiments/**README.md", "benchmarks/README.md", "*.md"]
exclude_patterns = [".*", "src", "tests", "runs", "shared", "demo", "build", "dist", "docs/site", "docs/extensions"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference_pages"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header", "toc.empty_glob"]  # a page of tables may begin below H2
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
napoleon_numpy_docstring = False
default_role = "code"

html_theme = "furo"
html_title = "Morelli"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_extra_path = ["site/index.html"]
html_show_sourcelink = html_show_copyright = False
pygments_style, pygments_dark_style = "friendly", "github-dark"

SKIPPED = re.compile(r"^(```(?:bash|python)) skip: (.+?)\n(.*?^```)$", re.M | re.S)


def prepare(app: Sphinx, page: str, source: list[str]) -> None:
    """Blocks that the tests do not run say why; links to folders lead to a README; the index lists what is there."""
    place = (ROOT / page).parent
    text = SKIPPED.sub(r"\1\n\3\n\n*Not run by the tests: \2.*\n", source[0])
    text = re.sub(r"\]\(([^)#:]+)\)", lambda m: f"]({m[1]}/README.md)" if (place / m[1]).is_dir() else m[0], text)
    if page == root_doc:
        text = re.sub(r"^[a-z]+\n", lambda m: m[0] if (place / f"{m[0][:-1]}.md").exists() else "", text, flags=re.M)
    source[0] = text


def escape_stars(app: Sphinx, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with code in backticks: [n, *out] is a shape and no emphasis."""
    lines[:] = [
        "`".join(re.sub(r"\*", r"\\*", p) if i % 2 == 0 else p for i, p in enumerate(line.split("`"))) for line in lines
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", prepare)
    app.connect("autodoc-process-docstring", escape_stars, priority=100)
    return {"parallel_read_safe": True}
