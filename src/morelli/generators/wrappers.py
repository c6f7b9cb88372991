"""What people put around a module: parallel, compiled and averaging wrappers. The module inside makes the samples."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

COMPILED = "_orig_mod."
WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside all wrappers, so that its digest and its layers' names do not depend on them."""
    while isinstance(module, WRAPPERS) or hasattr(module, "_orig_mod"):
        module = module.module if isinstance(module, WRAPPERS) else module._orig_mod  # type: ignore[assignment]
    return module


def precision(module: nn.Module) -> torch.dtype:
    """What floating inputs are cast to: the type of the module's first floating weight."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, nothing compiled; each layer's own mode restored after."""
    modes = [(inner, inner.training) for inner in module.modules() if hasattr(inner, "training")]
    with suppress(NotImplementedError):  # modules made by torch.export: their mode was fixed then
        module.eval()
    try:
        # a compiled part cannot exist before its compiler was imported, which takes seconds
        with torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext():
            yield
    finally:
        for inner, training in modes:
            if inner.training != training:
                inner.training = training
