"""Token buckets, by hand."""

from __future__ import annotations

from morelli.web import allowance
from morelli.web.allowance import Allowance


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills() -> None:
    clock = Clock()
    bucket = Allowance(6, clock)  # one every ten seconds
    assert [bucket.take("a") for _ in range(7)] == [0] * 6 + [10]
    assert bucket.take("b") == 0
    clock.now = 4
    assert bucket.take("a") == 6
    clock.now = 10
    assert [bucket.take("a"), bucket.take("a")] == [0, 10]
    clock.now = 10_000
    assert [bucket.take("a") for _ in range(7)] == [0] * 6 + [10]


def test_a_refused_request_takes_nothing_and_is_told_how_long_to_wait() -> None:
    """Where it took what there was, a client that waits as long as told was never served."""
    clock = Clock()
    bucket = Allowance(300, clock)
    assert bucket.take("a", 300) == 0
    wait = bucket.take("a", 16)
    assert wait == bucket.wait("a", 16) == 4
    clock.now = wait
    assert bucket.take("a", 16) == 0
    assert bucket.wait("a", 16) > 0
    assert bucket.wait("b", 16) == 0


def test_no_limit() -> None:
    assert not any(Allowance(0).take("a") for _ in range(1000))


def test_ipv6_clients_share_their_network() -> None:
    bucket = Allowance(1, Clock())
    assert bucket.take("2001:db8:1:2::1") == 0
    assert bucket.take("2001:db8:1:2::2") > 0
    assert bucket.take("2001:db8:1:3::1") == 0


def test_memory_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(allowance, "REMEMBERED", 3)
    bucket = Allowance(1, Clock())
    for client in "abcd":
        assert bucket.take(client) == 0
    assert len(bucket._buckets) == 3
    assert bucket.take("d") > 0
