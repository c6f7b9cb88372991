"""Reports from the command line: several kinds at once, what is refused before anything is judged, the schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from toys import toy_samples
from typer.testing import CliRunner

from morelli.cli.main import app
from morelli.errors import MorelliError

BUNDLE = str(Path(__file__).parents[1] / "artefacts" / "table-1.attributor")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    lines = [",".join(map(str, row)) for row in toy_samples("table", 3, 3).tolist()]
    Path("rows.csv").write_text("\n".join(lines))

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_several_reports_and_the_schema(run) -> None:  # type: ignore[no-untyped-def]
    Path("card.json").write_text(json.dumps({"attacks": [{"name": "noise", "aim": "removal", "success": 0.5}]}))
    words = ("attribute", "rows.csv", "--with", BUNDLE, "--attack-card", "card.json", "--dated", "some day")
    shown = run(*words, "--report", "new/r.html", "--report", "r.json", "--json")
    told = json.loads(Path("r.json").read_text())
    assert json.loads(shown) == told
    assert told["dated"] == "some day"
    assert told["attack_card"]["attacks"][0]["name"] == "noise"
    page = Path("new/r.html").read_text()
    assert "some day" in page and "50.0\u00a0%" in page and told["id"] in page
    jsonschema.validate(told, json.loads(run("schema")))
    again = json.loads(run(*told["custody"]["command"].split()[1:]))
    assert again["verdicts"] == told["verdicts"]


def test_what_cannot_be_written_is_refused_at_once(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MorelliError, match=r"\.html, \.pdf or \.json"):
        run("attribute", "nowhere.csv", "--with", BUNDLE, "--report", "r.txt")
