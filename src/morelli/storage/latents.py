"""Latents on disk: .npy or safetensors, nothing that runs code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from morelli.errors import UnreadableSample

SUFFIXES = (".npy", ".safetensors")


def read_latents(path: Path) -> Tensor:
    """Float32 [n, channels, h, w]: an array, or all tensors of a safetensors file in the order of their names.

    Three dimensions are one latent. Raises UnreadableSample for anything else.
    """
    try:
        if path.suffix == ".npy":
            parts = [torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))]
        else:
            parts = [tensor.float() for _, tensor in sorted(load_file(path).items())]
    except Exception as error:  # the header of .npy is parsed as Python, and fails as that does
        reason = f"{type(error).__name__}: {error}"[:100]
        raise UnreadableSample(f"{path.name} holds no latents ({reason}); expected .npy or safetensors.") from None
    parts = [part[None] if part.ndim == 3 else part for part in parts]
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) != 1 or any(part.ndim != 4 for part in parts):
        raise UnreadableSample(
            f"{path.name} holds tensors of {sorted(shapes)[:3]}; expected latents [n, channels, h, w], all of one size."
        )
    found = torch.cat(parts)
    if not len(found) or not found.isfinite().all():
        raise UnreadableSample(f"{path.name} holds no latents, or some that are not finite. Write it again.")
    return found
