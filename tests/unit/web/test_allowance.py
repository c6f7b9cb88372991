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
