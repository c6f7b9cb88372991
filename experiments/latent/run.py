"""Two other people's latent decoders against each other, a fine-tuned copy, photographs, and decoders trained here.

Run: python experiments/latent/run.py [pass …]     (after sources.py; each cell is computed once)
"""

import runpy
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import protocol as p  # noqa: E402
import sources  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from morelli.attribution.attributor import Attributor  # noqa: E402
from morelli.attribution.pooling import pooled_p_value  # noqa: E402
from morelli.numerics.metrics import auroc  # noqa: E402
from morelli.numerics.perturbations import parse  # noqa: E402

OWN, FOREIGN = 1200, 150  # of 1535 photographs; those that are left test
GROUP = 4
SPEC = p.morelli.SampleSpec((3, sources.SIDE, sources.SIDE), 0.0, 1.0)
TESTED = ("none", "jpeg:90", "jpeg:80", "noise:0.05")
KNOWN = ("none", "jpeg:86..98", "jpeg:70..86", "noise:0.01..0.05")  # of what imprints learn by themselves
DRAWS = (0, 1, 2)
FEW = {"own": 400, "test": 100, "foreign": 60}  # of AEDR, which takes a second for ten images
ZOO = ("latent-decoder", "vae-bilinear")
BASELINES = {
    "SM-F": {"method": "sm-f"},
    "RawPAD, LDA": {"method": "rawpad", "detector": "lda"},
    "closed form, LDA": {"method": "flipad", "detector": "lda", "inversion": "closed-form"},
}


def foreign(target: str) -> list[str]:
    return [name for name in (*sources.NAMES, "photographs", *ZOO) if name != target]


@cache
def zoo(name: str) -> Tensor:
    return runpy.run_path(str(HERE.parent / "zoo/run.py"))["load"](name)(FOREIGN, 0)


@cache
def head(target: str, *, whole: bool = False) -> p.morelli.Head:
    """Its anchor is over training photographs of no draw in particular: it decides nothing that is learned."""
    model = p.morelli.load_autoencoder(p.DATA / f"generators/{target}_decoder.safetensors")
    images = sources.photographs()[:64].float() / 255
    latents = torch.cat([model.encode(some) for some in images.split(16)])
    decoder = p.morelli.LatentDecoder(model, latents, size=sources.SIDE, announce=lambda line: None)
    found = replace(decoder.head(64), grid=0)  # images are whole
    return replace(found, autoencoder=decoder.program()) if whole else found


def split(draw: int) -> tuple[Tensor, Tensor]:
    """Which photographs are trained on and which are tested."""
    order = torch.randperm(len(sources.photographs()), generator=torch.Generator().manual_seed(draw))
    return order[:OWN], order[OWN:]


def after(pixels: Tensor, condition: str, seed: int) -> Tensor:
    return parse(condition).apply(pixels, torch.Generator().manual_seed(seed))


def tests(target: str, draw: int) -> dict[str, Tensor]:
    _, fresh = split(draw)
    found = {"own": sources.decoded(target)[fresh]}
    for name in foreign(target):
        found[name] = zoo(name) if name in ZOO else sources.decoded(name)[fresh[:FOREIGN]]
    return found


def judged(attributor: Attributor, pixels: Tensor, condition: str) -> list:
    facts = [{"coding": condition if condition.startswith("jpeg") else "none"}] * len(pixels)
    return attributor.judge(p.from_eight_bits(after(pixels, condition, len(pixels)), SPEC), facts)


def share(verdicts: list) -> float:
    return round(sum(v.outcome.value == "attributed" for v in verdicts) / len(verdicts), 4)


def figures(attributor: Attributor, sets: dict[str, Tensor], condition: str) -> dict:
    """Attributed shares, of images and of four together, AUROC, and balanced accuracy of every pair."""
    verdicts = {name: judged(attributor, pixels, condition) for name, pixels in sets.items()}
    found: dict = {"own": {"attributed": share(verdicts["own"]), "together": together(attributor, verdicts["own"])}}
    mine = torch.tensor([v.score for v in verdicts["own"]])
    for name in list(sets)[1:]:
        theirs = share(verdicts[name])
        found[name] = {
            "attributed": theirs,
            "balanced": round((found["own"]["attributed"] + 1 - theirs) / 2, 4),
            "auroc": round(auroc(mine, torch.tensor([v.score for v in verdicts[name]])), 4),
            "together": together(attributor, verdicts[name]),
        }
    return found


def together(attributor: Attributor, verdicts: list) -> float:
    """Share of groups of four that are attributed."""
    whole = [verdicts[i : i + GROUP] for i in range(0, len(verdicts) - GROUP + 1, GROUP)]
    return round(sum(pooled_p_value(attributor, group, seed=0) > p.RATE for group in whole) / len(whole), 4)


def imprints(run: p.Run, target: str, draw: int) -> None:
    def cell() -> dict:
        own = p.from_eight_bits(sources.decoded(target)[split(draw)[0]], SPEC)
        attributor = p.morelli.train(head(target), own, rate=p.RATE, perturb=KNOWN, seed=draw)
        sets = tests(target, draw)
        found = {condition: figures(attributor, sets, condition) for condition in TESTED}
        return {"separated": attributor.card["separated"]} | found

    run.cell(f"imprint/{target}/{draw}", cell)


def aedr(run: p.Run, target: str, condition: str) -> None:
    """Calibrated on own samples in the very condition."""

    def cell() -> dict:
        own = after(sources.decoded(target)[split(0)[0][: FEW["own"]]], condition, 0)
        attributor = p.morelli.train(
            head(target, whole=True), p.from_eight_bits(own, SPEC), method="aedr", rate=p.RATE
        )
        sets = {n: x[: FEW["test" if n == "own" else "foreign"]] for n, x in tests(target, 0).items()}
        return figures(attributor, sets, condition)

    run.cell(f"AEDR/{target}/{condition}", cell)


def baselines(run: p.Run, target: str, condition: str) -> None:
    """Trained and calibrated in the very condition, against the very photographs that the own samples show."""
    for name, settings in BASELINES.items():

        def cell(settings: dict = settings) -> dict:
            chosen = split(0)[0]
            own, other = (after(sources.decoded(n)[chosen], condition, 0) for n in (target, "photographs"))
            attributor = p.morelli.train(
                head(target), p.from_eight_bits(own, SPEC), p.from_eight_bits(other, SPEC), rate=p.RATE, **settings
            )
            sets = {n: x[: FEW["test" if n == "own" else "foreign"]] for n, x in tests(target, 0).items()}
            return figures(attributor, sets, condition)

        run.cell(f"{name}/{target}/{condition}", cell)


def main() -> None:
    torch.set_grad_enabled(False)
    settings = {"own": OWN, "foreign": FOREIGN, "tested": TESTED, "known": KNOWN, "few": FEW, "side": sources.SIDE}
    run = p.Run(__file__, settings)
    run.content["images"] = {name: sources.digest(name)[:16] for name in (*sources.NAMES, "photographs")}
    one, other = sources.TARGETS
    work = [
        *((imprints, target, 0) for target in (one, other)),
        *((aedr, target, "none") for target in (one, other)),
        *((baselines, target, "none") for target in (other, one)),
        *((imprints, target, draw) for draw in DRAWS[1:] for target in (other, one)),
        (aedr, other, "jpeg:90"),
        (baselines, other, "jpeg:90"),
        (aedr, one, "jpeg:90"),
    ]
    for each, *arguments in work:
        if sys.argv[1:] in ([], [each.__name__]):
            each(run, *arguments)
    run.save()


if __name__ == "__main__":
    main()
