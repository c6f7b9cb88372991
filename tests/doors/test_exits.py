"""How a run ends: every exit code, seen from outside, and one line for each."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from morelli import errors
from morelli.cli import exits

MAIN = """
import sys, time, types, morelli.cli.main as cli
sys.modules["morelli.app.bundles"] = types.SimpleNamespace(inspect={})  # spares the import of torch
cli.render.bundle = {}
cli.main()
"""
PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


@pytest.fixture
def run(run_in):
    return run_in(Path())


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch):
    """Let `inspect` raise this."""

    def raising(error: BaseException) -> None:
        def inspect(path: object) -> None:
            raise error

        monkeypatch.setattr("morelli.app.bundles.inspect", inspect)

    return raising


def test_the_codes_are_documented() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes == {0, 2, 3, 70, 130, 141}
    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert {int(row) for row in rows if row.isdigit()} == codes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train"], ". See 'morelli train --help'.\n"),
        (["inspect", "nowhere"], "error: nowhere does not exist; a bundle is a folder"),
        (["inspect", "x", "--colour"], "error: No such option: --colour"),
        (["attribut"], "See 'morelli --help'.\n"),
        (["train", "h", "--own", "o", "--out", "a", "--method", "magic"], "error: Invalid value for '--method'"),
    ],
)
def test_what_is_not_done_ends_in_one_line_and_code_2(run, words: list[str], says: str) -> None:
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
    code, out, err = run(*words, "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    said = json.loads(err)["error"]
    assert set(said) == {"kind", "message"}
    assert said["kind"] == ("UnreadableBundle" if "nowhere" in words else "UsageError")
    assert hasattr(errors, said["kind"]) or said["kind"] == "UsageError"


def test_no_word_at_all_shows_the_help(run) -> None:
    code, out, err = run()
    assert code == 2, err
    assert "Usage: morelli" in out + err


def test_done_is_0(run) -> None:
    assert run("--version")[0] == 0
    assert run("train", "--help")[0] == 0


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "the memory does not suffice"),
        (
            OSError(28, "No space left on device", "a.csv"),
            "error: a.csv cannot be written (No space left on device). The disk is full",
        ),
        (errors.MorelliError("so it is"), "error: so it is"),
    ],
)
def test_what_the_machine_refuses_is_no_fault_of_ours(run, raising, error: Exception, says: str) -> None:
    raising(error)
    code, out, err = run("inspect", "x")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_a_fault_has_its_own_code_and_says_how_to_report_it(run, raising, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(ZeroDivisionError("division\nby zero"))
    monkeypatch.delenv(exits.DEBUG, raising=False)
    code, out, err = run("inspect", "x")
    assert (code, out, err.count("\n")) == (70, "", 1)
    assert "ZeroDivisionError: division by zero" in err
    assert "MORELLI_DEBUG=1" in err
    assert json.loads(run("inspect", "x", "--json")[2])["error"]["kind"] == "InternalError"
    monkeypatch.setenv(exits.DEBUG, "1")
    code, _, err = run("inspect", "x")
    assert code == 70
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: ZeroDivisionError")


def test_an_interruption_in_a_command_is_130(run, raising) -> None:
    raising(KeyboardInterrupt())
    code, out, err = run("inspect", "x")
    assert (code, out, err.count("\n")) == (130, "", 1)
    assert err.startswith("error: interrupted.")


def test_ctrl_c_is_130_and_one_line() -> None:
    waiting = "lambda path: (print('up', flush=True), time.sleep(60))"
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN.format(waiting, "str"), "inspect", "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored after a shell's &
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.count("\n") == 1
    assert err.startswith("error: interrupted.")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_closed_pipe_is_141_and_silent(lines: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN.format("str", f"lambda found: 'line\\n' * {lines}"), "inspect", "x"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, "")


def test_a_full_disk_behind_standard_output_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    script = MAIN.format("str", "str")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script, "inspect", "x"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    said = "error: the result cannot be written (No space left on device). The disk is full: make room, or name"
    assert done.stderr == f"{said} another place.\n"
