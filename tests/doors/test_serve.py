"""`morelli serve`, as a user types it, and as clients that mean no good find it."""

from __future__ import annotations

import socket
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from toys import imprinting_samples

import morelli
from morelli.errors import UnreadableBundle
from morelli.web.server import listening, open_bench
from morelli.web.settings import Settings

ROOT = Path(__file__).parents[2]
ATTRIBUTOR = ROOT / "tests" / "artefacts" / "images-1.attributor"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("load")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_in):
    monkeypatch.delenv("MORELLI_TOKEN", raising=False)

    return run_in(tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "nothing to serve"),
        ("--attributor a.attributor --attributor b/a.attributor", "two attributors have one name"),
        ("--attributor a.attributor --host 0.0.0.0", "--no-token"),
        ("--gallery g --host example.org", "Set a token"),
        ("--gallery g --time-limit inf", "time_limit is inf"),
        ("--gallery g --rate-limit 3", "rate_limit is 3 files a minute"),
    ],
)
def test_mistakes_are_one_line(run, words: str, says: str) -> None:
    code, out, err = run("serve", *words.split())
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_is_said_before_anything_is_opened(run, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"there is no {host} here")
    with taken:
        port = taken.getsockname()[1]
        code, out, err = run("serve", "--attributor", "nowhere.attributor", "--host", host, "--port", port)
    assert (code, out) == (2, "")
    assert err.startswith(
        f"error: cannot listen at {host}, port {port} (Address already in use). Choose another --port"
    )


def test_the_port_is_free_again_where_nothing_can_be_opened(run, tmp_path: Path) -> None:
    with listening("127.0.0.1", 0) as door:
        port = door.getsockname()[1]
    code, _, err = run("serve", "--attributor", "nowhere.attributor", "--port", port)
    assert code == 2
    assert "nowhere" in err
    listening("127.0.0.1", port).close()


def test_a_bundle_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UnreadableBundle, match="nowhere"):
        open_bench(Settings((tmp_path / "nowhere.attributor",)))


def test_many_clients_hostile_ones_among_them(load: Any, tmp_path: Path) -> None:
    """A small round of `benchmarks/load.py`: every answer is what it should be, and nothing is left behind."""
    own = tmp_path / "own.png"
    morelli.write_image(imprinting_samples(1, 7)[0], own, morelli.SampleSpec((3, 32, 32)))
    found = load.measure(ATTRIBUTOR, [own.read_bytes()], 30, 2, "--queue", "12", "--max-pixels", "1000000")
    for each in found["rounds"]:
        assert each["statuses"] == {"200": 30}
        assert each["tries"] > 30  # some were told to come back
        outcomes = each["outcomes"]
        assert set(outcomes.pop("own")) | set(outcomes.pop("wrong suffix")) == {"attributed"}
        outcomes.pop("tail")
        assert {outcome for counted in outcomes.values() for outcome in counted} == {"refused"}
    assert found["left_behind"] == []
    assert found["stopped"] == {"uploads": 10, "answers": {"200": 10}, "later": None}  # finished, and no others
    assert found["exit_code"] == 0
    assert found["worker_starts"] == 1
    assert found["open_files"][2] <= found["open_files"][1] + 2
    assert found["rss_mb"][2] <= found["rss_mb"][1] + 32
