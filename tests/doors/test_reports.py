"""Reports from the command line: several kinds at once, what is refused before anything is judged, the schema."""

from __future__ import annotations

import json
import shlex
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
    assert json.loads(run(*shlex.split(told["custody"]["command"])[1:])) == told


def test_names_that_look_like_options_come_back(run) -> None:  # type: ignore[no-untyped-def]
    Path("rows.csv").rename("-rows.csv")
    told = json.loads(run("attribute", "--with", BUNDLE, "--json", "--", "-rows.csv"))
    assert told["verdicts"]
    again = json.loads(run(*shlex.split(told["custody"]["command"])[1:]))
    assert (again["verdicts"], again["custody"]) == (told["verdicts"], told["custody"])


def test_card_and_date_are_read_before_anything_is_judged(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    Path("card.json").write_text("{}")
    words = ("attribute", "nowhere.csv", "--with", BUNDLE)
    with pytest.raises(MorelliError, match="is no attack card"):
        run(*words, "--attack-card", "card.json")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(MorelliError, match="'soon'"):
        run(*words)


def test_what_cannot_be_written_is_refused_at_once(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MorelliError, match=r"\.html, \.pdf or \.json"):
        run("attribute", "nowhere.csv", "--with", BUNDLE, "--report", "r.txt")
