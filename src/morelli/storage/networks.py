"""Networks that ship with the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morelli.errors import MismatchError
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


def check_shapes(build: Callable[[], nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Whether weights are of the network that settings ask for, before anything of that size is allocated.

    Raises MismatchError.
    """
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in expected.keys() | given.keys() if expected.get(name) != given.get(name))
    if wrong:
        shapes = f"'{wrong[0]}' is {given.get(wrong[0])}, and should be {expected.get(wrong[0])}"
        raise MismatchError(f"its weights are of another network: {shapes}")


def _load(module: nn.Module, path: Path) -> None:
    tensors = bundle.read(path, KIND).state.tensors
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
