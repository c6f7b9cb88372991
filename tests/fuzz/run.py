"""Read 10,000 malformed inputs. By hand and in CI: PYTHONPATH=src:tests python -m fuzz.run [--count N] [--only READER]

Each must be read, or refused in one line by an error of Morelli's; none may end in another traceback, hang for more
than 10 s, take more than 1 GB, crash, or make a library print. Exit code 1 where one does. `--show READER NUMBER
FOLDER` writes an input to look at.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fuzz.bombs import BOMBS
from fuzz.pool import Found, judge_all
from fuzz.seeds import SEEDS

COUNT = 10_000


def inputs(count: int, only: list[str], first: int = 0) -> Iterator[tuple[str, int]]:
    """(reader, number), each reader's in a row, so that a worker's memory is about one of them."""
    names = only or list(SEEDS)
    for i, name in enumerate(names):
        yield from ((name, first + n) for n in range(count // len(names) + (i < count % len(names))))


def table(found: list[Found]) -> str:
    lines = [
        "| reader | inputs | refused | read | defects | slowest, s | peak memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(each.reader for each in found):
        mine = [each for each in found if each.reader == name]
        kinds = Counter(each.kind for each in mine)
        slowest, peak = max(each.seconds for each in mine), max(each.memory for each in mine) / 2**20
        counts = " | ".join(str(kinds[kind]) for kind in ("refused", "read", "defect"))
        lines.append(f"| {name} | {len(mine)} | {counts} | {slowest:.2f} | {peak:.0f} |")
    kinds = Counter(each.kind for each in found)
    counts = " | ".join(f"{kinds[kind]:,}" for kind in ("refused", "read", "defect"))
    slowest, peak = max(each.seconds for each in found), max(each.memory for each in found) / 2**20
    return "\n".join([*lines, f"| all | {len(found):,} | {counts} | {slowest:.2f} | {peak:.0f} |"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each reader")
    parser.add_argument("--only", action="append", default=[], choices=list(SEEDS))
    parser.add_argument("--json", type=Path, help="write every outcome here")
    parser.add_argument("--bombs", action="store_true", help="inputs that ask for much, in place of malformed ones")
    parser.add_argument("--show", nargs=3, metavar=("READER", "NUMBER", "FOLDER"))
    asked = parser.parse_args()
    if asked.show:
        from fuzz.worker import generated, put

        put(Path(asked.show[2]), generated(asked.show[0], int(asked.show[1])))
        return 0
    found, start = [], time.time()
    for each in judge_all(
        ((name, 0) for name in BOMBS) if asked.bombs else inputs(asked.count, asked.only, asked.first)
    ):
        found.append(each)
        if each.kind == "defect":
            print(f"{each.reader} {each.number}: {each.said}", file=sys.stderr, flush=True)
    print(table(found))
    print(f"\n{time.time() - start:.0f} s")
    if asked.json:
        asked.json.write_text(json.dumps([vars(each) for each in found], indent=0) + "\n")
    return int(any(each.kind == "defect" for each in found))


if __name__ == "__main__":
    sys.exit(main())
