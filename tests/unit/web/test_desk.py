"""Queue, batches, back-pressure, and an orderly end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from threading import Event
from typing import Any

import pytest

from morelli.web.desk import LARGEST_BATCH, Desk
from morelli.web.metrics import Metrics
from morelli.web.refusals import Refusal
from morelli.web.worker import WorkerFailed, WorkerSlow

FILES = [["a", "a", ""]]


class Slow:
    """Answers when told to; remembers what it was asked."""

    starts = 1

    def __init__(self) -> None:
        self.go, self.asked, self.begun = Event(), [], Event()

    def ask(self, orders: Sequence[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
        self.asked.append(len(orders))
        self.begun.set()
        self.go.wait(10)
        if any(order.get("attributor") == "sleeps" for order in orders):
            raise WorkerSlow("it took too long.")
        if any(order.get("attributor") == "dies" for order in orders):
            raise WorkerFailed("it ended.")
        return [{"name": order.get("name")} for order in orders]

    def stop(self) -> None:
        self.go.set()


def order(kind: str = "attribute", attributor: str = "well", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "attributor": attributor, "files": FILES} | more


def with_desk(work: Callable[[Desk, Slow], Awaitable[None]], places: int = 8) -> Slow:
    worker = Slow()

    async def main() -> None:
        desk = Desk([worker], places, 5, Metrics())  # type: ignore[list-item]
        desk.open()
        try:
            await work(desk, worker)
        finally:
            await desk.close()

    asyncio.run(main())
    return worker


async def begun(worker: Slow) -> None:
    await asyncio.to_thread(worker.begun.wait, 10)


def test_what_waits_is_judged_together_and_answers_find_their_way() -> None:
    async def work(desk: Desk, worker: Slow) -> None:
        first = asyncio.create_task(desk.ask(order(name="first")))
        await begun(worker)
        orders = [order(name=i) for i in range(5)] + [order("page", name="page"), order(name="all", together=True)]
        rest = [asyncio.create_task(desk.ask(each)) for each in orders]
        await asyncio.sleep(0)
        worker.go.set()
        found = await asyncio.gather(first, *rest)
        assert [each["name"] for each in found] == ["first", 0, 1, 2, 3, 4, "page", "all"]

    assert with_desk(work).asked == [1, 5, 1, 1]


def test_batches_are_bounded() -> None:
    async def work(desk: Desk, worker: Slow) -> None:
        first = asyncio.create_task(desk.ask(order()))
        await begun(worker)
        many = [asyncio.create_task(desk.ask(order())) for _ in range(LARGEST_BATCH + 3)]
        await asyncio.sleep(0)
        worker.go.set()
        await asyncio.gather(first, *many)

    assert with_desk(work).asked == [1, LARGEST_BATCH, 3]


@pytest.mark.parametrize(("kind", "status"), [("sleeps", 504), ("dies", 500)])
def test_one_that_fails_does_not_spoil_the_others(kind: str, status: int) -> None:
    """Jobs are alike by their attributor; here one of a batch turns bad after it was taken."""

    async def work(desk: Desk, worker: Slow) -> None:
        first = asyncio.create_task(desk.ask(order()))
        await begun(worker)
        orders = [order(name=0), order(name=1), order(name=2)]
        rest = [asyncio.create_task(desk.ask(each)) for each in orders]
        await asyncio.sleep(0)
        alike = desk._waiting[0].alike()
        desk._waiting[1].alike = lambda: alike  # type: ignore[method-assign]
        orders[1]["attributor"] = kind
        worker.go.set()
        good, bad, fine = await asyncio.gather(*rest, return_exceptions=True)
        await first
        assert good == {"name": 0}
        assert fine == {"name": 2}
        assert isinstance(bad, Refusal)
        assert bad.status == status

    assert with_desk(work).asked == [1, 3, 1, 1, 1]


def test_those_who_left_are_not_judged_again_after_a_failure() -> None:
    async def work(desk: Desk, worker: Slow) -> None:
        first = asyncio.create_task(desk.ask(order()))
        await begun(worker)
        orders = [order(name=0), order(name=1), order(name=2)]
        rest = [asyncio.create_task(desk.ask(each)) for each in orders]
        await asyncio.sleep(0)
        alike = desk._waiting[0].alike()
        desk._waiting[0].alike = lambda: alike  # type: ignore[method-assign]
        orders[0]["attributor"] = "dies"
        real = worker.ask

        def ask(orders: Sequence[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
            if len(orders) == 3:
                loop.call_soon_threadsafe(rest[1].cancel)
                time.sleep(0.2)
            return real(orders, seconds)

        loop, worker.ask = asyncio.get_running_loop(), ask  # type: ignore[method-assign]
        worker.go.set()
        found = await asyncio.gather(first, *rest, return_exceptions=True)
        assert found[3] == {"name": 2}

    assert with_desk(work).asked == [1, 3, 1, 1]


def test_places_are_bounded_and_given_back() -> None:
    async def work(desk: Desk, worker: Slow) -> None:
        with desk.place(), desk.place():
            with pytest.raises(Refusal) as full, desk.place():
                pass
            assert full.value.status == 503
            assert full.value.retry_after
        with desk.place():
            pass

    with_desk(work, places=2)


def test_closing_refuses_the_new_and_finishes_the_old() -> None:
    async def work(desk: Desk, worker: Slow) -> None:
        running = asyncio.create_task(desk.ask(order(name="old")))
        await begun(worker)
        assert desk.ready
        desk.closing = True
        assert not desk.ready
        with pytest.raises(Refusal, match="closing"), desk.place():
            pass
        worker.go.set()
        assert await running == {"name": "old"}

    with_desk(work)


def test_nobody_works_for_a_client_that_left() -> None:
    async def work(desk: Desk, worker: Slow) -> None:
        first = asyncio.create_task(desk.ask(order()))
        await begun(worker)
        gone = asyncio.create_task(desk.ask(order("identify")))
        await asyncio.sleep(0)
        gone.cancel()
        last = asyncio.create_task(desk.ask(order("page")))
        await asyncio.sleep(0)
        worker.go.set()
        await asyncio.gather(first, last)

    assert with_desk(work).asked == [1, 1]
