"""What an operator watches, for Prometheus. A registry of each server's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
FILES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("morelli_requests", "Requests.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "morelli_request_seconds", "From the first byte to the last.", ["route"], registry=registry, buckets=SECONDS
        )
        self.verdicts = Counter("morelli_verdicts", "Verdicts.", ["attributor", "outcome"], registry=registry)
        self.identified = Counter("morelli_identified", "Rankings.", ["found"], registry=registry)
        self.refused = Counter("morelli_refused", "Requests and files that were refused.", ["why"], registry=registry)
        self.judging = Histogram("morelli_judging_seconds", "Of a batch.", ["kind"], registry=registry, buckets=SECONDS)
        self.waited = Histogram("morelli_waited_seconds", "In the queue.", registry=registry, buckets=SECONDS)
        self.batch = Histogram("morelli_batch_files", "Judged at once.", registry=registry, buckets=FILES)
        self.waiting = Gauge("morelli_waiting", "Requests in the queue.", registry=registry)
        self.places = Gauge("morelli_places_taken", "Requests uploading, waiting or being judged.", registry=registry)
        self.starts = Gauge("morelli_worker_starts", "Of judging processes, since the start.", registry=registry)

    def judged(self, attributor: str, summary: Mapping[str, Any]) -> None:
        """Verdicts of a report by outcome, as `Report.counts` has them."""
        for outcome, count in summary.items():
            if outcome != "refused":
                self.verdicts.labels(attributor, outcome).inc(count)

    def were_refused(self, found: Mapping[str, Any], bundles: int) -> None:
        """Counts of the files of an answer; those that were refused as bundles are among them."""
        files = len(found["refused"]) if "refused" in found else found["summary"].get("refused", 0)
        self.refused.labels("bundle").inc(bundles)
        self.refused.labels("file").inc(max(0, files - bundles))

    def text(self) -> bytes:
        return generate_latest(self._registry)
