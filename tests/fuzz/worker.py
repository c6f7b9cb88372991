"""A process that makes malformed inputs and reads them, one after another, under limits; it is watched by `pool`.

Standard output is for answers alone. What native code prints lands in a file, and counts as a defect: the promise is
one line, and it is ours.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from random import Random

SPARE = 2 * 2**30  # bytes of address space beyond what the process starts with
LINE = 2000  # characters


def generated(reader: str, number: int) -> dict[str, bytes]:
    """The malformed input of that number: the same on every machine with the same libraries."""
    from fuzz.bombs import BOMBS
    from fuzz.mutate import changed
    from fuzz.seeds import seeds_of

    if reader in BOMBS:
        return BOMBS[reader][1]()
    rng = Random(f"{reader} {number}")
    return changed(reader, rng.choice(seeds_of(reader)), rng)


def put(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def outcome(reader: str, folder: Path) -> tuple[str, str]:
    """("read" | "refused" | "defect", text)."""
    from fuzz.bombs import BOMBS
    from fuzz.readers import PLANTED, READERS

    from morelli.errors import MorelliError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (READERS | PLANTED)[BOMBS[reader][0] if reader in BOMBS else reader](folder)
    except MorelliError as error:
        text, seen = str(error), error
        while seen is not None:
            if isinstance(seen, MemoryError) or "t allocate memory" in repr(seen):
                return "defect", f"memory was asked for without end, and then: {text}"
            seen = seen.__cause__ or seen.__context__
        if not text.isprintable() or not text or len(text) > LINE:
            return "defect", f"not one line: {text[:200]!a} ({len(text)} characters)"
        return "refused", text
    except BaseException as error:
        places = traceback.extract_tb(error.__traceback__)
        ours = next((f for f in reversed(places) if "morelli/" in f.filename), places[-1])
        where = f"{Path(ours.filename).name}:{ours.lineno} < {Path(places[-1].filename).name}:{places[-1].lineno}"
        return "defect", f"{type(error).__name__}: {str(error)[:200]} at {where}"
    return "read", ""


def _peak() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def _forget_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    heard = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
    os.dup2(heard.fileno(), 1)
    os.dup2(heard.fileno(), 2)
    import torch
    from fuzz.readers import READERS
    from fuzz.seeds import seeds_of

    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE, -1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(list(READERS)), file=answers)
    for line in sys.stdin:
        reader, number = json.loads(line)
        if number is None:  # what sound inputs cost to make is not the reader's
            seeds_of(reader)
            print("null", file=answers)
            continue
        put(place / "in", generated(reader, number))
        print("null", file=answers)
        heard.seek(0)
        heard.truncate()
        _forget_peak()
        before, start = _peak(), time.process_time()  # other processes do not count
        kind, said = outcome(reader, place / "in")
        seconds, memory = time.process_time() - start, max(0, _peak() - before)
        heard.seek(0, 2)
        if kind != "defect" and heard.tell():
            heard.seek(0)
            kind, said = "defect", f"native code printed {heard.read(300)!a}"
        print(json.dumps([kind, said, seconds, memory]), file=answers)


if __name__ == "__main__":
    main()
