"""Removal and forgery: can a generator's traces be taken off its images, or put on a photograph?

Run: python experiments/attacks/run.py            (interrupted, it goes on where it stopped)
     python experiments/attacks/table.py          (README, docs/attacks.md, plot and attack_card.json from run.json)

A cell is one attack at one strength on 25 images of each of three kinds, for one target and seed: own images to hide,
photographs and another GAN's images to forge. Every image goes through 8 bits and a file, and is judged by
`morelli.attribute` and `morelli.identify`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import blind  # noqa: E402
import protocol as p  # noqa: E402
from informed import ALL, FOUR, informed  # noqa: E402
from judging import verdicts  # noqa: E402
from keyed import keyed  # noqa: E402
from material import CACHE, METHODS, OWN, SEEDS, TARGETS, N, generators, tested  # noqa: E402
from strength import brought_to  # noqa: E402

SENSES = {"own": blind.HIDE, "photographs": blind.FORGE, "gan": blind.FORGE}
FREE, BOTH = (None,), (None, 35.0, 30.0)
AT = (35.0, 30.0)
FINE = (50.0, 45.0, 40.0, 35.0, 30.0)
SURROGATES = {"imprint": "imprint, clean only"}
LEARNT = 35.0  # decibels of the ball in which gradients are followed; a weaker attack is this change, scaled down


@dataclass(frozen=True)
class Attack:
    """`most` times its own change is made at most: 1 where the change replaces the image."""

    make: Callable[..., torch.Tensor]
    strengths: tuple[float | None, ...]
    most: float = 1.0
    jpeg: int | None = None


BLIND = {
    "nothing": Attack(blind.unchanged, FREE),
    "mean residual of 10": Attack(blind.fingerprint_of(10), AT, 64),
    "mean residual of 500": Attack(blind.fingerprint_of(500), AT, 64),
    "wavelet denoiser": Attack(blind.wavelets, BOTH, 4),
    "JPEG 75": Attack(blind.unchanged, FREE, jpeg=75),
    "JPEG 90": Attack(blind.unchanged, FREE, jpeg=90),
    "last layer": Attack(blind.last_layer, BOTH),
    "network denoiser": Attack(blind.denoised, BOTH, 4),
    "white noise": Attack(blind.noise, AT, 64),
    "resize 0.75 and back": Attack(blind.shrunk, BOTH),
    "own less real residual": Attack(blind.against_real, AT, 64),
    "multiplicative map": Attack(blind.multiplied, AT, 64),
    "median 3×3": Attack(blind.median, BOTH),
    "last two blocks": Attack(blind.last_blocks, BOTH),
    "rotate 2° and back": Attack(blind.rotated, BOTH),
    "spectrum of the residual": Attack(blind.spectrum, BOTH, 4),
    "crop and enlarge": Attack(blind.cropped, FREE),
    "JPEG 50": Attack(blind.unchanged, FREE, jpeg=50),
    "autoencoder": Attack(blind.autoencoded, BOTH),
    "average with near images": Attack(blind.averaged, AT),
}
INFORMED = ("imprint", "sm-f", "rawpad", "flipad", "gallery", ALL)


def of_attack(name: str, attack: Attack, target: str, seed: int, run: p.Run) -> None:
    """One cell for each strength; the change is worked out once."""
    made: dict[str, torch.Tensor] = {}
    known: list[tuple[dict[str, torch.Tensor], Any]] = []  # weaker than asked for at any strength: judged once
    sources = tested(target, seed)
    for decibels in attack.strengths:

        def judged(decibels: float | None = decibels) -> dict[str, Any]:
            if not made:
                made.update({source: attack.make(x, SENSES[source], target, seed) for source, x in sources.items()})
            changed = {source: brought_to(x, made[source], decibels, attack.most) for source, x in sources.items()}
            for images, cell in known:
                if all(torch.equal(images[source], x) for source, x in changed.items()):
                    return cell
            found = {s: verdicts(x, sources[s], target, seed, jpeg=attack.jpeg) for s, x in changed.items()}
            known.append((changed, found))
            return found

        run.cell(f"{target}/{seed}/{name}/{short(decibels)}", judged)


def of_gradient(method: str, target: str, seed: int, run: p.Run) -> None:
    """As above; at all strengths but one it is judged by the method whose gradient it was alone."""
    sources, make = tested(target, seed), informed(method)
    for decibels in FINE:

        def judged(decibels: float = decibels) -> dict[str, Any]:
            ball = min(decibels, LEARNT)
            file = CACHE / f"gradient-{target}-{seed}-{method}{'' if ball == LEARNT else f'-{ball:.0f}'}.pt"
            if not file.exists():
                torch.save({s: make(x, SENSES[s], target, seed, ball) for s, x in sources.items()}, file)
            made = torch.load(file, weights_only=True)
            changed = {source: brought_to(x, made[source], decibels) for source, x in sources.items()}
            judges = None if decibels == LEARNT else dict.fromkeys(FOUR if method == ALL else (method,), seed)
            return {s: verdicts(x, sources[s], target, seed, methods=judges) for s, x in changed.items()}

        run.cell(f"{target}/{seed}/gradient of {method}/{short(decibels)}", judged)


def of_transfer(method: str, target: str, seed: int, run: p.Run) -> None:
    """The gradient of an attributor that the attacker trained on own images and photographs of another seed.

    Of `imprint` without conditions, which takes a tenth of the time.
    """
    sources, other = tested(target, seed), SEEDS[1 - SEEDS.index(seed)]
    file, make = CACHE / f"transfer-{target}-{seed}-{method}.pt", informed(SURROGATES.get(method, method))
    for decibels in FINE:

        def judged(decibels: float = decibels) -> dict[str, Any]:
            if not file.exists():
                torch.save({s: make(x, SENSES[s], target, other, LEARNT) for s, x in sources.items()}, file)
            made = torch.load(file, weights_only=True)
            changed = {source: brought_to(x, made[source], decibels) for source, x in sources.items()}
            return {s: verdicts(x, sources[s], target, seed, methods={method: seed}) for s, x in changed.items()}

        run.cell(f"{target}/{seed}/transfer of {method}/{short(decibels)}", judged)


def short(decibels: float | None) -> str:
    return "own" if decibels is None else f"{decibels:.0f}"


def main(asked: list[str]) -> None:
    """All, or the passes and places named: blind, gradient, keyed, transfer; dcgan/0, …"""
    torch.set_grad_enabled(False)
    settings = {"methods": METHODS, "own": OWN, "tested": N, "targets": list(TARGETS), "gradient": LEARNT}
    run = p.Run(str(HERE / "run.py"), settings | {"seeds": list(SEEDS)})
    run.content["generators"] = {name: generator.digest() for name, generator in generators().items()}
    start, before = time.perf_counter(), run.content.get("seconds", 0)
    every = [f"{target}/{seed}" for seed in SEEDS for target in TARGETS]
    places = [place for place in every if place in asked] or every
    passes = [each for each in PASSES if each in asked] or PASSES
    for place in places:
        target, seed = place.split("/")[0], int(place.split("/")[1])
        for each in passes:
            PASSES[each](target, seed, run)
            run.content["seconds"] = round(before + time.perf_counter() - start)
            run.save()


def blindly(target: str, seed: int, run: p.Run) -> None:
    for name, attack in BLIND.items():
        of_attack(name, attack, target, seed, run)


def informedly(target: str, seed: int, run: p.Run) -> None:
    of_attack("nothing", BLIND["nothing"], target, seed, run)
    for method in INFORMED:
        of_gradient(method, target, seed, run)


def transferred(target: str, seed: int, run: p.Run) -> None:
    for method in INFORMED[:4]:
        of_transfer(method, target, seed, run)


PASSES = {"gradient": informedly, "transfer": transferred, "keyed": keyed, "blind": blindly}
if __name__ == "__main__":
    main(sys.argv[1:])
