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

    def wait(self, client: str, files: int = 1) -> int:
        """Seconds until so many are allowed at once; 0: they are now. Nothing is taken."""
        if not self.per_minute:
            return 0
        missing = files - self._left(_network(client))
        return math.ceil(missing * 60 / self.per_minute) if missing > 0 else 0

    def take(self, client: str, files: int = 1) -> int:
        """All of them where they are allowed; else none, and the answer is that of `wait`."""
        wait, key = self.wait(client, files), _network(client)
        if self.per_minute and not wait:
            self._buckets[key] = (self._left(key) - files, self._clock())
            self._buckets.move_to_end(key)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        return wait

    def _left(self, key: str) -> float:
        now = self._clock()
        left, then = self._buckets.get(key, (float(self.per_minute), now))
        return min(self.per_minute, left + (now - then) * self.per_minute / 60)


def _network(client: str) -> str:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)
