"""Fingerprints of every model's images, and of what its weights alone let us simulate; kept in runs/weights/features.

Run: python experiments/weights/features.py      (half an hour on one CPU core; interrupted, it goes on)
"""

import time
from dataclasses import asdict

import sources
import torch
from safetensors.torch import load_file, save_file
from sources import Model, p
from torch import Tensor

from morelli.app.galleries import open_network
from morelli.generators.simulation import SimulationSettings, Tail, copies, leaves, to_bytes

KEPT = p.ROOT / "runs/weights/features"
SETTINGS = SimulationSettings(images=12, steps=40, held=0.01)
NOISES = 8  # images of noise
POWER = 1.0  # of 1/f


def white(tail: Tail, seed: int = 1) -> Tensor:
    shape = NOISES, tail.channels, tail.side, tail.side
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pink(tail: Tail) -> Tensor:
    """1/f noise, each channel by itself, mean 0 and variance 1."""
    found = torch.fft.fft2(white(tail))
    line = torch.fft.fftfreq(tail.side)
    radius = (line[:, None] ** 2 + line**2).sqrt()
    radius[0, 0] = 1 / tail.side
    made = torch.fft.ifft2(found / radius**POWER).real
    return (made - made.mean((0, 2, 3), keepdim=True)) / made.std((0, 2, 3), keepdim=True)


@torch.no_grad()
def decoded(tail: Tail, activations: Tensor) -> Tensor:
    """Noise through the last blocks, brought to a batch norm's statistics where one comes first."""
    tail.module.eval()
    if tail.statistics is not None:
        mean, variance = (x[:, None, None] for x in tail.statistics)
        activations = mean + variance.sqrt() * activations
    return to_bytes(tail.pictures(activations))


def compute(model: Model, pictures: Tensor) -> dict[str, Tensor]:
    extractor = open_network()[0]
    tail = model.tail()
    made = {
        "true": model.images()[: sources.SHOWN],
        "white": decoded(tail, white(tail)),
        "pink": decoded(tail, pink(tail)),
        "fitted": copies(tail, SETTINGS, pictures),
    }
    return {name: extractor.extract(list(images)) for name, images in made.items()}


def of(model: Model) -> dict[str, Tensor]:
    return load_file(KEPT / f"{model.name}.safetensors")


def main() -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    pictures, start, count = leaves(8 * SETTINGS.images, SETTINGS.seed), time.process_time(), 0
    for group in (sources.real, sources.synthetic, sources.world, sources.trained):
        for model in group():
            path = KEPT / f"{model.name}.safetensors"
            if not path.exists():
                save_file(compute(model, pictures), path)
                count += 1
                print(f"{model.name}: {count}, {(time.process_time() - start) / count:.2f} CPU s each", flush=True)
    print("done", asdict(SETTINGS))


if __name__ == "__main__":
    main()
