"""Every bash and python block of the pages runs, in order, in a folder that has what the page speaks of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.main import get_command

from docs.sandbox import prepare
from docs.session import blocks, run
from morelli.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NEEDS: dict[str, tuple[str, ...]] = {}
SMALLER: dict[str, dict[str, str]] = {}  # page → number that takes long → one that takes seconds


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(page.relative_to(ROOT / "docs"))
    assert all(block.says for block in blocks(page)), "a block does not say what it is: bash, python, text, json …"
    if not any(block.runs for block in blocks(page)):
        return
    prepare(tmp_path, *NEEDS.get(name, ()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    try:
        run(page, tmp_path, SMALLER.get(name, {}))
    finally:
        for module in set(sys.modules) - before:
            if str(getattr(sys.modules[module], "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[module]


def test_what_is_made_smaller_is_on_the_page() -> None:
    for name, changes in SMALLER.items():
        text = "".join(block.text for block in blocks(ROOT / "docs" / name) if block.runs)
        assert all(large in text for large in changes), name
    assert set(NEEDS) | set(SMALLER) <= {str(page.relative_to(ROOT / "docs")) for page in PAGES}


def test_a_block_that_fails_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    for block, error in (("bash\nmorelli inspect nothing", AssertionError), ("python\n1 / 0", ZeroDivisionError)):
        page.write_text(f"```{block}\n```\n")
        with pytest.raises(error):
            run(page, tmp_path, {})
    page.write_text("```bash\nfalse\n```\n")
    with pytest.raises(AssertionError, match="page.md:1: false"):
        run(page, tmp_path, {})
    page.write_text("```bash skip: needs a GPU\nfalse\n```\n")
    run(page, tmp_path, {})
    assert [block.skipped for block in blocks(page)] == ["needs a GPU"]
