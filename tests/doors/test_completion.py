"""Completion, by the protocol that the shells' scripts speak, and in a real bash."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from morelli.attribution.kinds import INVERSIONS, METHODS, RECIPES
from morelli.cli import main

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.head", "b.head", "c.attributor", "g.gallery", ".old.head", "models/d.head", "photos"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def protocol(shell: str, words: str) -> dict[str, str]:
    """What the shell's script puts into the environment for a line that the cursor ends."""
    asked = {"_MORELLI_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words}
    cursor = len(words.split()) - (not words.endswith(" "))
    return asked | {"COMP_WORDS": words, "COMP_CWORD": str(cursor), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}


@pytest.fixture(params=["bash", "zsh", "fish"])
def offered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def offered(words: str) -> str:
        for name, value in protocol(request.param, words).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["morelli"])
        with pytest.raises(SystemExit) as stop:
            main.main()
        assert stop.value.code in (0, None)
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return offered


def test_commands_and_options(offered) -> None:
    out = offered("morelli ver")
    assert "verify" in out
    assert "train" not in out
    out = offered("morelli train --inv")
    assert "--inversion" in out
    assert "--rate" not in out


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--method", METHODS),
        ("--detector", RECIPES),
        ("--inversion", INVERSIONS),
        ("--device", ("auto", "cpu", "cuda")),
    ],
)
def test_values_of_options(offered, option: str, values: tuple[str, ...]) -> None:
    out = offered(f"morelli train {option} ")
    for value in values:
        assert value in out, value


def test_bundles_by_their_endings(offered) -> None:
    out = offered("morelli train ")
    assert "a.head" in out
    assert "b.head" in out
    for absent in ("c.attributor", "photos", ".old.head", "g.gallery"):
        assert absent not in out
    out = offered("morelli attribute photos --with ")
    assert "c.attributor" in out
    assert "a.head" not in out
    out = offered("morelli inspect ")
    assert "a.head" in out
    assert "c.attributor" in out
    assert "g.gallery" in offered("morelli identify photos --gallery ")
    assert "models/d.head" in offered("morelli compare models/")
    assert "a.head" not in offered("morelli train nowhere/a")


@pytest.mark.parametrize(
    ("shell", "says"), [("bash", "complete -"), ("zsh", "compdef"), ("fish", "complete --command")]
)
def test_the_scripts_are_shown(
    shell: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setattr(sys, "argv", ["morelli", "--show-completion", shell])
    with pytest.raises(SystemExit):
        main.main()
    out = capsys.readouterr().out
    assert says in out
    assert "_MORELLI_COMPLETE" in out


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_in_a_real_bash(place: Path) -> None:
    """The script is installed into a home of its own, read by bash, and asked as bash asks it at Tab."""
    (place / "bin").mkdir()
    shim = place / "bin" / "morelli"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m morelli.cli.main "$@"\n')
    shim.chmod(0o755)
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    env = os.environ | {"HOME": str(place), "PATH": path, "PYTHONPATH": str(SRC)}
    env["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    done = subprocess.run([shim, "--install-completion", "bash"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    asking = (
        "source ~/.bashrc; COMP_WORDS=(morelli attribute photos --with ''); COMP_CWORD=4;"
        'asked=$(complete -p morelli | sed "s/.*-F \\([^ ]*\\).*/\\1/"); $asked morelli; echo "${COMPREPLY[@]}"'
    )
    env.pop("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION")
    done = subprocess.run(["bash", "-c", asking], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["c.attributor"], done.stderr
