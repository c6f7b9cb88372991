"""Many clients at once, hostile ones among them: what `morelli serve` bears, and what it costs.

    python benchmarks/load.py --attributor my.attributor own/*.png --uploads 200 --out benchmarks/load.json

Starts a server, sends as many uploads at once as asked, in rounds, and watches memory, open files and temporary files
of the server and its judging process (Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

HOSTILE = 3  # every third upload
PATIENCE = 300  # seconds for one upload, with waiting


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG of 8-bit RGB that claims this size, whatever it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def hostile(sound: bytes) -> dict[str, tuple[str, bytes]]:
    """Files that nobody should have to read, and what an honest program would call them."""
    return {
        "truncated": ("cut.png", sound[: len(sound) // 2]),
        "bomb": ("bomb.png", png(3_900, 3_900, b"\0" * (3_900 * 3 + 1) * 3_900)),
        "huge header": ("header.png", png(60_000, 60_000, b"\0")),
        "empty": ("empty.png", b""),
        "wrong suffix": ("sample.jpg", sound),
        "zip": ("my.attributor", b"PK\x03\x04" + b"\0" * 50_000),
        "safetensors": ("tensors.png", struct.pack("<Q", 60) + b'{"weight":' + b" " * 5_000),
        "text": ("notes.png", b"hello\n" * 2_000),
        "tail": ("tail.png", sound + os.urandom(100_000)),
        "noise": ("noise.png", sound[:33] + os.urandom(20_000)),
    }


@dataclass(frozen=True)
class Footprint:
    """Of the server and its processes: bytes in memory, the most there ever were, open files."""

    rss: int
    peak: int
    files: int


def family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def footprint(pid: int) -> Footprint:
    rss = peak = files = 0
    for each in family(pid):
        status = dict(line.split(":", 1) for line in Path(f"/proc/{each}/status").read_text().splitlines())
        rss += int(status["VmRSS"].split()[0]) * 1024
        peak += int(status["VmHWM"].split()[0]) * 1024
        files += len(list(Path(f"/proc/{each}/fd").iterdir()))
    return Footprint(rss, peak, files)


@contextmanager
def serving(*options: str, temporary: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`morelli serve` in a process of its own, until it answers; told to stop at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = [sys.executable, "-c", "from morelli.cli.main import main; main()", "serve", "--port", str(port)]
    process = subprocess.Popen(
        [*start, *options],
        env=os.environ | {"TMPDIR": str(temporary)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("serving: "):
                break
        else:
            raise RuntimeError("the server did not start.")
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                if httpx.get(f"{url}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        if process.stdout is not None:
            process.stdout.close()


async def upload(client: httpx.AsyncClient, url: str, name: str, data: bytes) -> tuple[int, float, int, dict[str, Any]]:
    """Status, seconds with all waiting, tries, answer. 503 and 429 are tried again, as they ask for."""
    begun, tries = time.perf_counter(), 0
    while True:
        tries += 1
        answer = await client.post(f"{url}/v1/attribute", files={"files": (name, data)})
        if answer.status_code not in (429, 503) or time.perf_counter() - begun > PATIENCE:
            return answer.status_code, time.perf_counter() - begun, tries, answer.json()
        await asyncio.sleep(int(answer.headers["retry-after"]) * random.uniform(0.5, 1.5))


async def one_round(url: str, own: Sequence[bytes], uploads: int) -> dict[str, Any]:
    """All at once; every third is hostile."""
    bad = list(hostile(own[0]).items())
    jobs: list[tuple[str, str, bytes]] = []
    for i in range(uploads):
        kind, (name, data) = (
            bad[i // HOSTILE % len(bad)] if i % HOSTILE == 0 else ("own", ("own.png", own[i % len(own)]))
        )
        jobs.append((kind, name, data))
    begun = time.perf_counter()
    limits = httpx.Limits(max_connections=uploads, max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, timeout=PATIENCE) as client:
        answers = await asyncio.gather(*(upload(client, url, name, data) for _, name, data in jobs))
    seconds = time.perf_counter() - begun
    outcomes: dict[str, Counter[str]] = {}
    for (kind, *_), (status, _, _, said) in zip(jobs, answers, strict=True):
        found = "refused" if said.get("refused") else said["verdicts"][0]["outcome"] if status == 200 else str(status)
        outcomes.setdefault(kind, Counter())[found] += 1
    times = sorted(each[1] for each in answers)
    return {
        "uploads": uploads,
        "seconds": round(seconds, 2),
        "per_second": round(uploads / seconds, 1),
        "p50": round(statistics.median(times), 2),
        "p95": round(times[int(0.95 * (len(times) - 1))], 2),
        "tries": sum(each[2] for each in answers),
        "statuses": dict(Counter(str(each[0]) for each in answers)),
        "outcomes": {kind: dict(found) for kind, found in outcomes.items()},
    }


async def stopped(url: str, pid: int, own: Sequence[bytes], uploads: int) -> dict[str, Any]:
    """SIGTERM while so many are there: what was taken on is answered, new ones are not."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        jobs = [client.post(f"{url}/v1/attribute", files=[("files", ("own.png", own[0]))] * 8) for _ in range(uploads)]
        running = [asyncio.create_task(job) for job in jobs]
        text = ""
        while f"morelli_places_taken {float(uploads)}" not in text and not any(task.done() for task in running):
            text = (await client.get(f"{url}/metrics")).text
        os.kill(pid, signal.SIGTERM)
        answers = await asyncio.gather(*running, return_exceptions=True)
        late = None
        with suppress(httpx.TransportError):
            late = (await client.get(f"{url}/ready")).status_code
    named = [str(a.status_code) if isinstance(a, httpx.Response) else type(a).__name__ for a in answers]
    return {"uploads": uploads, "answers": dict(Counter(named)), "later": late}


def measure(attributor: Path, own: Sequence[bytes], uploads: int, rounds: int, *options: str) -> dict[str, Any]:
    """Rounds of uploads, and what the server holds before, between and after."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder)
        with serving("--attributor", str(attributor), "--rate-limit", "0", *options, temporary=temporary) as (
            url,
            process,
        ):
            asyncio.run(one_round(url, own, 1))
            marks, found = [footprint(process.pid)], []
            for _ in range(rounds):
                found.append(asyncio.run(one_round(url, own, uploads)))
                time.sleep(0.5)
                marks.append(footprint(process.pid))
            left = [str(path.relative_to(temporary)) for path in temporary.rglob("*") if path.is_file()]
            starts = [
                line
                for line in httpx.get(f"{url}/metrics").text.splitlines()
                if line.startswith("morelli_worker_starts ")
            ]
            last = asyncio.run(stopped(url, process.pid, own, 10))
        code = process.returncode
        left += [str(path.relative_to(temporary)) for path in temporary.rglob("*") if path.is_file()]
    return {
        "options": list(options),
        "rounds": found,
        "rss_mb": [round(each.rss / 2**20) for each in marks],
        "peak_mb": round(marks[-1].peak / 2**20),
        "open_files": [each.files for each in marks],
        "left_behind": left,
        "worker_starts": int(float(starts[0].split()[1])),
        "stopped": last,
        "exit_code": code,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("own", nargs="+", type=Path, help="samples of the attributor's model")
    parser.add_argument("--attributor", type=Path, required=True)
    parser.add_argument("--uploads", type=int, default=200, help="at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    own = [path.read_bytes() for path in asked.own]
    runs = {}
    for name, options in {"all admitted": ("--queue", "256"), "usual queue": ()}.items():
        runs[name] = measure(asked.attributor, own, asked.uploads, asked.rounds, *options)
        print(name, json.dumps(runs[name], indent=1), flush=True)
    if asked.out is not None:
        from machine import describe

        asked.out.write_text(json.dumps({"machine": describe("cpu"), "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
