"""What is found behind a vocoder's last layer: how much of the true activation an inversion recovers, and why.

Run: python experiments/audio/inversion.py      (after train.py)
"""

import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import protocol as p  # noqa: E402
import sources as s  # noqa: E402

from morelli.attribution.kinds import INVERSIONS  # noqa: E402
from morelli.features.inversion import Inversion  # noqa: E402
from morelli.numerics.sound_perturbations import sixteen_bits  # noqa: E402

FRAMES, CLIPS = 16, 8  # of 256 samples; a quarter of a second
KINDS = ("closed-form", "ridge", "steps")


def explained(guess: torch.Tensor, truth: torch.Tensor) -> float:
    """Share of the true activations' variation around the anchor."""
    return round(1 - float((guess - truth).square().sum() / truth.square().sum()), 4)


def recovered(name: str) -> dict:
    generator = s.generator(name, FRAMES)
    head = generator.head(64, 0)
    truth, samples = generator.activations(CLIPS, 1) - head.anchor, sixteen_bits(generator.samples(CLIPS, 1))
    weight = head.map.state().tensors["weight"][0].double()  # [channels, 7]
    response = torch.fft.rfft(weight, 512).abs().square().sum(0)  # of map·adjoint, by frequency
    found: dict = {"channels": len(weight), "response dB": [round(float(10 * x.log10()), 1) for x in response[::32]]}
    for kind in KINDS:
        features = INVERSIONS[kind](Inversion(head)).extract(samples).values
        found[kind] = {"explained": explained(features, truth)}
    z = INVERSIONS["closed-form"](Inversion(head)).extract(samples).values
    middle = slice(64, -64)
    wave = head.target(samples).double()[..., middle]
    again = head.map.apply(z).double()[..., middle]
    found["waveform back from the closed form, dB"] = round(
        float(10 * (wave.square().sum() / (wave - again).square().sum()).log10()), 1
    )
    found["below zero, true"] = round(float((truth + head.anchor < 0).float().mean()), 4)
    found["saturated"] = round(float(head.activation.saturated(samples).float().mean()), 6)
    return found


def main() -> None:
    torch.set_grad_enabled(False)
    run = p.Run(__file__, {"frames": FRAMES, "clips": CLIPS}, "run-inversion.json")
    run.content["settings"].pop("rows")
    for name in s.VOCODERS:
        if (s.FOLDER / f"{name}.vocoder").exists():
            print(name, run.cell(f"inversion/{name}", lambda name=name: recovered(name)), flush=True)
    run.save()


if __name__ == "__main__":
    main()
