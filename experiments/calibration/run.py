"""Likelihood ratios on real generators: calibrated on a declared population, tested on sources that were not in it.

Run: python experiments/calibration/run.py      (interrupted, it goes on where it stopped)
"""

import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import protocol as p  # noqa: E402

sys.path.insert(0, str(HERE.parent / "spectra"))
import models as spectra  # noqa: E402

from morelli.attribution.population import fit_population, measured  # noqa: E402
from morelli.numerics.calibration import benjamini_hochberg  # noqa: E402
from morelli.numerics.likelihood_ratio import KINDS, Scores  # noqa: E402
from morelli.numerics.perturbations import parse  # noqa: E402

TARGETS = ("lsgan-3", "dcgan-3")
CONDITIONS = ("none", "jpeg:70..86", "noise:0.05..0.12")  # experts
TESTED = ("none", "jpeg:80", "noise:0.1")
OWN, FRESH, EACH, TEST = 800, 150, 40, 40  # a quarter of OWN is held out
POPULATION = [f"{family}-{seed}" for family in p.FAMILIES for seed in (0, 1, 2)]
POPULATION += ["photographs", "faces-dcgan", "faces-wgan-gp"]
UNSEEN = [*(f"{family}-4" for family in p.FAMILIES), "faces-lsgan", "faces-ebgan", "celeba64_vae"]
PLACE = p.ROOT / "runs" / "calibration"
FDR = 0.1


def pixels(name: str, count: int, seed: int) -> torch.Tensor:
    """uint8, as files hold them."""
    if name == "photographs":
        return p.to_eight_bits(p.photographs("clothing64", 0, count, seed), p.SPEC)
    if name in spectra.VAES:
        return p.to_eight_bits(spectra.vae(name).samples(count, seed), spectra.UNIT)
    if name.startswith("faces-"):
        generator = p.loaded(p.ROOT / f"runs/celeba64/{name.removeprefix('faces-')}.generator")
    else:
        generator = p.loaded(p.ROOT / f"runs/seeds/{name}.generator")
    return p.to_eight_bits(generator.samples(count, seed), p.SPEC)


def written() -> Path:
    """The population as folders of PNG files, made once."""
    for name in POPULATION:
        folder = PLACE / "population" / name
        if folder.exists():
            continue
        partial = folder.with_name(f".{name}")
        partial.mkdir(parents=True, exist_ok=True)
        for i, sample in enumerate(p.from_eight_bits(pixels(name, EACH, 700), p.SPEC)):
            p.morelli.write_image(sample, partial / f"{i:03d}.png", p.SPEC)
        partial.rename(folder)
    return PLACE / "population"


def verdicts(attributor: p.Attributor, images: torch.Tensor, condition: str) -> list:
    changed = p.from_eight_bits(parse(condition).apply(images, torch.Generator().manual_seed(9)), p.SPEC)
    coding = condition if condition.startswith("jpeg") else "none"
    return attributor.judge(changed, [{"coding": coding}] * len(changed))


def told(found: list) -> dict:
    """Log10 ratios, and the share that is attributed, of those that are conclusive."""
    sure = [v for v in found if v.likelihood_ratio is not None]
    attributed = sum(v.outcome.value == "attributed" for v in sure) / max(1, len(sure))
    ratios = [round(v.likelihood_ratio["log10"], 3) for v in sure]
    return {"attributed": round(attributed, 4), "inconclusive": len(found) - len(sure), "log10": ratios}


def joined(found: dict) -> Scores:
    values = [torch.tensor(x["log10"], dtype=torch.float64) for x in found.values()]
    return Scores(torch.cat(values), torch.cat([torch.full((len(v),), i) for i, v in enumerate(values)]))


def calibrated(target: str) -> dict:
    path = PLACE / f"{target}.attributor"
    if not path.exists():
        head = p.head_of(p.loaded(p.ROOT / f"runs/seeds/{target}.generator"))
        own = p.from_eight_bits(pixels(target, OWN, 100), p.SPEC)
        p.morelli.train(head, own, rate=p.RATE, perturb=CONDITIONS, out=path)
    out = PLACE / f"{target}-calibrated.attributor"
    attributor = p.morelli.calibrate(path, written(), out=out, leave_source_out=True, copies=EACH, overwrite=True)
    about = attributor.population.about(p.RATE)
    found: dict = {"population": {k: v for k, v in about.items() if k != "made"}}
    found["left out"] = {
        where: [[round(x, 3) for x in side.values.tolist()] for side in attributor.population.validated(where)]
        for where in about["conditions"]
    }
    for condition in TESTED:
        own = verdicts(attributor, pixels(target, FRESH, 800), condition)
        foreign = {name: verdicts(attributor, pixels(name, TEST, 801), condition) for name in UNSEEN}
        cell = {"own": told(own), "unseen": {name: told(v) for name, v in foreign.items()}}
        cell["measures"] = measured(joined({"own": cell["own"]}), joined(cell["unseen"]))
        queue = [(v.p_value, True) for v in own[:30] if v.p_value is not None]
        queue += [(v.p_value, False) for each in foreign.values() for v in each if v.p_value is not None]
        called = benjamini_hochberg(torch.tensor([chance for chance, _ in queue]), FDR).tolist()
        mine = sum(is_own and yes for (_, is_own), yes in zip(queue, called, strict=True))
        cell["queue"] = {"samples": len(queue), "own": 30, "called": sum(called), "own called": mine}
        found[condition] = cell
    return found


def by_kind(target: str) -> dict:
    """The three calibrators on the same judged samples, each source left out in turn."""
    known = p.morelli.load(PLACE / f"{target}-calibrated.attributor").population
    found = {}
    for kind in KINDS:
        again = fit_population(known.own, known.judged, kind, leave_source_out=True)
        found[kind] = {where: measured(*again.validated(where)) for where in again.ratios}
    return found


def main() -> None:
    torch.set_grad_enabled(False)
    settings = {"conditions": CONDITIONS, "own": OWN, "fresh": FRESH, "each": EACH, "test": TEST, "fdr": FDR}
    run = p.Run(__file__, settings | {"population": POPULATION, "unseen": UNSEEN})
    for target in TARGETS:
        run.cell(target, lambda target=target: calibrated(target))
        run.cell(f"{target}/calibrators", lambda target=target: by_kind(target))
    run.save()


if __name__ == "__main__":
    main()
