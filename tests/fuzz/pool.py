"""Worker processes that are watched: a crash, a hang and a greedy input are seen, named, and do not stop the others."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import IO

SLOW, HANG = 10.0, 60.0  # seconds of computing, and by the clock
GREEDY = 2**30  # bytes
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Found:
    """What became of one input: "read", "refused" or "defect", with the line or what was wrong."""

    reader: str
    number: int
    kind: str
    said: str
    seconds: float = 0.0
    memory: int = 0


class Worker:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
        variables = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=variables,
            text=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.ask: IO[str] = self.process.stdin
        self.answers: IO[str] = self.process.stdout
        self.read = b""
        self.prepared: set[str] = set()
        if not self._line():
            raise RuntimeError("a worker could not be started")

    def judge(self, reader: str, number: int) -> Found:
        if reader not in self.prepared:
            self._say(reader, None)
            self._line()
            self.prepared.add(reader)
        self._say(reader, number)
        self._line()  # it is made
        line = self._line(HANG)
        if line is None:
            self.stop()
            return Found(reader, number, "defect", f"hang: more than {HANG:g} s", HANG)
        if not line:
            code = self.process.wait()
            return Found(reader, number, "defect", f"crash: {Signals(-code).name if code < 0 else f'exit {code}'}")
        kind, said, seconds, memory = json.loads(line)
        if kind != "defect" and seconds > SLOW:
            kind, said = "defect", f"slow: {seconds:.1f} s"
        if kind != "defect" and memory > GREEDY:
            kind, said = "defect", f"greedy: {memory / 2**20:.0f} MB"
        return Found(reader, number, kind, said, seconds, memory)

    def _say(self, reader: str, number: int | None) -> None:
        self.ask.write(json.dumps([reader, number]) + "\n")
        self.ask.flush()

    def _line(self, seconds: float | None = None) -> bytes | None:
        """Empty where the process is gone, None where it takes longer."""
        while b"\n" not in self.read:
            if not select.select([self.answers], [], [], seconds)[0]:
                return None
            new = os.read(self.answers.fileno(), 2**16)
            if not new:
                return b""
            self.read += new
        line, _, self.read = self.read.partition(b"\n")
        return line

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.ask.close()
        self.answers.close()


def judge_all(inputs: Iterable[tuple[str, int]]) -> Iterator[Found]:
    """One input after another in a process of its own, which is replaced where it dies."""
    with tempfile.TemporaryDirectory(prefix="morelli-fuzz.") as folder:
        worker: Worker | None = None
        count = 0
        try:
            for reader, number in inputs:
                if worker is None or not worker.lives:
                    if worker is not None:
                        worker.stop()
                    worker, count = Worker(Path(folder) / str(count)), count + 1
                yield worker.judge(reader, number)
        finally:
            if worker is not None:
                worker.stop()
