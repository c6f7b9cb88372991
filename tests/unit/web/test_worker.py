"""A process that judges, and everything that may happen to it. The first start takes most of the time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from web_toys import open_nothing, open_odd

from morelli.errors import MorelliError
from morelli.web.worker import Worker, WorkerFailed, WorkerSlow


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(open_odd)
    assert worker.start()["gallery"] is None
    yield worker
    worker.stop()


def ask(worker: Worker, *kinds: str, seconds: float = 30) -> list[dict[str, int]]:
    return worker.ask([{"attributor": kind} for kind in kinds], seconds)


def test_answers_several_at_once(worker: Worker) -> None:
    answers = ask(worker, "well", "well")
    assert [each["orders"] for each in answers] == [2, 2]
    assert answers[0]["pid"] == worker.pid()


@pytest.mark.parametrize(
    ("kind", "says", "refused"), [("fail", "ValueError: a mistake", False), ("refuse", "cannot be judged", True)]
)
def test_errors_are_told(worker: Worker, kind: str, says: str, refused: bool) -> None:
    with pytest.raises(WorkerFailed, match=says) as caught:
        ask(worker, kind)
    assert caught.value.refused is refused
    assert ask(worker, "well")


@pytest.mark.parametrize(("kind", "error"), [("sleep", WorkerSlow), ("die", WorkerFailed)])
def test_it_is_started_again(worker: Worker, kind: str, error: type[Exception]) -> None:
    ask(worker, "well")
    before, starts = worker.pid(), worker.starts
    with pytest.raises(error):
        ask(worker, kind, seconds=0.3)
    assert worker.pid() is None
    assert ask(worker, "well")[0]["pid"] != before
    assert worker.starts == starts + 1


def test_what_cannot_be_opened_is_one_line() -> None:
    with pytest.raises(MorelliError, match="there is no such bundle"):
        Worker(open_nothing).start()


def test_stopped_for_good() -> None:
    worker = Worker(open_odd)
    worker.stop()
    with pytest.raises(WorkerFailed, match="closing"):
        ask(worker, "well")
