"""Things that judge without judging, for a worker's process or in place of one; at the top of a module, to be found."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import uvicorn

from morelli.errors import MorelliError, UnreadableBundle
from morelli.web.server import configured, listening
from morelli.web.worker import Judging, WorkerFailed

ATTRIBUTOR = Path(__file__).parent / "artefacts" / "images-1.attributor"
TABLE = ATTRIBUTOR.with_name("table-1.attributor")


class Odd:
    """Does to each order what its `attributor` says."""

    def about(self) -> dict[str, Any]:
        return {"attributors": [], "gallery": None, "suffixes": [], "pdf": False}

    def answer(self, orders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        for order in orders:
            if order["attributor"] == "sleep":
                time.sleep(60)
            if order["attributor"] == "die":
                os._exit(1)
            if order["attributor"] == "fail":
                raise ValueError("a mistake of ours")
            if order["attributor"] == "refuse":
                raise MorelliError("this cannot be judged.")
        return [{"pid": os.getpid(), "orders": len(orders)} for _ in orders]


def open_odd() -> Odd:
    return Odd()


def open_nothing() -> Odd:
    raise UnreadableBundle("there is no such bundle.")


class Held(Odd):
    """Answers when `go` is set."""

    def __init__(self) -> None:
        self.go = Event()

    def answer(self, orders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        self.go.wait(20)
        return [{"summary": {}} for _ in orders]


class InProcess:
    """A worker without a process."""

    starts = 1

    def __init__(self, judging: Judging) -> None:
        self._judging = judging

    def ask(self, orders: Sequence[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
        try:
            return self._judging.answer(orders)
        except MorelliError as error:
            raise WorkerFailed(str(error), refused=True) from None

    def stop(self) -> None: ...


class Running:
    """A server in a thread of this process, run as `serve` does, at a free port; `with Running(app) as url`."""

    def __init__(self, app: Any) -> None:
        self._door = listening("127.0.0.1", 0)
        self._server = uvicorn.Server(configured(app, app.state.service.settings.limits))
        self._thread = Thread(target=self._server.run, args=([self._door],), daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{self._door.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
