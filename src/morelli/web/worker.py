"""A process that judges: killed where it takes too long, started again where it died.

A process rather than a thread, since a decoder that hangs or crashes on a hostile file cannot be stopped otherwise.
Both sides speak JSON: nothing is unpickled that comes from where foreign files are decoded.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from morelli.errors import MorelliError

START = 300.0  # seconds for opening everything
Order = dict[str, Any]


class Judging(Protocol):
    """What a worker has open; made within its process."""

    def about(self) -> dict[str, Any]: ...

    def answer(self, orders: Sequence[Order]) -> list[dict[str, Any]]: ...


class WorkerFailed(Exception):
    """The process died, or answered that it could not; `refused` says whether for a reason that a person may read."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class WorkerSlow(Exception):
    """It took longer than it may, and was killed."""


class Worker:
    """One process and the pipe to it. Calls block; one at a time.

    Args:
        opens: a function at the top of a module, called in the process, which returns what judges.
    """

    def __init__(self, opens: Callable[[], Judging]) -> None:
        self._opens = opens
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._stopped = False
        self.starts = 0

    def start(self) -> dict[str, Any]:
        """Starts the process and waits until it has opened everything; returns what that is.

        Raises MorelliError where it cannot be opened.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._opens), daemon=True, name="morelli-judge")
        self._process.start()
        theirs.close()
        self.starts += 1
        try:
            found = self._hear(time.monotonic() + START)
        except (WorkerFailed, WorkerSlow) as error:
            self._kill()
            raise MorelliError(f"the judging process could not start: {error}") from None
        return dict(found["about"])

    def ask(self, orders: Sequence[Order], seconds: float) -> list[dict[str, Any]]:
        """Answers, one for each order.

        Raises WorkerSlow, WorkerFailed. It is started again at the next call.
        """
        if self._stopped:
            raise WorkerFailed("the server is closing.", refused=True)
        if self._pipe is None:
            try:
                self.start()
            except MorelliError as error:
                raise WorkerFailed(str(error)) from None
        assert self._pipe is not None
        try:
            self._pipe.send_bytes(json.dumps(orders).encode())
            return list(self._hear(time.monotonic() + seconds)["answers"])
        except OSError as error:
            self._kill()
            raise WorkerFailed(f"the judging process ended ({type(error).__name__}).") from None
        except WorkerFailed as error:
            if not error.refused:
                self._kill()
            raise
        except WorkerSlow:
            self._kill()
            raise

    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """For good; safe to call from another thread."""
        self._stopped = True
        self._kill()

    def _hear(self, until: float) -> dict[str, Any]:
        assert self._pipe is not None
        if not self._pipe.poll(max(0.0, until - time.monotonic())):
            raise WorkerSlow("it took too long.")
        try:
            said: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError, ValueError):
            raise WorkerFailed("the judging process ended without an answer.") from None
        if "error" in said:
            raise WorkerFailed(said["error"], refused=said["refused"])
        return said

    def _kill(self) -> None:
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if process is not None:
            process.kill()
            process.join()
        if pipe is not None:
            pipe.close()


def _work(pipe: Connection, opens: Callable[[], Judging]) -> None:
    """The process: until the pipe ends, which it does when the server dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the server decides when this one ends
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        judging = opens()
        _say(pipe, {"about": judging.about()})
    except Exception as error:
        _say(pipe, _failed(error))
        return
    while True:
        try:
            orders = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            _say(pipe, {"answers": judging.answer(orders)})
        except Exception as error:
            _say(pipe, _failed(error))


def _failed(error: Exception) -> dict[str, Any]:
    known = isinstance(error, MorelliError)
    return {"error": str(error) if known else f"{type(error).__name__}: {error}"[:500], "refused": known}


def _say(pipe: Connection, what: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(what, allow_nan=False).encode())
