"""Documentation holds: links lead somewhere, code compiles, commands and their options exist, verbs are explained."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

import morelli
from morelli.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [*sorted((ROOT / "experiments").glob("**/README.md")), ROOT / "benchmarks" / "README.md"]
COMMANDS = get_command(app).commands


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_compile(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


def test_commands_in_the_documentation_exist() -> None:
    lines = [line for page in PAGES for line in page.read_text().splitlines() if re.match(r"\s*morelli [a-z]", line)]
    assert lines
    for line in lines:
        words = shlex.split(line.split(" #")[0])
        known = {option for parameter in COMMANDS[words[1]].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert any(f"morelli {command}" in page.read_text() for page in PAGES)


def test_public_names_load() -> None:
    assert set(morelli._WHERE) <= set(morelli.__all__)
    for name in morelli.__all__:
        assert getattr(morelli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = morelli.nothing
