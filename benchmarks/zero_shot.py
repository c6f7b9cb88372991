"""Zero-shot attribution: synthetic generators trained per minute and pictures fingerprinted per second, as ratios.

Run: python benchmarks/zero_shot.py [--device cpu | cuda] [--json FILE]
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from machine import describe, timed

from morelli.features.fingerprint import RESNET_50, FingerprintExtractor, FingerprintNetwork
from morelli.features.protocol import SampleSpec
from morelli.features.residual import NoiseResidual
from morelli.generators.bank_training import BankSettings, train_together
from morelli.generators.synthetic import PAPER
from morelli.storage.fingerprint_network import read_fingerprint_network

SEEDS, STEPS, IMAGES = 8, 30, 128
BLUEPRINTS = (PAPER[60], PAPER[200])  # one and two blocks


def seconds(work: Callable[[], object], device: str) -> float:
    """The shorter of two runs, after one that is not counted."""
    return min([timed(work, device)[0] for _ in range(3)][1:])


def bank(device: str) -> dict[str, float]:
    """Models per minute, at STEPS steps each: one at a time in float32, then in bfloat16, then all seeds at once."""
    photographs = torch.rand(64, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(device)
    groups = {"one at a time": [[seed] for seed in range(SEEDS)], "together": [list(range(SEEDS))]}
    found = {}
    for precision, bf16 in (("float32", False), ("bfloat16", True)):
        settings = BankSettings(residual=0.0, most_steps=STEPS, bf16=bf16)
        for name, seeds in groups.items():

            def work(seeds: list = seeds, settings: BankSettings = settings) -> None:
                for blueprint in BLUEPRINTS:
                    for some in seeds:
                        train_together(blueprint, some, photographs, settings)

            found[f"{name}, {precision}"] = 60 * SEEDS * len(BLUEPRINTS) / seconds(work, device)
    return found


def fingerprinting(device: str) -> dict[str, float]:
    """Pictures of 64×64 per second."""
    pixels = torch.randint(256, (IMAGES, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shipped, _ = read_fingerprint_network()
    paper = FingerprintExtractor(FingerprintNetwork(RESNET_50).eval())
    residual = NoiseResidual(SampleSpec((3, 64, 64), 0.0, 255.0))
    shipped.network.to(device)
    paper.network.to(device)
    images = list(pixels)
    found = {"SM-F residual": IMAGES / seconds(lambda: residual.extract(pixels.float()), "cpu")}
    found["ResNet-50, one at a time"] = IMAGES / 8 / seconds(lambda: paper.extract(images[: IMAGES // 8]), device)
    found["shipped network, one at a time"] = IMAGES / seconds(lambda: shipped.extract(images), device)
    windows = pixels.to(device).float() / 255
    found["shipped network, in batches"] = IMAGES / seconds(
        lambda: [shipped.network(some) for some in windows.split(64)], device
    )
    return found


def shown(title: str, rates: dict[str, float], unit: str) -> None:
    first = next(iter(rates.values()))
    print(title)
    for name, rate in rates.items():
        print(f"  {name:32s} {rate:10.1f} {unit}   {rate / first:6.2f} × the first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    report = {"machine": describe(given.device), "models per minute": bank(given.device)}
    with torch.no_grad():
        report["pictures per second"] = fingerprinting(given.device)
    shown(f"synthetic generators of {STEPS} steps of 8 images, 64×64", report["models per minute"], "models/min")
    shown("fingerprints of 64×64 pictures", report["pictures per second"], "pictures/s")
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
