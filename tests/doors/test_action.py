"""The GitHub Action: its own steps, in order, in bash, with what a runner sets. Only the upload is not run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from toys import imprinting_generator, imprinting_samples

import morelli

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "action"
ACTION: dict[str, Any] = yaml.safe_load((FOLDER / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runner")
    morelli.train(imprinting_generator(side=16).head(64), own(60, 1), rate=0.05, out=place / "a.attributor")
    spec = morelli.SampleSpec((3, 16, 16))
    for folder, samples in (("own files", own(6, 2)), ("foreign", imprinting_samples(6, 2, generator_seed=1, side=16))):
        (place / folder).mkdir()
        for i, sample in enumerate(samples):
            morelli.write_image(sample, place / folder / f"{i}.png", spec)
    (place / "torn").mkdir()
    (place / "torn" / "a|b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (place / "bin").mkdir()
    for name, words in (("morelli", "-m morelli.cli.main"), ("python", "")):
        shim = place / "bin" / name
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        shim.chmod(0o755)
    return place


def own(count: int, seed: int) -> Any:
    return imprinting_samples(count, seed, side=16)


def run(place: Path, tmp_path: Path, first: Path | None = None, **given: str) -> tuple[int, dict[str, str], str, str]:
    """Exit code of the first step that fails, outputs, summary, and what was printed; `first` on the path."""
    inputs = {name: each.get("default", "") for name, each in ACTION["inputs"].items()}
    inputs |= {name.replace("_", "-"): value for name, value in given.items()} | {"report": str(tmp_path / "kept")}
    outputs, summary = tmp_path / "outputs", tmp_path / "summary"
    for file in (outputs, summary):
        file.touch()
    runner = {"GITHUB_ACTION_PATH": str(FOLDER), "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary)}
    runner |= {"PATH": f"{first or place}:{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    said, code = "", 0
    for step in STEPS:
        if "run" not in step or step["name"] == "Install":
            continue
        env = {name: filled(value, inputs) for name, value in step["env"].items()}
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]  # as runners call it
        done = subprocess.run(
            command, cwd=place, env=os.environ | runner | env, capture_output=True, text=True, check=False
        )
        said, code = said + done.stdout + done.stderr, done.returncode
        if code:
            break
    found = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    return code, found, summary.read_text(), said


def filled(text: str, inputs: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda match: inputs[match[1]], text)


def test_inputs_are_described_and_never_pasted_into_a_script() -> None:
    assert all(each["description"] for each in (ACTION["inputs"] | ACTION["outputs"]).values())
    used = re.findall(r"inputs\.([a-z-]+)", (FOLDER / "action.yml").read_text())
    assert set(used) == set(ACTION["inputs"])
    assert not any("${{" in step.get("run", "") for step in STEPS)


def test_the_page_shows_inputs_that_exist() -> None:
    page = (ROOT / "docs" / "commands.md").read_text().split("## In a GitHub workflow")[1]
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    assert set(yaml.safe_load(shown)["steps"][-1]["with"]) <= set(ACTION["inputs"])
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.M)) == set(ACTION["inputs"])
    assert all(f"`{name}`" in page for name in ACTION["outputs"])


def test_it_installs_its_own_version_or_what_is_asked_for(tmp_path: Path) -> None:
    pip = tmp_path / "python"
    pip.write_text('#!/bin/sh\necho "$@"\n')
    pip.chmod(0o755)
    for package, installed in (("", f"{FOLDER}/.."), ("morelli==0.1", "morelli==0.1")):
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PACKAGE": package, "GITHUB_ACTION_PATH": str(FOLDER)}
        done = subprocess.run(["bash", "-c", STEPS[0]["run"]], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == f"-m pip install --quiet {installed}\n"


def test_foreign_files_fail_a_job_that_asks_for_it(place: Path, tmp_path: Path) -> None:
    code, outputs, summary, said = run(
        place, tmp_path, attributor="a.attributor", files="foreign\n\nown files/*.png\n", fail_on="not-attributed"
    )
    assert code == 1, said
    assert "::error::Morelli: " in said
    assert set(outputs) == {name for name in ACTION["outputs"] if name != "report"}
    assert int(outputs["not-attributed"]) >= 4
    assert int(outputs["attributed"]) >= 4
    assert sum(map(int, outputs.values())) == 12
    assert summary.count("| `") == 12
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["report.html", "verdicts.json"]


@pytest.fixture
def answered(place: Path, tmp_path: Path):
    """A `morelli` in front of the real one that gives this answer, for what comes after it; it keeps its words."""

    def answered(code: int, source: list[str]) -> Path:
        files = [place / each for each in source]
        found = morelli.attribute(files, place / "a.attributor").to_dict() if code != 2 else {}
        (tmp_path / "answer.json").write_text(json.dumps(found))
        shim = tmp_path / "morelli"
        answer = f"cat {tmp_path}/answer.json" if code != 2 else "echo error: no >&2"
        shim.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\n{answer}\nexit {code}\n')
        shim.chmod(0o755)
        return tmp_path

    return answered


def test_nothing_fails_unless_asked_for(place: Path, tmp_path: Path, answered) -> None:
    first = answered(3, ["foreign", "torn"])
    asked = {"attributor": "a.attributor", "files": "foreign\n  \nan own/*.png", "options": "--together --device cpu"}
    code, outputs, summary, said = run(place, tmp_path, first, **asked)
    assert code == 0, said
    assert outputs["refused"] == "1"
    assert "a\\|b.png" in summary
    words = (tmp_path / "words").read_text().splitlines()
    report = f"{tmp_path}/kept/report.html"
    given = ["attribute", "foreign", "an own/*.png", "--with", "a.attributor", "--report", report, "--json"]
    assert words == [*given, "--together", "--device", "cpu"]


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        ("attributed, refused", 1, "::error::Morelli: 1 refused."),
        ("attributed", 0, ""),
        ("fake", 2, "::error::fail-on is fake; expected some of attributed, not-attributed, inconclusive, refused."),
    ],
)
def test_what_fails_is_chosen(place: Path, tmp_path: Path, answered, asked: str, code: int, says: str) -> None:
    first = answered(3, ["torn"])
    found, _, _, said = run(place, tmp_path, first, attributor="a.attributor", files="torn", fail_on=asked)
    assert (found, says in said) == (code, True)


def test_what_morelli_does_not_do_fails_at_once(place: Path, tmp_path: Path, answered) -> None:
    code, outputs, _, said = run(place, tmp_path, answered(2, []), attributor="nowhere", files="torn")
    assert (code, outputs, said) == (2, {}, "error: no\n")
