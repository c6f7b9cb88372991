"""Two other people's latent decoders against each other, a fine-tuned copy, photographs, and decoders trained here.

Run: python experiments/latent/run.py     (after sources.py; five minutes on a CPU core, and an hour for the descent)
"""

import json
import runpy
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import protocol as p  # noqa: E402
import sources  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import Tensor  # noqa: E402

from morelli.attribution.attributor import Attributor, fit_attributor  # noqa: E402
from morelli.attribution.kinds import METHODS  # noqa: E402
from morelli.attribution.pooling import pooled_p_value  # noqa: E402
from morelli.detectors.distance import DistanceRecipe  # noqa: E402
from morelli.features.baselines import RawValues  # noqa: E402
from morelli.features.double_reconstruction import homogeneity  # noqa: E402
from morelli.features.protocol import Features  # noqa: E402
from morelli.numerics.file_form import FileForm  # noqa: E402
from morelli.numerics.metrics import auroc  # noqa: E402
from morelli.numerics.perturbations import parse  # noqa: E402

OWN, FOREIGN = 700, 80  # of 1,535 photographs; foreign images show others than the own ones
FEW_OWN, FEW_FOREIGN = 500, 40  # of those, for the second target and after JPEG
HELD_OUT, TESTED = 200, {OWN: 200, FEW_OWN: 100}  # of the own ones, in an order of its own for each draw
DESCENDED, FEWER_FOREIGN = 80, 12  # of what is searched for, which takes seconds each; half of the own ones calibrate
FEWER, ROUGHLY = (*sources.NAMES[:4], "photographs"), 0.025  # sources, and the rate that so few can promise
DRAWS, GROUP = (0, 1, 2), 4
SPEC = p.morelli.SampleSpec((3, sources.SIDE, sources.SIDE), 0.0, 1.0)
ZOO = ("latent-decoder", "vae-bilinear")
FEATURES = sources.KEPT / "features"
AT_ONCE = 10  # images after which what was found is kept


@cache
def head(target: str, *, whole: bool = False) -> p.morelli.Head:
    """For images of 64 pixels, not windows of larger ones."""
    model = p.morelli.load_autoencoder(p.DATA / f"generators/{target}_decoder.safetensors")
    images = sources.photographs()[order()[:32]].float() / 255
    latents = torch.cat([model.encode(some) for some in images.split(16)])
    decoder = p.morelli.LatentDecoder(model, latents, size=sources.SIDE, announce=lambda line: None)
    found = replace(decoder.head(32), form=FileForm(grid=0))
    return replace(found, autoencoder=decoder.program()) if whole else found


@cache
def order() -> Tensor:
    return torch.randperm(len(sources.photographs()), generator=torch.Generator().manual_seed(0))


@cache
def zoo(name: str) -> Tensor:
    return runpy.run_path(str(HERE.parent / "zoo/run.py"))["load"](name)(FOREIGN, 0)


def foreign(target: str) -> list[str]:
    return [name for name in (*sources.NAMES, "photographs", *ZOO) if name != target]


def few(target: str, condition: str) -> bool:
    return condition != "none" or target != sources.TARGETS[0]


def images(target: str, source: str, condition: str) -> Tensor:
    """[n, 3, 64, 64] in [0, 1], through eight bits and what happened to the files. "own": of the target."""
    if source in ZOO:
        pixels = zoo(source)
    elif source == "own":
        pixels = sources.decoded(target)[order()[:OWN]]
    else:
        pixels = sources.decoded(source)[order()[OWN : OWN + FOREIGN]]
    if few(target, condition):
        pixels = pixels[: FEW_OWN if source == "own" else FEW_FOREIGN]
    rng = torch.Generator().manual_seed(len(source))
    return p.from_eight_bits(parse(condition).apply(pixels, rng), SPEC)


def draws(target: str, condition: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Own images to train on, to hold out and to test with."""
    found, count = [], FEW_OWN if few(target, condition) else OWN
    for seed in DRAWS:
        mixed = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        found.append(mixed.split([count - HELD_OUT - TESTED[count], HELD_OUT, TESTED[count]]))
    return found


def losses(target: str, source: str, condition: str) -> dict[str, Features]:
    """Of both methods that encode and decode, from one pass."""
    FEATURES.mkdir(parents=True, exist_ok=True)
    file = FEATURES / f"{target} {source} {condition.replace(':', '')}.safetensors"
    if not file.exists():
        samples = images(target, source, condition)
        found = METHODS["reconstruction"].extractor(head(target, whole=True)).extract(samples)
        ratio = 2 * (found.notes["first"] / found.notes["second"]).log() + homogeneity(samples * 255).log()
        save_file({"reconstruction": found.values, "AEDR": ratio[:, None]}, file)
        print(file.stem, flush=True)
    return {n: Features(x, {"saturated": torch.zeros(len(x))}, ("",) * len(x)) for n, x in load_file(file).items()}


def descents(target: str, source: str, condition: str) -> Features:
    """The rest of the best latent; of JPEG files with what they say of themselves. Kept image by image."""
    FEATURES.mkdir(parents=True, exist_ok=True)
    pixels = images(target, source, "none")[: DESCENDED if source == "own" else FEWER_FOREIGN]
    extractor = METHODS["latent"].extractor(head(target, whole=True))
    found, file = [], FEATURES / f"{target} {source} {condition.replace(':', '')} latent.safetensors"
    kept = load_file(file)["values"] if file.exists() else torch.zeros(0, 3)
    with tempfile.TemporaryDirectory() as folder:
        for i, sample in enumerate(pixels[len(kept) :], len(kept)):
            image = Image.fromarray(p.to_eight_bits(sample[None], SPEC)[0].permute(1, 2, 0).numpy())
            path = Path(folder) / ("0.png" if condition == "none" else "0.jpg")
            image.save(path, quality=int(condition.partition(":")[2] or 0))
            read = p.read_all([path], SPEC)
            seen = extractor.extract(read.samples, facts=read.facts)
            found.append(torch.cat([seen.values[0], seen.notes["psnr"], torch.tensor([float(bool(seen.reasons[0]))])]))
            if len(found) == AT_ONCE or i + 1 == len(pixels):
                kept, found = torch.cat([kept, torch.stack(found)]), []
                save_file({"values": kept}, file)
    print(file.stem, flush=True)
    reasons = tuple("nothing can be said" if reason else "" for reason in kept[:, 2])
    return Features(kept[:, :1], {"saturated": torch.zeros(len(kept))}, reasons)


def part(features: Features, some: Tensor) -> Features:
    reasons = tuple(features.reasons[i] for i in some)
    return Features(features.values[some], {"saturated": torch.zeros(len(some))}, reasons)


def judged_descents(run: p.Run, target: str, condition: str) -> None:
    """Calibrated on own images in the very condition."""

    def cell() -> list[dict]:
        others = [name for name in foreign(target) if name in FEWER]
        sets = {name: descents(target, name, condition) for name in ("own", *others)}
        found = []
        for seed in DRAWS:
            mixed = torch.randperm(DESCENDED, generator=torch.Generator().manual_seed(seed))
            held, fresh = mixed.tensor_split(2)
            calibrating = part(sets["own"], held)
            recipe = METHODS["latent"].recipe(SPEC)
            attributor = fit_attributor(RawValues(SPEC), recipe, calibrating, None, calibrating, rate=ROUGHLY)
            tested = sets | {"own": part(sets["own"], fresh)}
            found.append(figures(attributor, {n: attributor.judge_features(x) for n, x in tested.items()}))
        return found

    run.cell(f"latent/{target}/{condition}", cell)


def judged_losses(run: p.Run, target: str, condition: str) -> None:
    """Trained and calibrated on own images in the very condition."""
    for method, recipe in (("AEDR", DistanceRecipe()), ("reconstruction", METHODS["reconstruction"].recipe(SPEC))):

        def cell(method: str = method, recipe: object = recipe) -> list[dict]:
            own, found = losses(target, "own", condition)[method], []
            others = {name: losses(target, name, condition)[method] for name in foreign(target)}
            for mine, held, fresh in draws(target, condition):
                parts = (part(own, some) for some in (mine, held))
                trained, calibrating = parts
                reader = RawValues(SPEC)  # reads nothing: features are at hand
                attributor = fit_attributor(reader, recipe, trained, None, calibrating, rate=p.RATE)
                sets = {"own": part(own, fresh)} | others
                found.append(figures(attributor, {n: attributor.judge_features(x) for n, x in sets.items()}))
            return found

        run.cell(f"{method}/{target}/{condition}", cell)


def figures(attributor: Attributor, verdicts: dict[str, list]) -> dict:
    """Attributed shares, of images and of four together, AUROC, and balanced accuracy of every pair."""
    found: dict = {"own": {"attributed": share(verdicts["own"]), "together": together(attributor, verdicts["own"])}}
    mine = torch.tensor([v.score for v in verdicts["own"]])
    for name in list(verdicts)[1:]:
        theirs, groups = share(verdicts[name]), together(attributor, verdicts[name])
        found[name] = {
            "attributed": theirs,
            "balanced": round((found["own"]["attributed"] + 1 - theirs) / 2, 4),
            "auroc": round(auroc(mine, torch.tensor([v.score for v in verdicts[name]])), 4),
            "together": groups,
            "balanced, together": round((found["own"]["together"] + 1 - groups) / 2, 4),
        }
    return found


def share(verdicts: list) -> float:
    return round(sum(v.outcome.value == "attributed" for v in verdicts) / len(verdicts), 4)


def together(attributor: Attributor, verdicts: list) -> float:
    """Share of groups of four that are attributed."""
    whole = [verdicts[i : i + GROUP] for i in range(0, len(verdicts) - GROUP + 1, GROUP)]
    return round(sum(pooled_p_value(attributor, group, seed=0) > attributor.rate for group in whole) / len(whole), 4)


def main() -> None:
    torch.set_grad_enabled(False)
    one, other = sources.TARGETS
    sizes = {"own": [OWN, FEW_OWN, DESCENDED], "foreign": [FOREIGN, FEW_FOREIGN, FEWER_FOREIGN]}
    sizes |= {"held out": HELD_OUT, "draws": DRAWS, "rate of the descent": ROUGHLY}
    run = p.Run(__file__, sizes | {"tested": list(TESTED.values()), "side": sources.SIDE})
    run.content["images"] = {name: sources.digest(name)[:16] for name in (*sources.NAMES, "photographs")}
    for target, condition in ((one, "none"), (other, "none"), (other, "jpeg:90")):
        judged_losses(run, target, condition)
    for target, condition in ((one, "none"), (other, "none"), (other, "jpeg:90")):
        judged_descents(run, target, condition)
    run.save()
    print(json.dumps({key: short(cell) for key, cell in run.content["cells"].items()}, indent=1))


def short(cell: list[dict]) -> dict:
    return {n: round(sum(c[n].get("balanced", c[n]["attributed"]) for c in cell) / len(cell), 4) for n in cell[0]}


if __name__ == "__main__":
    main()
