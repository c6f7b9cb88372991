"""Every bash and python block of the pages runs, in order, in a folder that has what the page speaks of."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from pages.sandbox import prepare
from pages.session import blocks, run

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NEEDS: dict[str, tuple[str, ...]] = {
    "audio.md": ("clips",),
    "evidence.md": ("own", "suspects", "others", "head"),
    "gallery.md": ("large_pictures", "decoders"),
    "heads.md": ("package", "onnx_graph"),
    "imprint.md": ("package", "own", "suspects"),
    "latent.md": ("autoencoders",),
    "medical.md": ("deep_pictures",),
    "provenance.md": ("own", "suspects", "others", "head", "attributor", "signed"),
    "report.md": ("own", "suspects", "others", "head", "attributor", "attack_card"),
    "tables.md": ("package", "wine"),
    "tutorials/examiner.md": ("case",),
}
COMMAND = re.compile(r"^(\$ )?(morelli|pip|python|curl|openssl) ", re.M)
SMALLER: dict[str, dict[str, str]] = {  # page → what takes long → the same, smaller
    "audio.md": {
        '"hifigan")': '"melgan", width=8)',
        "400, 80, 62": "60, 80, 16",
        "--own spoken_by_it/": "--own spoken_by_it/ --rate 0.05 --perturb none",
    },
    "evidence.md": {"--leave-source-out": "--leave-source-out --copies 4", "out=True)": "out=True, copies=4)"},
    "latent.md": {
        "vae/": "vae/toy_decoder.safetensors",
        "200, 4, 16, 16": "20, 4, 4, 4",
        "(autoencoder, latents)": "(autoencoder, latents, size=32)",
        "--source photos/": "--source photos/ --size 32",
        "--method reconstruction": "--method reconstruction --rate 0.05",
        "--sibling theirs.head": "--sibling theirs.head --rate 0.05 --perturb none",
    },
    "medical.md": {"width=64, channels=1, size=128": "width=2, channels=1, size=64", "10_000": "60"},
    "tables.md": {"--steps 700": "--steps 4", "2_000": "200", "--restarts 16": "--restarts 2 --rate 0.05"},
    "tutorials/owner.md": {'"own", 400': '"own", 200', "40, seed=3": "12, seed=3"},
    "tutorials/researcher.md": {
        '"dcgan", 400': '"dcgan", 130',
        "[200, 100, 100]": "[60, 50, 20]",
        '"lsgan", 200': '"lsgan", 60',
        "name, 100": "name, 20",
        "1_000": "100",
    },
}


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # open(x).read()
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(page.relative_to(ROOT / "docs"))
    for block in blocks(page):
        assert block.says or not COMMAND.search(block.text), (
            f"{name}:{block.line} has commands: say bash, text, or why not"
        )
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


def test_a_block_that_fails_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    for block, error in (("bash\nmorelli inspect nothing", AssertionError), ("python\n1 / 0", ZeroDivisionError)):
        page.write_text(f"```{block}\n```\n")
        with pytest.raises(error):
            run(page, tmp_path, {})
    page.write_text("```bash\nfalse\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:1: false"):
        run(page, tmp_path, {})
    page.write_text("```bash skip: needs a GPU\nfalse\n```\n")
    run(page, tmp_path, {})
    assert [block.skipped for block in blocks(page)] == ["needs a GPU"]
