"""Long jobs: what an image costs from file to row, where it goes, and what reading ahead and Ray actors gain.

    python benchmarks/jobs.py                       # writes benchmarks/jobs.json; minutes
    python benchmarks/jobs.py --actors 1 2          # and by Ray actors
    python benchmarks/jobs.py --device cuda --images 100000 --batch 512   # on a GPU; not run here

Costs by stage are CPU time in one thread, which other work on the machine does not change. Whole jobs are timed in
turns, and their times given as ratios of the plain loop without reading ahead in the same turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from machine import describe

import morelli
from morelli.app.jobs import attribute_to
from morelli.app.scorer import Scorer
from morelli.features.protocol import SampleSpec
from morelli.storage.generators import load_generator
from morelli.storage.listing import stream
from morelli.storage.parts import encode
from morelli.storage.samples import read
from morelli.storage.shards import items

SPEC = SampleSpec((3, 64, 64))
OWN = 600


def prepare(folder: Path, images: int, method: str) -> tuple[Path, Path]:
    """An attributor of the shipped DCGAN, and a folder with images of it."""
    generator = morelli.TorchGenerator(load_generator("clothing-dcgan"), latent=(100, 1, 1), announce=lambda line: None)
    bundle, place = folder / f"{method}.attributor", folder / "images"
    perturb = ("none",) if method == "imprint" else ()
    other = None if method == "imprint" else torch.rand(OWN, 3, 64, 64) * 2 - 1
    detector = None if method == "imprint" else "lda"
    own = generator.samples(OWN, 0)
    morelli.train(generator.head(2_000, 0), own, other, method=method, detector=detector, out=bundle, perturb=perturb)
    place.mkdir()
    for i, sample in enumerate(generator.samples(images, 1)):
        morelli.write_image(sample, place / f"{i:07d}.png", SPEC)
    return bundle, place


def stages(bundle: Path, place: Path, device: str, batch: int) -> dict[str, float]:
    """Milliseconds of CPU time an image, stage by stage, over all images."""
    scorer, spent = Scorer(bundle, device=device, batch=batch, prefetch=False), dict[str, float]()

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        spent[name] = spent.get(name, 0.0) + time.process_time() - start

    with stage("list"):
        found = list(items(stream(place)))
    scorer(found[:batch])  # what is done once is not counted
    attributor = scorer.attributor
    for start in range(0, len(found), batch):
        share = found[start : start + batch]
        with stage("read"):
            contents = [Path(item.file).read_bytes() for item in share]
        with stage("decode"):
            readings = [read(Path(i.name), SPEC, data=c) for i, c in zip(share, contents, strict=True)]
        samples = torch.cat([reading.samples for reading in readings]).to(device)
        facts = [reading.facts for reading in readings]
        with stage("features"):
            features = attributor.extractor.extract(samples, facts=facts)
        with stage("score"):
            verdicts = attributor.judge_features(features)
        with stage("rows and Parquet"):
            encode(
                {"file": r.file, "row": None, **v.to_dict(), "facts": r.facts}
                for r, v in zip(readings, verdicts, strict=True)
            )
    return {name: round(1e3 * seconds / len(found), 4) for name, seconds in spent.items()}


def ways_of(bundle: Path, place: Path, actors: list[int], device: str, batch: int) -> dict[str, Callable[[Path], Any]]:
    def plain(prefetch: bool) -> Callable[[Path], Any]:
        return lambda out: attribute_to(place, bundle, out, prefetch=prefetch, device=device, batch=batch)

    def spread(count: int) -> Callable[[Path], Any]:
        from morelli import cluster

        gpus = float(device == "cuda")
        return lambda out: cluster.attribute_to(place, bundle, out, actors=count, gpus=gpus, batch=batch)

    ways = {"plain, one thread": plain(False), "plain, reading ahead": plain(True)}
    return ways | {f"{count} actors": spread(count) for count in actors}


def whole_jobs(ways: dict[str, Callable[[Path], Any]], images: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Images a second of each way, and its speed in units of the first one's in the same turn: median and range."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as place:
        contents = set()
        for turn in range(repeats):
            for name, run in ways.items():
                out = Path(place) / f"{turn}.parquet"
                start = time.perf_counter()
                run(out)
                rates[name].append(images / (time.perf_counter() - start))
                contents.add(out.read_bytes())
                out.unlink()
                print(
                    f"  turn {turn}: {name}: {rates[name][-1]:.0f} images/s, load {os.getloadavg()[0]:.1f}", flush=True
                )
        assert len(contents) == 1, "ways differ in what they say"
    first = rates[next(iter(ways))]
    found = {}
    for name, values in rates.items():
        ratios = [one / base for one, base in zip(values, first, strict=True)]
        found[name] = {
            "images_per_second": round(statistics.median(values), 1),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(min(ratios), 3), round(max(ratios), 3)],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--actors", type=int, nargs="*", default=[])
    parser.add_argument("--methods", nargs="+", default=["imprint", "flipad"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("jobs.json"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"machine": describe(asked.device), "images": asked.images, "batch": asked.batch}
    for method in asked.methods:
        images = asked.images if method == "imprint" else max(64, asked.images // 8)
        with tempfile.TemporaryDirectory() as folder:
            bundle, place = prepare(Path(folder), images, method)
            print(method, flush=True)
            costs = stages(bundle, place, asked.device, asked.batch)
            actors = asked.actors if method == "imprint" else []
            ways = ways_of(bundle, place, actors, asked.device, asked.batch)
            jobs = whole_jobs(ways, images, asked.repeats)
        found[method] = {"images": images, "milliseconds": costs, "jobs": jobs}
        for name, cost in costs.items():
            print(f"  {name:18s} {cost:8.3f} ms   {cost / sum(costs.values()):4.0%}")
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found["load_at_end"] = os.getloadavg()[0]
    asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
