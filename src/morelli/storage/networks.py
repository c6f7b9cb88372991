"""Networks that ship with the package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import nn

from morelli.features.denoiser import Denoiser
from morelli.features.perceptual import PerceptualNetwork
from morelli.numerics.state import State
from morelli.storage import bundle

KIND = "network"
SHIPPED = Path(str(files("morelli.weights")))


def default_perceptual() -> PerceptualNetwork:
    """Our own, in evaluation mode."""
    module = PerceptualNetwork()
    _load(module, SHIPPED / "perceptual")
    return module.eval()


def default_denoiser() -> Denoiser:
    """Our own, in evaluation mode."""
    module = Denoiser()
    _load(module, SHIPPED / "denoiser")
    return module.eval()


def save_network(module: nn.Module, path: Path, provenance: Mapping[str, Any], *, overwrite: bool = False) -> str:
    """Write a network's weights in half precision; returns the bundle's digest."""
    halves = {name: tensor.half() for name, tensor in module.state_dict().items()}
    settings = {"network": type(module).__name__, "provenance": dict(provenance)}
    return bundle.write(path, KIND, State(settings, halves), overwrite=overwrite)


def _load(module: nn.Module, path: Path) -> None:
    tensors = bundle.read(path, KIND).state.tensors
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
