"""A page as a session: its bash and python blocks in order, in one folder, in one process.

A Python block's first line may name the file that it shows: "# mypkg/gan.py"; it is written and run. A bundle may be
written again, as a page may show two ways to one thing.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from morelli.cli.main import app

FENCE = re.compile(r"^(`{3,})([^\n]*)\n(.*?)^\1$", re.M | re.S)
EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WRITTEN = re.compile(r'(?:--out |out=|save\([^\n]*, )"?([\w./-]+)')


@dataclass(frozen=True)
class Block:
    """One fenced block of a page: what it says it is, its text, and the line it begins on."""

    says: str
    text: str
    line: int

    @property
    def language(self) -> str:
        return self.says.partition(" ")[0]

    @property
    def skipped(self) -> str:
        """Why it is not run; empty where it is."""
        return self.says.partition(" skip: ")[2]

    @property
    def runs(self) -> bool:
        return self.language in ("bash", "python") and not self.skipped


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(m[2].strip(), m[3], text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(text)]


def run(page: Path, folder: Path, smaller: dict[str, str]) -> None:
    """Raises AssertionError, with page and line, where a command fails; what a Python block raises is not caught."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        if block.runs:
            text = block.text
            for large, small in smaller.items():
                text = text.replace(large, small)
            if block.language == "python":
                run_python(text, f"{page}:{block.line}", folder, names)
            else:
                run_shell(text, f"{page}:{block.line}", folder)


def make_room(text: str, folder: Path) -> None:
    """Remove what the text is about to write, if it was written before; signatures have a name of their own accord."""
    found = [folder / path for path in WRITTEN.findall(text)]
    for path in found + (list(folder.glob("*.dsse")) if "morelli sign" in text else []):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


def run_python(text: str, where: str, folder: Path, names: dict[str, Any]) -> None:
    if named := re.match(r"# ([\w/]+\.py)\n", text):
        path = folder / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        sys.modules.pop(named[1].removesuffix(".py").replace("/", "."), None)
    make_room(text, folder)
    exec(compile(text, where, "exec"), names)


def run_shell(text: str, where: str, folder: Path) -> None:
    """`morelli` in this process, as starting torch takes longer than most commands; extras are looked up; else bash."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["morelli"]:
            make_room(line, folder)
            words, target = (words[:-2], words[-1]) if ">" in words else (words, "")
            done = CliRunner().invoke(app, words[1:])
            assert done.exit_code == 0, f"{where}: {line}\n{done.output}\n{done.exception!r}"
            if target:
                (folder / target).write_text(done.stdout)
        elif words[:2] == ["pip", "install"]:
            assert set(words[2].partition("[")[2].rstrip("]").split(",")) <= set(EXTRAS), f"{where}: {line}"
        elif words:
            other = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
            assert other.returncode == 0, f"{where}: {line}\n{other.stdout}{other.stderr}"
