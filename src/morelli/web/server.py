"""Runs the application until it is told to stop; then finishes what it has taken on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from morelli.web.application import build
from morelli.web.settings import Settings
from morelli.web.worker import Judging, Worker


class Server(uvicorn.Server):
    """On SIGTERM or Ctrl-C: `/ready` and new requests are answered 503, those that are there are finished."""

    def __init__(self, config: uvicorn.Config, application: FastAPI) -> None:
        super().__init__(config)
        self._application = application

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._application.state.service.desk.closing = True
        super().handle_exit(sig, frame)


def open_bench(settings: Settings) -> Judging:
    """Called in a worker: the server's own process never loads torch, nor a decoder."""
    from morelli.web.bench import Bench

    return Bench(settings)


def open_workers(count: int, opens: Callable[[], Judging]) -> tuple[list[Worker], dict[str, Any]]:
    """Running workers, and what they have open. Raises MorelliError where something cannot be opened."""
    workers, about = [Worker(opens) for _ in range(count)], {}
    try:
        for worker in workers:
            about = worker.start()
    except BaseException:
        for worker in workers:
            worker.stop()
        raise
    return workers, about


def serve(
    settings: Settings,
    host: str,
    port: int,
    *,
    proxies: Sequence[str] = (),
    announce: Callable[[dict[str, Any]], None] = lambda about: None,
) -> None:
    """Blocks until SIGTERM or Ctrl-C.

    Args:
        proxies: addresses whose X-Forwarded-For says who a client is; without, such headers are not read.
        announce: told what is open, once everything is.
    Raises:
        MorelliError: a bundle that cannot be opened.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn repeats the signal when it has finished
    workers, about = open_workers(settings.limits.workers, partial(open_bench, settings))
    try:
        application = build(settings, workers, about)
        announce(about)
        config = uvicorn.Config(
            application,
            host,
            port,
            log_level="warning",
            access_log=False,  # file names and addresses are nobody's business
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_graceful_shutdown=int(2 * settings.limits.time_limit) + 1,
            limit_concurrency=8 * settings.limits.queue + 64,
        )
        Server(config, application).run()
    except KeyboardInterrupt:
        pass  # as above
    finally:
        for worker in workers:
            worker.stop()
