"""Toys of zero-shot attribution: fingerprints from a seed, pictures whose noise is filtered, and a network for them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, pad

from morelli.attribution.world import World
from morelli.features.fingerprint import Backbone, FingerprintExtractor, FingerprintNetwork
from morelli.storage.fingerprint_network import write_fingerprint_network

TINY = Backbone((8, 8, 8, 8), (1, 1, 1, 1), stem=8, dimensions=16)
WORLD = (48, 6)  # models, images; half of the models are the strangers


def models(count: int, images: int, seed: int, d: int = 16, within: float = 1.0) -> Tensor:
    """Fingerprints [count, images, d]: something that all have in common, a model's own, and an image's own."""
    rng = torch.Generator().manual_seed(seed)
    common = torch.zeros(d)
    common[0] = d**0.5
    own = torch.randn(count, 1, d, generator=rng)
    return common + own + within * torch.randn(count, images, d, generator=rng)


def world(values: Tensor, scoring: str = "distance") -> World:
    """The first half of these [models, images, d] teach what varies within a model, the second are the strangers."""
    half = len(values) // 2
    return World(values[:half], values[half:, None], scoring=scoring)


def pictures(model: int, count: int, side: int = 64, seed: int = 0) -> Tensor:
    """Noise, uint8 [count, 3, side, side], whose filters, strengths and ties of channels only depend on the model."""
    rng = torch.Generator().manual_seed(model)
    kernel, ties = torch.randn(3, 1, 3, 3, generator=rng), torch.randn(3, 3, generator=rng)
    strength = 3 * 12 ** torch.rand(3, generator=rng)
    noise = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1000 * model + seed + 1))
    made = conv2d(pad(noise, (1, 1, 1, 1), mode="circular"), kernel, groups=3)
    tied = torch.einsum("ij,njhw->nihw", ties, made)
    tied = tied / tied.std((0, 2, 3), keepdim=True) * strength[:, None, None]
    return (128 + tied).round().clamp(0, 255).to(torch.uint8)


def save_picture(pixels: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())).save(path)


def save_pictures(folder: Path, model: int, count: int, seed: int = 0) -> Path:
    for i, one in enumerate(pictures(model, count, seed=seed)):
        save_picture(one, folder / f"{i:02d}.png")
    return folder


def tiny_network(seed: int = 0) -> FingerprintNetwork:
    """Random weights, and statistics of pictures, so that what all have in common does not drown the rest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FingerprintNetwork(TINY).train()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        network(torch.cat([pictures(200 + i, 1) for i in range(48)]).float() / 255)
    return network.eval()


@cache
def tiny() -> tuple[FingerprintExtractor, World]:
    extractor = FingerprintExtractor(tiny_network())
    world = torch.stack([extractor.extract(list(pictures(100 + i, WORLD[1]))) for i in range(WORLD[0])])
    half = len(world) // 2
    return extractor, World(world[:half], world[half:, None])


def write_tiny(path: Path) -> Path:
    extractor, world = tiny()
    write_fingerprint_network(extractor, world.state(), path, {"data": "noise"})
    return path
