"""How many files a client may send: a token bucket each, and a bound on how many clients are remembered."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

REMEMBERED = 10_000  # clients; the one that was quiet longest is forgotten, and has a full bucket again


class Allowance:
    """A bucket holds `per_minute` files and fills at that pace. IPv6 clients share one for their /64."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # files left, at this time

    def take(self, client: str) -> int:
        """One file. 0 where it is allowed, else the seconds after which the next one is."""
        if not self.per_minute:
            return 0
        now, key, pace = self._clock(), _network(client), self.per_minute / 60
        left, then = self._buckets.pop(key, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - then) * pace)
        wait = 0 if left >= 1 else math.ceil((1 - left) / pace)
        self._buckets[key] = (left - 1 if not wait else left, now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return wait


def _network(client: str) -> str:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)
