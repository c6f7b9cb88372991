"""Train the perceptual network that ships, without labels: two views of one photograph should agree, others not.

Run: python experiments/perceptual/run.py          (about 6 minutes on one CPU core)
Source: Chen et al., A simple framework for contrastive learning, ICML 2020 (the loss), on a far smaller scale.
"""

import json
import os
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, normalize

import morelli
from morelli.features.perceptual import WIDTHS, PerceptualNetwork
from morelli.storage.networks import SHIPPED, save_network
from morelli.storage.samples import find, read_all

DATA = Path(os.environ.get("MORELLI_DATA", "../shared/data")) / "clothing64"  # CC0
HERE = Path(__file__).parent
SEED, STEPS, BATCH, RATE, TEMPERATURE, CROP, VALIDATION = 0, 600, 64, 1e-3, 0.1, 48, 381


def views(images: Tensor, rng: torch.Generator) -> Tensor:
    """A random crop, mirrored or not, with other brightness, contrast and colour."""
    n = len(images)
    side = int(torch.randint(CROP, 65, (), generator=rng))
    top, left = torch.randint(0, 65 - side, (2,), generator=rng).tolist()
    found = interpolate(images[..., top : top + side, left : left + side], (CROP, CROP), mode="bilinear")
    mirrored = torch.rand(n, generator=rng) < 0.5
    found = torch.where(mirrored[:, None, None, None], found.flip(3), found)
    gain = 1 + 0.4 * (torch.rand(n, 3, 1, 1, generator=rng) - 0.5)
    return (found * gain + 0.4 * (torch.rand(n, 3, 1, 1, generator=rng) - 0.5)).clamp(-1, 1)


def loss_of(network: nn.Module, project: nn.Module, images: Tensor, rng: torch.Generator) -> tuple[Tensor, float]:
    """Cross-entropy of finding one's other view among all, and how often that succeeds."""
    codes = [normalize(project(network(views(images, rng)).relu().mean((2, 3)))) for _ in range(2)]
    likeness = codes[0] @ codes[1].T / TEMPERATURE
    right = torch.arange(len(images))
    loss = (cross_entropy(likeness, right) + cross_entropy(likeness.T, right)) / 2
    return loss, float((likeness.argmax(1) == right).double().mean())


def main() -> None:
    images = read_all(find(DATA), morelli.SampleSpec((3, 64, 64))).samples
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    held_out, images = images[order[:VALIDATION]], images[order[VALIDATION:]]
    torch.manual_seed(SEED)
    network, project = PerceptualNetwork(), nn.Sequential(nn.Linear(WIDTHS[-1], 128), nn.ReLU(), nn.Linear(128, 64))
    adam = torch.optim.Adam([*network.parameters(), *project.parameters()], RATE)
    rng, start = torch.Generator().manual_seed(SEED), time.perf_counter()
    for step in range(STEPS):
        loss, found = loss_of(network, project, images[torch.randint(len(images), (BATCH,), generator=rng)], rng)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 50 == 49:
            print(step + 1, round(loss.item(), 3), round(found, 3), f"{time.perf_counter() - start:.0f} s", flush=True)
    with torch.no_grad():
        rng = torch.Generator().manual_seed(SEED + 1)
        accuracy = sum(loss_of(network, project, batch, rng)[1] for batch in held_out.split(BATCH)[:-1]) / 5
        features = network(images[:500])
        network.spread.copy_(features.std((0, 2, 3)).clamp_min(1e-3))
    about = {"data": DATA.name, "licence": "CC0", "images": len(images), "seed": SEED, "steps": STEPS, "batch": BATCH}
    about |= {"found among 64, held out": round(accuracy, 4), "seconds": round(time.perf_counter() - start)}
    digest = save_network(network, SHIPPED / "perceptual", about, overwrite=True)
    (HERE / "run.json").write_text(json.dumps(about | {"sha256 of manifest": digest}, indent=1) + "\n")


if __name__ == "__main__":
    main()
