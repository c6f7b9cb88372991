"""docs/python.md runs from its first block to its last, as a reader would paste it."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(blocks) == 6
    here: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), here)
    said = capsys.readouterr().out
    assert len(re.findall(r"^suspects/\d\.png not attributed 0\.\d+$", said, re.M)) == 10
    assert "library_name: morelli" in said
    assert "nowhere does not exist" in said
    assert here["clf"].score(here["X"][140:], here["y"][140:]) > 0.8
    assert here["auroc"](here["clf"], here["X"][140:], here["y"][140:]) > 0.9
