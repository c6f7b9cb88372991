"""Every command that writes, killed before every call that changes the disk, or told there that the disk is full.

By hand: PYTHONPATH=src:tests python -m fuzz.crash [COMMAND …]. Of each command and moment a fresh folder with older
results is copied, and a child is forked that runs the command line. Ways to fail: `kill` (SIGKILL before the k-th
call), `full` and `read-only` (that call raises ENOSPC or EROFS), `torn` (killed in the midst of writing a file, after
so many bytes) and `stuck` (that write fails). Afterwards every visible result must be what it was or what it should
become; after a kill the same command, run again, must succeed; an error must be one line, with exit code 2 and a path.
"""

from __future__ import annotations

import argparse
import errno
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import prints
import torch

import morelli
import morelli.app.calibrating
import morelli.app.heads
import morelli.app.pages
import morelli.app.table_gans
import morelli.app.training
import morelli.storage.figures
from morelli.app.attributing import COLUMNS
from morelli.app.galleries import cards
from morelli.cli.main import main as morelli_main
from morelli.errors import MorelliError
from morelli.storage import bundle
from morelli.storage.journal import Journal

COMMANDS = {  # name → words; DIR is the folder
    "head": "head toygan:build --latent 8x1x1 --draws 64 --out DIR/x.head --overwrite",
    "train": "train DIR/my.head --own DIR/own --method rawpad --detector mahalanobis --rate 0.1 "
    "--out DIR/my.attributor "
    "--overwrite",
    "calibrate": "calibrate DIR/my.attributor --population DIR/population --copies 0",
    "attribute": "attribute DIR/suspects --with DIR/my.attributor --csv DIR/v.csv --report DIR/r.html",
    "enrol": "enrol m1 DIR/m1 --gallery DIR/g --network DIR/net --overwrite",
    "gallery import": "gallery DIR/g --import DIR/more.zip --overwrite",
    "gallery export": "gallery DIR/g --export DIR/out.zip --overwrite",
    "gallery remove": "gallery DIR/g --remove m0",
    "train-gan": "train-gan DIR/t.csv --family kl-wgan --steps 2 --width 8 --batch 16 --out DIR/t.generator",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.symlink", "os.link")
FACTORY = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    layers = nn.ConvTranspose2d(8, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 4), nn.Tanh()
    return nn.Sequential(*layers)
"""
Count = Callable[[int], None]


def prepare(place: Path, commands: Sequence[str]) -> Path:
    """A folder with all that the commands read, and earlier results of theirs."""
    place.mkdir()
    (place / "toygan.py").write_text(FACTORY)
    sys.path.insert(0, str(place))
    sys.dont_write_bytecode = True
    generator = morelli.TorchGenerator(__import__("toygan").build(), (8, 1, 1), announce=lambda line: None)
    morelli.save(generator.head(64), place / "my.head")
    morelli.save(generator.head(64, 1), place / "x.head")
    spec = morelli.SampleSpec((3, 16, 16))
    foreign = torch.rand(60, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name, samples in (
        ("own", generator.samples(60, 3) * 4),
        ("population/a", foreign[:25]),
        ("population/b", foreign[25:50] * 0.5),
        ("suspects", torch.cat([generator.samples(3, 4) * 4, foreign[50:53]])),
    ):
        (place / name).mkdir(parents=True)
        for i, sample in enumerate(samples):
            morelli.write_image(sample.clamp(-1, 1), place / name / f"{i}.png", spec)
    (place / "suspects" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    if any("gallery" in COMMANDS[name] for name in commands):
        _prepare_galleries(place)
    if "train-gan" in commands:
        rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).tolist()
        (place / "t.csv").write_text("\n".join(["a,b,c", *(",".join(f"{x:.2f}" for x in row) for row in rows)]))
        _done(place, COMMANDS["train-gan"].replace("--steps 2", "--steps 1"))
    _done(place, COMMANDS["train"].replace("--rate 0.1", "--rate 0.2"))
    _done(place, COMMANDS["attribute"].replace("suspects", "suspects/0.png"))
    return place


def _done(place: Path, words: str) -> None:
    assert run(place, words) == 0, (place / "said").read_text()


def _prepare_galleries(place: Path) -> None:
    prints.write_tiny(place / "net")
    for model in range(2):
        prints.save_pictures(place / f"m{model}", model, 5)
        morelli.enrol(f"m{model}", place / f"m{model}", place / "g", network=place / "net")
    for name in ("m2", "m3"):
        morelli.enrol(name, place / "m0", place / "more", network=place / "net")
    _done(place, "gallery DIR/more --export DIR/more.zip")
    _done(place, COMMANDS["gallery export"])
    shutil.rmtree(place / "more")


def run(place: Path, words: str, hook: Callable[[], None] | None = None) -> int:
    """The exit code of a forked child, or minus the signal; what it said is in `said`."""
    reading, writing = os.pipe()  # limits on files do not hold for it
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            sys.argv = ["morelli", *words.replace("DIR", str(place)).split()]
            if hook:
                hook()
            morelli_main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        (place / "said").write_bytes(pipe.read())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watch(place: Path, reached: Count) -> Callable[[], None]:
    """Calls `reached` with 1, 2, … before every call in the folder that changes the disk."""

    def hook() -> None:
        count = 0

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if event == "open":
                path, _, flags = arguments
                counts = bool((flags or 0) & WRITING) and str(path).startswith(str(place)) and "said" not in str(path)
            elif event == "ctypes.dlsym":
                counts = arguments[1] == "renameat2"
            else:
                counts = event in CHANGES and ("/" not in str(arguments[0]) or str(arguments[0]).startswith(str(place)))
            if counts:
                count += 1
                reached(count)

        sys.addaudithook(audit)

    return hook


def calls(place: Path, words: str) -> int:
    """How many there are in a run that nothing disturbs."""
    reading, writing = os.pipe()
    code = run(place, words, watch(place, lambda count: os.write(writing, b".") and None))
    assert code in (0, 3), (place / "said").read_text()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return len(pipe.read())


def at(k: int, what: Callable[[], None]) -> Count:
    def reached(count: int) -> None:
        if count == k:
            what()

    return reached


def _raise(number: int) -> None:
    raise OSError(number, os.strerror(number))


def _limit(size: int, deadly: bool) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def results(place: Path) -> dict[str, str]:
    """What a user sees: digests of bundles and files, and of a journal what can be read. Raises where one is torn."""
    found = {}
    for path in sorted(place.iterdir()):
        if path.name.startswith(".") or path.name in ("said", "__pycache__"):
            continue
        if (path / bundle.MANIFEST).exists() or path.suffix in (".head", ".attributor", ".generator", ".training"):
            found[path.name] = bundle.read(path).digest
        elif path.suffix == ".csv" and path.name == "v.csv":
            with Journal(path, path.read_text().splitlines()[1].split(",")[-2], COLUMNS) as journal:
                found[path.name] = repr(sorted(record["file"].rpartition("/")[2] for record in journal.records))
        elif path.name == "g":
            found |= {f"g/{name}": repr(card["samples"]) for name, card in cards(path).items()}
        elif path.is_file():
            found[path.name] = sha256(path.read_bytes()).hexdigest()
    return found


def judge(place: Path, before: dict[str, str], after: dict[str, str], name: str, code: int, killed: bool) -> list[str]:
    """What is wrong; empty where nothing is."""
    said = (place / "said").read_text()
    try:
        found = results(place)
    except (MorelliError, OSError) as error:
        return [f"torn: {error}"]
    wrong = []
    for key in sorted(set(found) | set(before) | set(after)):
        allowed = {before.get(key), after.get(key)}
        if key not in CHANGING and found.get(key) not in allowed and not (key == "v.csv" and found.get(key)):
            wrong.append(f"{key} is neither what it was nor what it should become")
        if key in CHANGING and found.get(key) is None and before.get(key) is not None:
            wrong.append(f"{key} is gone")
    if not killed and code not in (0, 2, 3):
        wrong.append(f"exit code {code}: {said[-300:]}")
    if not killed and code == 2 and (said.count("\n") != 1 or "error: " not in said or str(place) not in said):
        wrong.append(f"not one line with a path: {said[-300:]!a}")
    return wrong


CHANGING = {"my.attributor", "r.html", "out.zip", "t.generator", "t.generator.training", "x.head"}  # they tell the time


def attempts(count: int, sizes: list[int], every: int) -> Iterator[tuple[str, int]]:
    yield from ((kind, k) for kind in ("kill", "full", "read-only") for k in range(1, count + 1, every))
    yield from ((kind, size) for kind in ("torn", "stuck") for size in sizes)


def try_command(name: str, template: Path, every: int = 1) -> tuple[Counter[str], list[str]]:
    """How often each way was tried, and what went wrong."""
    words = COMMANDS[name]
    place = template.with_name("place")

    def fresh() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place, symlinks=True)

    fresh()
    before = results(place)
    count = calls(place, words)
    after = results(place)
    tried: Counter[str] = Counter()
    wrong = []
    for kind, k in attempts(count, [0, 1, 100, 300, 1000, 2000, 5000][::every], every):
        fresh()
        number = {"full": errno.ENOSPC, "read-only": errno.EROFS}.get(kind)
        if kind == "kill":
            code = run(place, words, watch(place, at(k, lambda: os.kill(os.getpid(), signal.SIGKILL))))
        elif number:
            code = run(place, words, watch(place, at(k, lambda number=number: _raise(number))))
        else:
            code = run(place, words, lambda k=k, kind=kind: _limit(k, kind == "torn"))
        tried[kind] += 1
        problems = judge(place, before, after, name, code, code < 0)
        if not problems and (code < 0 or code == 2):
            second = run(place, words)
            gone = "remove" in name and "no entry 'm0'" in (place / "said").read_text()
            if second not in (0, 3) and not gone:
                problems = [f"does not run again: {(place / 'said').read_text()[-300:]}"]
            elif not gone:
                problems = [f"after it ran again, {p}" for p in judge(place, after, after, name, second, False)]
        wrong += [f"{name}, {kind} at {k} of {count}: {problem}" for problem in problems]
    return tried, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", default=list(COMMANDS), help=", ".join(COMMANDS))
    parser.add_argument("--every", type=int, default=1, help="try every n-th moment")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="morelli-crash.") as folder:
        template = prepare(Path(folder) / "template", asked.commands)
        print("| command | killed | disk full | read-only | torn write | failed write | wrong |")
        print("|---|---|---|---|---|---|---|")
        for name in asked.commands:
            tried, wrong = try_command(name, template, asked.every)
            counts = " | ".join(str(tried[kind]) for kind in ("kill", "full", "read-only", "torn", "stuck"))
            print(f"| {name} | {counts} | {len(wrong)} |", flush=True)
            for line in wrong:
                print(line, file=sys.stderr, flush=True)
            failed += len(wrong)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
