"""What this machine is, what it could do, and how much memory a process holds."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from morelli._version import __version__
from morelli.numerics.linear import Dense, LinearMap, TransposedConv


def describe(quick: bool) -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "morelli": __version__,
        "quick": quick,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def flop_per_step(linear: LinearMap) -> int:
    """Of one `apply` and one `adjoint`, for one sample; a multiplication and an addition are two."""
    if isinstance(linear, Dense):
        once = 2 * linear.weight.numel()
    elif isinstance(linear, TransposedConv):
        once = 2 * linear.weight.numel() * math.prod(linear.in_shape[1:])
    else:
        once = 2 * linear.weight.numel() * math.prod(linear.out_shape[1:])
    return 2 * once


def best_seconds(run: Callable[[], object], repeats: int = 5) -> float:
    run()
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)


@cache
def gemm_rate(size: int = 1024) -> float:
    """FLOP a second of a square float32 matrix product."""
    a, b, out = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
    return 2 * size**3 / best_seconds(lambda: torch.mm(a, b, out=out))


@cache
def copy_rate(mebibytes: int = 128) -> float:
    """Bytes a second, read and written, of a copy that fits into no cache."""
    source = torch.zeros(mebibytes * 2**18)
    into = torch.zeros_like(source)
    return 2 * 4 * source.numel() / best_seconds(lambda: into.copy_(source))


def memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
