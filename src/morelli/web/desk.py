"""Between requests and workers: a bounded queue, batches, and an orderly end."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from morelli.web.metrics import Metrics
from morelli.web.refusals import Refusal
from morelli.web.worker import Order, Worker, WorkerFailed, WorkerSlow

LARGEST_BATCH = 64  # files; as many as `app.attributing` judges at once
PATIENCE = 2  # seconds to wait before asking a full server again
log = logging.getLogger("morelli.web")


@dataclass(eq=False)
class _Job:
    order: Order
    answer: asyncio.Future[dict[str, Any]]
    since: float = field(default_factory=time.monotonic)

    def alike(self) -> str | None:
        """Jobs of the same are judged together; None: alone."""
        order = self.order
        if order["kind"] == "page" or order.get("together") or order.get("fdr"):
            return None
        return json.dumps([order["kind"], order.get("attributor")])


class Desk:
    """Args:
    places: requests that may be here at once, from the first byte of their upload to their answer.
    seconds: that judging may take.
    """

    def __init__(self, workers: Sequence[Worker], places: int, seconds: float, metrics: Metrics) -> None:
        self._workers, self._places, self._seconds, self._metrics = workers, places, seconds, metrics
        self._taken, self._waiting, self._changed = 0, deque[_Job](), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.closing = False

    @property
    def ready(self) -> bool:
        return not self.closing and any(not task.done() for task in self._tasks)

    def open(self) -> None:
        self._tasks = [asyncio.create_task(self._serve(worker)) for worker in self._workers]

    async def close(self) -> None:
        """What is still waiting is told so. Servers call it after the last answer was sent."""
        self.closing = True
        for job in self._waiting:
            _fail(job, closed())
        for worker in self._workers:
            await asyncio.to_thread(worker.stop)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def refusal(self) -> Refusal | None:
        """Why there is no place, if there is none."""
        if self.closing:
            return closed()
        if self._taken >= self._places:
            return Refusal(503, "busy", f"{self._places} requests are waiting already. Try again.", PATIENCE)
        return None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises Refusal where there is none left, or the server is closing."""
        if (refusal := self.refusal()) is not None:
            raise refusal
        self._taken += 1
        self._metrics.places.set(self._taken)
        try:
            yield
        finally:
            self._taken -= 1
            self._metrics.places.set(self._taken)

    async def ask(self, order: Order) -> dict[str, Any]:
        """Raises Refusal."""
        job = _Job(order, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._metrics.waiting.set(len(self._waiting))
        self._changed.set()
        return await job.answer

    async def _serve(self, worker: Worker) -> None:
        while True:
            batch = await self._next()
            await self._answer(worker, batch)

    async def _next(self) -> list[_Job]:
        """The oldest job, and those like it that fit into one batch."""
        while True:
            while not self._waiting:
                self._changed.clear()
                await self._changed.wait()
            first = self._waiting.popleft()
            batch, count, rest = [first], len(first.order["files"]), deque[_Job]()
            for job in self._waiting:
                more = len(job.order["files"])
                if first.alike() is not None and job.alike() == first.alike() and count + more <= LARGEST_BATCH:
                    batch.append(job)
                    count += more
                else:
                    rest.append(job)
            self._waiting = rest
            self._metrics.waiting.set(len(rest))
            if batch := [job for job in batch if not job.answer.done()]:  # their clients may have left
                return batch

    async def _answer(self, worker: Worker, batch: Sequence[_Job]) -> None:
        begun = time.monotonic()
        orders = [job.order for job in batch]
        try:
            answers = await asyncio.to_thread(worker.ask, orders, self._seconds)
        except (WorkerSlow, WorkerFailed) as error:
            if len(batch) > 1:  # one of them is to blame; the others shall not suffer
                for job in batch:
                    if not job.answer.done():  # its client may have left meanwhile
                        await self._answer(worker, [job])
                return
            _fail(batch[0], self._refusal(error))
            return
        except Exception as error:  # whatever it was, this task must go on
            log.exception("the worker could not be asked")
            for job in batch:
                _fail(job, self._refusal(WorkerFailed(str(error))))
            return
        now = time.monotonic()
        for job, answer in zip(batch, answers, strict=True):
            self._metrics.waited.observe(begun - job.since)
            if not job.answer.done():
                job.answer.set_result(answer)
        self._metrics.judging.labels(orders[0]["kind"]).observe(now - begun)
        self._metrics.batch.observe(sum(len(order["files"]) for order in orders))

    def _refusal(self, error: WorkerSlow | WorkerFailed) -> Refusal:
        if self.closing:
            return closed()
        if isinstance(error, WorkerSlow):
            return Refusal(504, "too_slow", f"judging took more than {self._seconds:g} seconds. Send less at once.")
        if error.refused:
            return Refusal(422, "unsuitable", str(error))
        log.error("judging failed: %s", error)
        return Refusal(500, "failed", "judging failed, and nothing is known of these files.")


def closed() -> Refusal:
    return Refusal(503, "closing", "the server is closing.", 30)


def _fail(job: _Job, refusal: Refusal) -> None:
    if not job.answer.done():
        job.answer.set_exception(refusal)
