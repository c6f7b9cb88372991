"""Small GANs on disk, the ones that Morelli ships among them. Weights are kept in half precision."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn

from morelli.errors import MismatchError, UnreadableBundle
from morelli.generators.labels import DrawnLabel
from morelli.generators.small_gans import FAMILIES, build_generator
from morelli.numerics.state import State
from morelli.storage import bundle
from morelli.storage.networks import check_shapes

KIND = "small_gan"


def shipped_generators() -> list[str]:
    """Names of the generators that come with Morelli."""
    return sorted(entry.name for entry in files("morelli.demo").iterdir() if entry.is_dir() and entry.name[0] != "_")


def load_generator(name: str | Path) -> nn.Module:
    """A small GAN's generator, in evaluation mode: latent [n, 100, 1, 1] → samples [n, c, 64, 64] in [−1, 1].

    Samples are 128×128 if it was trained on such; the latent of a conditional one is [n, 101, 1, 1].

    Args:
        name: of a shipped generator (`clothing-dcgan`), or the path of a folder written by `save_generator`.
    Raises:
        UnreadableBundle: there is none, or it is damaged.
    """
    shipped = isinstance(name, str) and name in shipped_generators()
    path = Path(str(files("morelli.demo").joinpath(str(name)))) if shipped else Path(name)
    if not shipped and not path.exists():
        raise UnreadableBundle(f"there is no generator '{name}'; shipped are {', '.join(shipped_generators())}.")
    found = bundle.read(path, KIND)
    settings = found.state.settings
    try:
        size, classes = settings.get("size", 64), settings.get("classes", 0)
        sizes = settings["family"], settings["width"], settings["channels"], size
        check_shapes(lambda: build_generator(*sizes, classes=classes), found.state.tensors)
        module = build_generator(*sizes, classes=classes)
        module.load_state_dict({key: tensor.float() for key, tensor in found.state.tensors.items()})
    except (KeyError, TypeError, RuntimeError, MismatchError) as error:
        raise UnreadableBundle(f"{path}: not a small GAN ({str(error).splitlines()[0][:120]}).") from None
    return module.eval()


def save_generator(
    module: nn.Module,
    family: str,
    path: Path,
    provenance: Mapping[str, Any],
    *,
    size: int = 64,
    overwrite: bool = False,
) -> str:
    """Write a generator of one of the small GAN families in half precision; returns the bundle's digest."""
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    channels = convolutions[-1].out_channels
    width = convolutions[-1].in_channels
    classes = sum(len(layer.bounds) + 1 for layer in module.modules() if isinstance(layer, DrawnLabel))
    if family not in FAMILIES:
        raise UnreadableBundle(f"there is no family '{family}'; there are {', '.join(FAMILIES)}.")
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in module.state_dict().items()
    }
    if not all(torch.isfinite(tensor).all() for tensor in halves.values() if tensor.is_floating_point()):
        raise UnreadableBundle(f"the {family} generator's weights do not fit into half precision; it is not saved.")
    built = {"family": family, "width": width, "channels": channels, "size": size, "classes": classes}
    return bundle.write(path, KIND, State(built | {"provenance": dict(provenance)}, halves), overwrite=overwrite)
