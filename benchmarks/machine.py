"""What this machine is and could do, and what a run costs on it: seconds and bytes."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from morelli._version import __version__
from morelli.numerics.linear import Dense, LinearMap, TransposedConv

T = TypeVar("T")
RESET = Path("/proc/self/clear_refs")  # writing 5 resets VmHWM, the high-water mark of the resident set


def describe(device: str) -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": torch.get_num_threads(),
        "convolutions_in_tf32": device == "cuda" and torch.backends.cudnn.allow_tf32,
        "torch": torch.__version__,
        "morelli": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def timed(run: Callable[[], T], device: str = "cpu") -> tuple[float, T]:
    """Seconds until everything `run` started on the device is done, and its result."""
    started = time.perf_counter()
    found = run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started, found


@dataclass(frozen=True, eq=False)
class Cost(Generic[T]):
    """Of one run. `bytes`: by how much the most memory held during it exceeds that held before; None if not known."""

    seconds: float
    bytes: int | None
    value: T


def cost(run: Callable[[], T], device: str = "cpu") -> Cost[T]:
    """On a GPU the bytes are those of its tensors; on a CPU those of the process, which Linux alone tells."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        seconds, value = timed(run, device)
        return Cost(seconds, torch.cuda.max_memory_allocated() - held, value)
    if not RESET.exists():
        return Cost(*_without_bytes(run))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # gives freed memory back, so that using it again is seen
    RESET.write_text("5")
    held = _resident("VmRSS")
    seconds, value = timed(run)
    return Cost(seconds, max(0, _resident("VmHWM") - held), value)


def _without_bytes(run: Callable[[], T]) -> tuple[float, None, T]:
    seconds, value = timed(run)
    return seconds, None, value


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def flop_per_step(linear: LinearMap) -> int:
    """Of one `apply` and one `adjoint`, for one sample; a multiplication and an addition are two."""
    if isinstance(linear, Dense):
        once = 2 * linear.weight.numel()
    elif isinstance(linear, TransposedConv):
        once = 2 * linear.weight.numel() * math.prod(linear.in_shape[1:])
    else:
        once = 2 * linear.weight.numel() * math.prod(linear.out_shape[1:])  # type: ignore[attr-defined]
    return 2 * once


def floor(linear: LinearMap, device: str) -> dict[str, float]:
    """Least seconds a step and sample: by the arithmetic of `apply` and `adjoint`, and by two passes over u."""
    flop, passes = flop_per_step(linear), 2 * 4 * math.prod(linear.in_shape)
    rate, bandwidth = gemm_rate(device), copy_rate(device)
    return {
        "flop_per_step": flop,
        "gemm_flop_per_second": rate,
        "copy_bytes_per_second": bandwidth,
        "arithmetic_seconds": flop / rate,
        "bandwidth_seconds": passes / bandwidth,
    }


@cache
def gemm_rate(device: str) -> float:
    """FLOP a second of a square float32 matrix product."""
    size = 8192 if device == "cuda" else 1024
    a, b, out = (torch.rand(size, size, device=device) for _ in range(3))
    return 2 * size**3 / _best_seconds(lambda: torch.mm(a, b, out=out), device)


@cache
def copy_rate(device: str) -> float:
    """Bytes a second, read and written, of a copy that fits into no cache."""
    source = torch.zeros((1024 if device == "cuda" else 128) * 2**18, device=device)
    into = torch.zeros_like(source)
    return 2 * 4 * source.numel() / _best_seconds(lambda: into.copy_(source), device)


def _best_seconds(run: Callable[[], object], device: str, repeats: int = 5) -> float:
    timed(run, device)
    return min(timed(run, device)[0] for _ in range(repeats))
