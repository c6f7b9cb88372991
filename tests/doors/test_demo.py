"""The demo, small: what it writes, and that the main job works on generators it has not seen."""

import json
from pathlib import Path

import pytest

from morelli.app.demo import SOURCES, run_demo
from morelli.errors import UnreadableBundle


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "demo"
    run_demo(out, fast=True)
    return out


def test_result(demo: Path) -> None:
    result = json.loads((demo / "result.json").read_text())
    assert set(result) == {"imprint", "flipad", "rawpad", "dctpad"}
    for cells in result.values():
        assert set(cells) == set(SOURCES)
        assert all(set(cell) == {"balanced_accuracy", "auroc", "n"} for cell in cells.values())
    assert min(cell["balanced_accuracy"] for cell in result["imprint"].values()) >= 0.9
    flipad = [cell["balanced_accuracy"] for cell in result["flipad"].values()]
    assert min(flipad) >= 0.9  # 0.98 to 1.00 when it was written
    assert min(cell["balanced_accuracy"] for cell in result["dctpad"].values()) < min(flipad)


def test_files(demo: Path) -> None:
    page = (demo / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 + 1 + 5  # histograms, activation maps, sheets
    assert "https://" not in page
    for source in ("clothing-dcgan", *SOURCES):
        assert len(list((demo / "images" / source / "test").glob("*.png"))) == 60


def test_only_an_earlier_demo_is_replaced(demo: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableBundle, match="exists"):
        run_demo(demo, fast=True)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UnreadableBundle, match="exists"):
        run_demo(tmp_path, fast=True, overwrite=True)
    assert (tmp_path / "letter.txt").exists()
