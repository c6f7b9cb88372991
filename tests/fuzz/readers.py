"""What is fuzzed: a table of readers. Each takes a folder with the input's files and reads them as a user would."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from fuzz import seeds

import morelli
from morelli.app import bundles, galleries, predicting
from morelli.app.attributing import COLUMNS, _result
from morelli.errors import MorelliError
from morelli.features.protocol import SampleSpec
from morelli.generators.small_gans import build_generator
from morelli.storage import bank
from morelli.storage.autoencoders import load_autoencoder
from morelli.storage.decoder_file import read_weights
from morelli.storage.generators import load_generator
from morelli.storage.journal import Journal
from morelli.storage.latents import read_latents
from morelli.storage.numbers import read_numbers
from morelli.storage.samples import Reading, read, read_picture
from morelli.storage.table_generators import load_table_generator

Reader = Callable[[Path], object]


def _first(folder: Path) -> Path:
    """The one that a user would name."""
    return min((p for p in folder.iterdir() if p.suffix != ".json"), key=lambda p: p.name)


def _fact(value: object) -> bool:
    """Facts go into JSON and onto terminals."""
    return json.loads(json.dumps(value, allow_nan=False)) == value


def sample(spec: SampleSpec) -> Reader:
    def run(folder: Path) -> Reading:
        reading = read(_first(folder), spec)
        assert reading.samples.shape[1:] == spec.shape and len(reading.samples), "not what was asked for"
        assert reading.samples.isfinite().all(), "not finite"
        assert spec.low == -math.inf or spec.low <= float(reading.samples.min()), "out of range"
        assert _fact(reading.facts), "facts that are no JSON"
        return reading

    return run


def picture(*specs: SampleSpec) -> Reader:
    def run(folder: Path) -> None:
        failed: MorelliError | None = None
        for one in (*(sample(spec) for spec in specs), lambda path: read_picture(_first(path))):
            try:
                one(folder)
            except MorelliError as error:
                failed = failed or error
        if failed:
            raise failed

    return run


def _in_gallery(folder: Path) -> object:
    (folder / "g").mkdir()
    (folder / "g" / "m0.entry").mkdir()
    for file in list(folder.iterdir()):
        if file.is_file():
            file.rename(folder / "g" / "m0.entry" / file.name)
    return galleries.cards(folder / "g")


def _imported(folder: Path) -> object:
    try:
        galleries.import_gallery(_first(folder), folder / "g")
        return galleries.cards(folder / "g")
    finally:
        known = {"g", "g.zip"}
        assert {p.name for p in folder.iterdir()} <= known, "something was written elsewhere"
        if (folder / "g").is_dir():
            assert all(p.is_dir() and not p.is_symlink() for p in (folder / "g").iterdir()), "no entries"


def _shard(folder: Path) -> object:
    place = folder / "shard"
    place.mkdir()
    for file in [file for file in folder.iterdir() if file.is_file()]:
        file.rename(place / file.name)
    return bank.read_shard(place.rename(bank.shard_of(folder, seeds.BLUEPRINT)))


def _journal(folder: Path) -> object:
    with Journal(folder / "j.csv", seeds.OWNER, COLUMNS) as journal:
        return [_result(record) for record in journal.records]


def _head_of_graph(folder: Path) -> object:
    return morelli.onnx_generator(folder / "g.onnx", announce=lambda line: None).head(32)


def _checkpoint(folder: Path) -> object:
    from toys import deconvolution_images

    return morelli.load_weights(deconvolution_images(), _first(folder), "g_ema")


def _decoder(folder: Path) -> object:
    return predicting._file(_first(folder), None, "nearest")


def _autoencoder(folder: Path) -> object:
    return load_autoencoder(folder if (folder / "config.json").exists() else _first(folder))


def _by_every_reader(folder: Path) -> object:
    file = _first(folder)
    readers: tuple[Callable[[], object], ...] = (
        lambda: load_autoencoder(file),
        lambda: galleries.import_gallery(file, folder / "g"),
        lambda: read(file, seeds.IMAGE),
        lambda: read(file, seeds.SOUND),
        lambda: read(file, seeds.NUMBERS),
        lambda: read_latents(file),
        lambda: morelli.load_weights(build_generator("dcgan", 8, 3, 64), file),
        lambda: morelli.onnx_generator(file),
    )
    for one in readers:
        try:
            one()
        except MorelliError:
            continue
        raise AssertionError("a file that holds code was read")
    return read_weights(file)


READERS: dict[str, Reader] = {
    "head": lambda folder: morelli.load(folder),
    "attributor": lambda folder: bundles.inspect(folder),
    "gallery entry": _in_gallery,
    "gallery file": _imported,
    "fingerprint network": lambda folder: galleries.open_network(folder),
    "generator": lambda folder: load_generator(folder),
    "table generator": lambda folder: load_table_generator(folder),
    "shard": _shard,
    "journal": _journal,
    **{kind: picture(seeds.IMAGE) for kind in ("PNG", "JPEG", "WebP", "GIF", "TIFF", "BMP")},
    **{kind: picture(seeds.GREY) for kind in ("16-bit PNG", "16-bit TIFF", "DICOM")},
    "numbers": sample(seeds.NUMBERS),
    "rows": sample(seeds.ROWS),
    "table to train on": lambda folder: read_numbers(_first(folder)),
    **{kind: sample(seeds.SOUND) for kind in ("WAV", "FLAC", "MP3", "Opus")},
    "ONNX": _head_of_graph,
    "checkpoint": _checkpoint,
    "decoder": _decoder,
    "autoencoder": _autoencoder,
    "latents": lambda folder: read_latents(_first(folder)),
    "TorchScript": _by_every_reader,
}
PLANTED: dict[str, Reader] = {  # what must be seen
    "noise": lambda folder: os.write(2, b"native words"),
    "greed": lambda folder: bytearray(3 * 2**30),
    "crash": lambda folder: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": lambda folder: time.sleep(60),
}
assert list(READERS) == list(seeds.SEEDS)
