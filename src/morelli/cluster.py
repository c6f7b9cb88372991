"""Long jobs on many processes or machines: the scorer in a pool of Ray actors. `pip install 'morelli[cluster]'`."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from morelli.app import jobs
from morelli.app.jobs import Job, Made, part_of
from morelli.app.scorer import BATCH
from morelli.app.sources import Stage, silent
from morelli.errors import MorelliError

SHARED_MEMORY = Path("/dev/shm")
STORE = 256 * 2**20  # bytes of Ray's object store, through which names of items and parts go
LEAST_STORE = 80 * 2**20  # that Ray starts with
BLOCK = 2**16  # bytes after which a chunk goes on its way, so that listing never runs far ahead


def attribute_to(
    source: str | Path | Sequence[str | Path],
    attributor: str | Path,
    out: str | Path,
    *,
    actors: int = 2,
    gpus: float = 0.0,
    address: str | None = None,
    column: str | None = None,
    batch: int = BATCH,
    stage: Stage = silent,
) -> dict[str, Any]:
    """`morelli.attribute_to`, by a pool of actors. The file has the same bytes as without them.

    Ray restarts actors that die and gives their chunk to another. A job may go on with or without actors.

    Args:
        actors: processes that judge, each with one thread of its own.
        gpus: of each actor; more than 0, and they compute on CUDA.
        address: of a running cluster, or "auto"; None starts one on this machine, which makes no outside request.
            Machines of a cluster need this package, and the samples and the attributor under the same paths.
    Raises:
        MorelliError: Ray is not installed or does not start, or an actor failed for good. Else as `attribute_to`.
    """
    ray = _ray()
    device = "cuda" if gpus else "cpu"
    work = partial(_spread, ray=ray, actors=actors, gpus=gpus, address=address)
    return jobs.attribute_to(source, attributor, out, column=column, device=device, batch=batch, stage=stage, work=work)


class Judge:
    """What an actor is: one scorer, which judges chunk after chunk."""

    def __init__(self, job: Job, done: frozenset[str], folder: str) -> None:
        import torch

        torch.set_num_threads(1)
        _enter(folder)
        self.scorer, self.done = job.scorer(), done

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        made = [self._made(pickle.loads(chunk)) for chunk in batch["chunk"]]
        names, counts, contents = zip(*made, strict=True)
        return {"name": list(names), "count": list(counts), "content": list(contents)}

    def _made(self, chunk: jobs.Chunk) -> Made:
        name = chunk.name
        return name, len(chunk.items), b"" if name in self.done else part_of(self.scorer, chunk)


def _spread(
    job: Job, done: frozenset[str], *, ray: Any, actors: int, gpus: float, address: str | None
) -> Iterator[Made]:
    mine, folder = not ray.is_initialized(), os.getcwd()
    if mine:
        _start(ray, actors, address)
    context = ray.data.DataContext.get_current()
    kept = context.target_max_block_size, context.enable_progress_bars
    context.target_max_block_size, context.enable_progress_bars = BLOCK, False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        listed = ray.data.from_items([0]).map_batches(
            partial(_listed, job, folder),
            num_cpus=0,  # so that a cluster full of actors still lists, and Ray does not make both steps one
        )
        judged = listed.map_batches(
            Judge,
            fn_constructor_args=(job, done, folder),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            num_gpus=gpus or None,
        )
        for row in judged.iter_rows():
            yield row["name"], int(row["count"]), row["content"] or None
    except (ray.exceptions.RayError, ray.data.exceptions.UserCodeException) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
        raise MorelliError(f"an actor failed: {said} What was judged is kept; run the job again.") from error
    finally:
        context.target_max_block_size, context.enable_progress_bars = kept
        if mine:
            ray.shutdown()


def _listed(job: Job, folder: str, batch: Mapping[str, Any]) -> Iterator[dict[str, list[bytes]]]:
    _enter(folder)
    for chunk in job.chunks():
        yield {"chunk": [pickle.dumps(chunk)]}


def _enter(folder: str) -> None:
    """Where relative names of files are meant."""
    if os.path.isdir(folder):
        os.chdir(folder)


def _start(ray: Any, actors: int, address: str | None) -> None:
    quiet: dict[str, Any] = {"address": address or "local", "log_to_driver": False, "logging_level": "ERROR"}
    if address is None:  # "local", as Ray would join a cluster that runs or that RAY_ADDRESS names
        free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
        if free < 2 * LEAST_STORE:  # a container's may be 64 MB
            os.environ["RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE"] = "1"
        quiet |= {"include_dashboard": False, "num_cpus": actors + 1}
        quiet |= {"object_store_memory": max(LEAST_STORE, min(STORE, free // 2))}
    try:
        ray.init(**quiet)
    except Exception as error:  # whatever does not start
        said = " ".join(str(error).split())[:300]
        raise MorelliError(f"Ray does not start ({said}). Leave out the actors, or check the address.") from error


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except Exception as error:  # a broken installation raises nearly anything
        raise MorelliError("judging by actors needs Ray: pip install 'morelli[cluster]'.") from error
    return ray
