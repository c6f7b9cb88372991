"""Runs the application until it is told to stop; then finishes what it has taken on."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from morelli.errors import MorelliError
from morelli.web.application import build
from morelli.web.settings import Limits, Settings
from morelli.web.worker import Judging, Worker

PATIENCE = 10.0  # seconds, with a connection on which nothing is asked


class Impatient(H11Protocol):
    """Closes connections on which nothing is asked, from the first or between two requests.

    Silent ones are counted as any other, so a few hundred of them would shut everybody else out. Requests that have
    begun have limits of their own.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience = self.loop.call_later(PATIENCE, self._unless_asked)

    def on_response_complete(self) -> None:
        self._patience.cancel()
        self._patience = self.loop.call_later(PATIENCE, self._unless_asked)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def _unless_asked(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


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


def listening(host: str, port: int) -> socket.socket:
    """Raises MorelliError where that address cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        why = str(getattr(error, "strerror", None) or error).partition(" (while")[0]  # Python says the address again
        raise MorelliError(f"cannot listen at {host}, port {port} ({why}). Choose another --port or --host.") from error


def configured(application: FastAPI, limits: Limits, proxies: Sequence[str] = ()) -> uvicorn.Config:
    """How uvicorn runs it. Proxies are as of `serve`."""
    return uvicorn.Config(
        application,
        http=Impatient,
        ws="none",
        log_level="warning",
        access_log=False,  # file names and addresses are nobody's business
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=int(2 * limits.time_limit) + 1,
        limit_concurrency=8 * limits.queue + 64,
    )


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
        MorelliError: a bundle that cannot be opened, or an address that cannot be had, which is tried first.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn repeats the signal when it has finished
    with listening(host, port) as door:
        workers, about = open_workers(settings.limits.workers, partial(open_bench, settings))
        try:
            application = build(settings, workers, about)
            announce(about)
            Server(configured(application, settings.limits, proxies), application).run(sockets=[door])
        except KeyboardInterrupt:
            pass  # as above
        finally:
            for worker in workers:
                worker.stop()
