"""Clients that are slow, that leave, or that send on and on: over a real connection, byte by byte."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from web_toys import Held, InProcess, Running

from morelli.web import server
from morelli.web.application import build
from morelli.web.settings import Limits, Settings

PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
END = b"\r\n--x--\r\n"
ABOUT = {"attributors": [{"name": "a"}], "gallery": None, "suffixes": [".png"]}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


Start = Callable[..., tuple[Any, Held, str]]


@pytest.fixture
def start(temporary: Path) -> Iterator[Start]:
    """Call it with limits for an application, what judges in it, and its address."""
    running: list[tuple[Running, Held]] = []

    def start(**limits: Any) -> tuple[Any, Held, str]:
        held = Held()
        app = build(Settings((), limits=Limits(**limits)), [InProcess(held)], ABOUT)
        running.append((Running(app), held))
        return app, held, running[-1][0].__enter__()

    yield start
    for site, held in running:
        held.go.set()
        site.__exit__()
    assert list(temporary.iterdir()) == []


def connect(url: str, length: int) -> socket.socket:
    address = httpx.URL(url)
    connection = socket.create_connection((address.host, address.port or 80), timeout=10)
    head = f"POST /v1/attribute HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
    connection.sendall((head + "Content-Type: multipart/form-data; boundary=x\r\n\r\n").encode())
    return connection


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def taken(app: Any) -> int:
    return int(app.state.service.desk._taken)


def test_an_upload_that_never_ends(start: Start, temporary: Path) -> None:
    app, _, url = start(time_limit=0.4)
    with connect(url, 10_000) as connection:
        connection.sendall(PART + b"abc")
        until(lambda: len(list(temporary.glob("*/*.png"))) == 1)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))  # the head and the body may come apart
    assert b"408" in answer.splitlines()[0]
    assert b"too_slow" in answer
    until(lambda: taken(app) == 0)


@pytest.mark.parametrize("sent", [PART + b"abc", PART + b"abc" + END], ids=["while sending", "while waiting"])
def test_a_client_that_leaves(start: Start, temporary: Path, sent: bytes) -> None:
    app, held, url = start()
    connection = connect(url, len(PART + b"abc" + END))
    connection.sendall(sent)
    until(lambda: taken(app) == 1 and len(list(temporary.glob("*/*.png"))) == 1)
    connection.close()
    until(lambda: taken(app) == 0 and not held.go.is_set())
    assert list(temporary.iterdir()) == []


def test_a_body_without_an_end_is_not_read_to_it(start: Start, temporary: Path) -> None:
    """Of 200 MB that are announced, little more than twice the limit is read: the rest of what is refused is passed
    over, so that the answer arrives, but not without end.
    """
    app, _, url = start(max_bytes=200_000, time_limit=5)
    connection = connect(url, 200_000_000)
    sent = 0
    try:
        connection.sendall(PART)
        while sent < 200_000_000:
            sent += connection.send(b"\0" * 100_000)
    except OSError:
        pass
    connection.close()
    assert sent < 20_000_000  # and what lies in the system's buffers
    until(lambda: taken(app) == 0)


def test_silent_connections_shut_nobody_out(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.5)
    _, _, url = start(queue=1)
    address = httpx.URL(url)
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection((address.host, address.port or 80))) for _ in range(72)]
        for connection in silent[:30]:
            connection.sendall(b"GET /health HTT")
        for connection in silent:  # as many as are ever served at once
            connection.settimeout(10)
            assert connection.recv(1) == b""
        assert httpx.get(f"{url}/health").status_code == 200


def test_a_kept_connection_is_closed_where_nothing_more_is_asked(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.5)
    _, _, url = start()
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80), timeout=10) as connection:
        for _ in range(2):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):  # head and body may come apart
                answer += connection.recv(4096)
        connection.sendall(b"G")  # which stops uvicorn's own timer
        assert connection.recv(1) == b""
    assert httpx.get(f"{url}/health").status_code == 200


def test_slow_uploads_and_long_judging_are_waited_for(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    _, held, url = start()
    body = PART + b"abcdef" + END
    with connect(url, len(body)) as connection:
        for i in range(0, len(body), len(body) // 5):
            connection.sendall(body[i : i + len(body) // 5])
            time.sleep(0.15)
        time.sleep(0.3)
        held.go.set()
        assert b"200 OK" in connection.recv(4096)


def test_a_full_server_says_when_to_come_back(start: Start) -> None:
    app, held, url = start(queue=1)
    first = connect(url, len(PART + END))
    first.sendall(PART + END)
    until(lambda: taken(app) == 1)
    answer = httpx.post(f"{url}/v1/attribute", files={"files": b"\0" * 300_000})
    assert answer.status_code == 503
    assert answer.json()["error"] == "busy"
    assert int(answer.headers["retry-after"]) >= 1
    held.go.set()
    assert b"200 OK" in first.recv(4096)
    first.close()
    assert httpx.post(f"{url}/v1/attribute", files={"files": b"a"}).status_code == 200
