"""The papers of the project: a card for what ships, a valid citation, a site that builds without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from typer.main import get_command

import morelli
from morelli.cli.main import app

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.parent for path in (ROOT / "src/morelli").glob("*/*/manifest.json"))
CARDS = "\n".join(path.read_text() for path in sorted((ROOT / "docs/cards").glob("*.md")))
RELATED = {
    "2306.06210": "Single-Model Attribution of Generative Models Through Final-Layer Inversion",
    "2307.15977": "Model Synthesis for Zero-Shot Model Attribution",
}


@pytest.mark.parametrize("bundle", SHIPPED, ids=lambda bundle: bundle.name)
def test_what_ships_has_a_card_with_its_digest(bundle: Path) -> None:
    digest = sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert any(bundle.name in line for line in CARDS.splitlines()), bundle.name
    assert f"`{digest}`" in CARDS, f"{bundle.name}: {digest}"


def test_no_card_of_what_does_not_ship() -> None:
    digests = {sha256((bundle / "manifest.json").read_bytes()).hexdigest() for bundle in SHIPPED}
    assert set(re.findall(r"`([0-9a-f]{64})`", CARDS)) == digests


def test_citation() -> None:
    yaml = pytest.importorskip("yaml", reason="pyyaml comes with myst-parser: pip install 'morelli[docs]'")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["cff-version"], cited["type"], cited["license"]) == ("1.2.0", "software", "Apache-2.0")
    assert cited["version"] == morelli.__version__
    assert cited["title"] and cited["message"] and cited["authors"]
    found = {one["identifiers"][0]["value"].removeprefix("arXiv:"): one["title"] for one in cited["references"]}
    assert found == RELATED
    assert all(one["authors"] and one["year"] and one["type"] for one in cited["references"])


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    for needed in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(needed, reason="the site takes: pip install 'morelli[docs]'")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", "-d", tmp_path / "cache"]
    done = subprocess.run([*command, ".", tmp_path / "site"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = (tmp_path / "site/docs/reference/names.html").read_text()
    commands = (tmp_path / "site/docs/reference/commands.html").read_text()
    for name in set(morelli.__all__) - {"__version__"}:
        assert f'id="morelli.{name}"' in names, name
    for command in get_command(app).commands.values():
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        for said in (f"morelli {command.name}", *options):
            assert said == "--help" or said in commands, (command.name, said)
    missing = [
        x
        for x in re.findall(r'<img[^>]* src="([^"]+)"', (tmp_path / "site/docs/figures.html").read_text())
        if not (tmp_path / "site/docs" / x).exists()
    ]
    assert not missing
