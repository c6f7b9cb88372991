"""The default method against the others: siblings, corruption, little data, and what each part of it is worth.

Run: python experiments/imprint/run.py [pass …]      (interrupted, it goes on where it stopped)

Settings were chosen on seeds 0 to 2 of the small GANs of clothes and on one VAE; what is judged here are seeds 3 and 4,
the GANs of faces and the other VAE.
"""

import io
import runpy
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from safetensors.torch import load as parse_tensors

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import protocol as p  # noqa: E402

sys.path[:0] = [str(HERE), str(HERE.parent / "spectra")]
import models as spectra  # noqa: E402
from sizes import SIZES, Make  # noqa: E402
from table import kin  # noqa: E402

from morelli.app.imprinting import CONDITIONS, misplaced  # noqa: E402
from morelli.attribution.attributor import Attributor  # noqa: E402
from morelli.attribution.pooling import pooled_p_value  # noqa: E402
from morelli.detectors.ridge import RidgeRecipe  # noqa: E402
from morelli.detectors.stacked import StackedRecipe  # noqa: E402
from morelli.features.imprint import Imprint  # noqa: E402
from morelli.numerics.calibration import threshold  # noqa: E402
from morelli.numerics.metrics import auroc  # noqa: E402
from morelli.numerics.perturbations import parse  # noqa: E402
from morelli.storage.images import decode  # noqa: E402

UNSEEN = ("jpeg:60", "gamma:0.9")  # what no expert was trained for
OWN, TEST, FOREIGN = 1400, 200, 100  # 399 of the own ones are held out
LEARNED = ("none", "jpeg:90", "jpeg:80", "noise:0.1", "blur:3", "crop:55", "part:55", "resize:0.75", "resize:2")
TESTED = (*LEARNED, "mirrored", *UNSEEN)
HARD = ("jpeg:90", "jpeg:80", "noise:0.1", "crop:55")  # where siblings pass
LITTLE = (200, 500, 1000)
BASELINES = ("SM-F", "closed form, LDA", "RawPAD", "DCTPAD")
SLOW = {"FLIPAD": False, "SM-Inv₂": True}  # with fewer samples
SEARCHED = 199, 20, 10, ("none", "jpeg:80", "noise:0.1")  # own that calibrate; own and foreign judged, each; in files
FEWEST = {"lsgan-3": 4}  # foreign, where a search takes half a minute
FEWER = {"held": 199, "own": 50, "foreign": 25}
GROUP = 4  # images of one source that are pooled
TARGETS = [f"{family}-{seed}" for seed in (3, 4) for family in p.FAMILIES]
FACES = [f"faces-{family}" for family in p.FAMILIES]
VAE = "celeba64_betavae"
TEACHERS = {"lsgan-3": "lsgan-2", "lsgan-4": "lsgan-3"}
ZOO, ALSO = ("vae-bilinear", "vae-shuffle"), ("vae-patches", "flow", "diffusion", "latent-decoder")  # ends that differ
FEW = [*TARGETS[:4], VAE]  # for what is dear, or only explains


@cache
def zoo() -> dict:
    return runpy.run_path(str(HERE.parent / "zoo/run.py"))


def generator(name: str) -> p.morelli.TorchGenerator:
    if name in ZOO:
        vae = zoo()["MODELS"][name][0]().eval()
        vae.load_state_dict(parse_tensors(zoo()["path"](name).read_bytes()))
        ended = torch.nn.Sequential(vae.decoder, torch.nn.Hardtanh(0.0, 1.0))
        return p.morelli.TorchGenerator(ended, vae.latent, announce=lambda line: None)
    if name.startswith("faces-"):
        return p.loaded(p.ROOT / f"runs/celeba64/{name.removeprefix('faces-')}.generator")
    return spectra.vae(name) if name in spectra.VAES else p.generators("seeds")[name]


def spec_of(name: str) -> p.morelli.SampleSpec:
    return spectra.UNIT if name in spectra.VAES + ZOO else p.SPEC


def others(name: str) -> list[str]:
    """Siblings first."""
    if name == VAE:
        return ["celeba64_vae", "faces-dcgan", "dcgan-0"]
    if name in ZOO:
        return [*(other for other in (*ZOO, *ALSO) if other != name), "dcgan-0"]
    if name in FACES:
        return [face for face in FACES if face != name] + ["celeba64_vae"]
    family = name.rsplit("-", 1)[0]
    siblings = [f"{family}-{seed}" for seed in (4, 3, 2, 1) if f"{family}-{seed}" != name]
    return siblings + [f"{other}-0" for other in p.FAMILIES if other != family][:2]


def pixels(name: str, count: int, seed: int) -> torch.Tensor:
    if name == "photographs":
        return p.to_eight_bits(p.photographs("clothing64", 0, count, seed), p.SPEC)
    if name in ALSO:
        return zoo()["load"](name)(count, seed)
    return p.to_eight_bits(generator(name).samples(count, seed), spec_of(name))


def after(images: torch.Tensor, condition: str, seed: int) -> torch.Tensor:
    if condition == "mirrored":
        return images.flip(3)
    return parse(condition).apply(images, torch.Generator().manual_seed(seed))


def facts_of(condition: str, count: int) -> list[dict]:
    return [{"coding": condition if condition.startswith("jpeg") else "none"}] * count


def tests(name: str, foreign: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    foreign = foreign or [*others(name), *([] if name in FACES or name == VAE else ["photographs"])]
    return {n: pixels(n, FOREIGN, 300) for n in foreign} | {"own": pixels(name, TEST, 301)}


def trained(name: str, own: torch.Tensor, *, whole: bool = False, **settings: object) -> tuple[Attributor, float]:
    head, start = p.head_of(generator(name), whole=whole), time.perf_counter()
    return p.morelli.train(head, p.from_eight_bits(own, spec_of(name)), rate=p.RATE, **settings), round(
        time.perf_counter() - start, 1
    )


def verdicts(attributor: Attributor, images: torch.Tensor, condition: str, spec: p.morelli.SampleSpec) -> list:
    changed = p.from_eight_bits(after(images, condition, 7), spec)
    return attributor.judge(changed, facts_of(condition, len(changed)))


def share(found: list) -> float:
    return round(sum(v.outcome.value == "attributed" for v in found) / len(found), 4)


def imprints(run: p.Run, name: str) -> None:
    """Attributed shares of every source after everything that may happen, one image at a time and four together."""
    run.cell(f"imprint/{name}", lambda: shares(name, TESTED))


def whole(run: p.Run, name: str) -> None:
    """The same of heads that hold the whole generator, by which images are made again."""
    run.cell(f"whole/{name}", lambda: shares(name, (*LEARNED, "mirrored"), whole=True))


def upright(run: p.Run, name: str) -> None:
    """The same of attributors that look at no other orientation."""
    run.cell(f"upright/{name}", lambda: shares(name, LEARNED, upright=True))


def taught(run: p.Run, name: str) -> None:
    """With images of one sibling to learn from, beside the own ones turned or alone; other siblings are judged."""
    teacher = TEACHERS[name]
    foreign = [*(n for n in others(name) if kin(name, n) and n != teacher), VAE, "photographs"]
    other = p.from_eight_bits(pixels(teacher, 1000, 500), spec_of(name))
    for turned in (True, False):

        def judged(turned: bool = turned) -> dict:
            return shares(name, LEARNED, foreign, other=other, turned=turned)

        run.cell(f"taught/{name}/{'both' if turned else 'alone'}", judged)


def others_too(run: p.Run, name: str) -> None:
    """Generators that are no GANs, every other one of which is foreign."""
    run.cell(f"zoo/{name}", lambda: shares(name, ("none", "jpeg:90", "jpeg:80", "noise:0.1")))


def shares(name: str, conditions: Sequence[str], foreign: Sequence[str] = (), **settings: object) -> dict:
    spec, sources = spec_of(name), tests(name, foreign)
    attributor, seconds = trained(name, pixels(name, OWN, 100), **settings)
    found: dict = {"seconds": seconds, "separated": attributor.card["separated"]}
    for condition in conditions:
        single = {n: verdicts(attributor, x, condition, spec) for n, x in sources.items()}
        found[condition] = {n: share(v) for n, v in single.items()}
        found[f"{condition}, {GROUP} together"] = {n: together(attributor, v) for n, v in single.items()}
    return found


def together(attributor: Attributor, found: list) -> float:
    """Share of groups that are attributed."""
    chances = [
        pooled_p_value(attributor, found[start : start + GROUP], seed=0) for start in range(0, len(found), GROUP)
    ]
    return round(sum(chance > p.RATE for chance in chances) / len(chances), 4)


def search(run: p.Run, name: str) -> None:
    """Attributed by imprint, by a search through the whole generator, and by both."""
    run.cell(f"search/{name}", lambda: searched(name))


def searched(name: str) -> dict:
    spec, own = spec_of(name), p.from_eight_bits(pixels(name, OWN, 100), spec_of(name))
    head = p.head_of(generator(name), whole=True)
    first = p.morelli.train(head, own, rate=p.RATE, method="imprint", whole=False)
    known, mine, theirs, conditions = SEARCHED
    other = p.morelli.train(head, own[:known], rate=p.RATE, method="latent")
    siblings = [n for n in others(name) if kin(name, n)][:2]
    sources = {n: x[: mine if n == "own" else FEWEST.get(name, theirs)] for n, x in tests(name, siblings).items()}
    found: dict = {"threshold": round(other.threshold, 4)}
    for condition in conditions:
        found[condition] = {}
        for n, x in sources.items():
            given, start = read_again(x, condition, spec), time.perf_counter()
            judged = other.judge(*given)
            seconds = round((time.perf_counter() - start) / len(x), 2)
            seen = first.judge(*given)
            both = [a for a, b in zip(seen, judged, strict=True) if b.outcome.value == "attributed"]
            shares = share(seen), share(judged), round(share(both) * len(both) / len(x), 4) if both else 0.0
            scores = sorted(round(each.score, 3) for each in judged if each.score is not None)
            found[condition][n] = {"attributed": shares, "scores": scores, "seconds": seconds}
    return found


def read_again(images: torch.Tensor, condition: str, spec: p.morelli.SampleSpec) -> tuple[torch.Tensor, list[dict]]:
    """Samples as their files give them, with what a JPEG file tells."""
    if not condition.startswith("jpeg:"):
        return p.from_eight_bits(after(images, condition, 7), spec), facts_of(condition, len(images))
    read = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=int(condition.split(":")[1]))
        read.append(decode(file.getvalue(), spec, 10**6))
    return torch.cat([sample for sample, _ in read]), [facts for _, facts in read]


def sizes(run: p.Run, name: str) -> None:
    """Files of other sizes: cut out anywhere, reduced or enlarged, mostly by other filters than those that trained."""

    def judged() -> dict:
        siblings = [n for n in others(name) if kin(name, n)][:2]
        sources = {n: pixels(n, FOREIGN // 2, 300) for n in (*siblings, "dcgan-0")}
        sources["own"] = pixels(name, FOREIGN, 301)
        attributor, _ = trained(name, pixels(name, OWN, 100))
        with TemporaryDirectory() as folder:
            return {
                kind: {n: told(attributor, images, make, Path(folder) / f"{kind} {n}") for n, images in sources.items()}
                for kind, make in SIZES.items()
            }

    run.cell(f"sizes/{name}", judged)


def told(attributor: Attributor, images: torch.Tensor, make: Make, folder: Path) -> dict[str, float]:
    """Shares that are attributed and inconclusive."""
    folder.mkdir()
    rng = torch.Generator().manual_seed(9)
    for i, image in enumerate(images):
        make(image, rng).save(folder / f"{i:03}.png")
    found = [each.verdict.outcome.value for each in p.morelli.attribute(folder, attributor).judged]
    return {outcome: round(found.count(outcome) / len(found), 4) for outcome in ("attributed", "inconclusive")}


def baselines(run: p.Run, name: str) -> None:
    """The others have photographs to train on, which the imprint does without."""
    with torch.enable_grad():  # for Deep SAD
        run.cell(f"baselines/{name}", lambda: compared(name, BASELINES))


def slow(run: p.Run, name: str) -> None:
    """The paper's own method, and its strongest other one on fewer samples."""
    with torch.enable_grad():
        for row, few in SLOW.items():
            run.cell(f"slow/{name}/{row}", lambda row=row, few=few: compared(name, (row,), few=few))


def compared(name: str, rows: tuple[str, ...], *, few: bool = False) -> dict:
    """Attributed shares of every source by each row's method."""
    head, sources = p.head_of(generator(name), whole=few), tests(name)
    own = p.from_eight_bits(pixels(name, OWN, 100), spec_of(name))
    real = p.photographs("celeba64" if name == VAE else "clothing64", 500, 1000, 5)
    if name == VAE:
        real = p.from_eight_bits(p.to_eight_bits(real, p.SPEC), spectra.UNIT)
    drawn = {"own": own[:1000], "held": own[1000:], "photographs": real}
    parts = {n: p.from_eight_bits(x, spec_of(name)) for n, x in sources.items()}
    if few:
        drawn = {n: x[: FEWER["held"] if n == "held" else 0] for n, x in drawn.items()}
        parts = {n: x[: FEWER["own" if n == "own" else "foreign"]] for n, x in parts.items()}
    found = {}
    for row, attributor, _ in p.fitted(rows, head, drawn):
        found[row] = {n: share(attributor.judge(x)) for n, x in parts.items()}
    return found


def little(run: p.Run, name: str) -> None:
    for count in LITTLE:

        def judged(count: int = count) -> dict:
            attributor, seconds = trained(name, pixels(name, count, 100), perturb=("none",))
            fresh = share(verdicts(attributor, pixels(name, 1000, 400), "none", spec_of(name)))
            sources = {n: x for n, x in tests(name).items() if n != "own"}
            found = {n: share(verdicts(attributor, x, "none", spec_of(name))) for n, x in sources.items()}
            return {"seconds": seconds, "own": fresh, **found}

        run.cell(f"little/{count}/{name}", judged)


def parts(run: p.Run, name: str) -> None:
    """AUROC against siblings with every block alone, without the Gaussian, and for other ways to meet corruption."""

    def judged() -> dict:
        spec, rng = spec_of(name), torch.Generator().manual_seed(0)
        extractor = Imprint(spec)
        own, wrong = pixels(name, 1000, 100), misplaced(pixels(name, 1000, 100), rng)
        test, siblings = pixels(name, TEST, 301), {n: pixels(n, FOREIGN, 300) for n in others(name)[:2]}
        mixture = ("none", "jpeg:80", "noise:0.1", "crop:55")

        def seen(images: torch.Tensor, condition: str) -> torch.Tensor:
            seed = int(images.sum())  # noise of its own for every set
            return extractor.extract(p.from_eight_bits(after(images, condition, seed), spec)).values

        def mixed(images: torch.Tensor) -> torch.Tensor:
            return torch.cat([seen(images[i :: len(mixture)], c) for i, c in enumerate(mixture)])

        def said(detector: object, condition: str) -> float:
            mine = detector.score(seen(test, condition))
            areas = [auroc(mine, detector.score(seen(x, condition))) for x in siblings.values()]
            return round(min(areas), 4)

        recipe, found = StackedRecipe(extractor.blocks), {}
        clean = recipe.fit(seen(own, "none"), seen(wrong, "none"), 0)
        immune = recipe.fit(mixed(own), mixed(wrong), 0)
        for condition in mixture:
            mine, theirs = seen(own, condition), seen(wrong, condition)
            expert = recipe.fit(mine, theirs, 0)
            found[condition] = {
                "clean": said(clean, condition),
                "immunised": said(immune, condition),
                "expert": said(expert, condition),
                "expert, discriminant alone": said(expert.discriminant, condition),
            }
            start = 0
            for block, width in zip(("fine", "coarse", "whole", "neighbours"), extractor.blocks, strict=True):
                some = slice(start, start + width)
                ridge = RidgeRecipe().fit(mine[:, some], theirs[:, some], 0)
                scores = [ridge.score(seen(x, condition)[:, some]) for x in (test, *siblings.values())]
                found[condition][f"{block} alone"] = round(min(auroc(scores[0], s) for s in scores[1:]), 4)
                start += width
            last = [seen(x, condition)[:, -width:] for x in (test, *siblings.values())]
            scores = [expert.gaussian.score(x) for x in last]
            found[condition]["Gaussian alone"] = round(min(auroc(scores[0], s) for s in scores[1:]), 4)
        return found

    run.cell(f"parts/{name}", judged)


def oracle(run: p.Run, name: str) -> None:
    """What could be told at best: a discriminant that learned from the sibling's own images, in the very condition."""

    def judged() -> dict:
        spec, extractor = spec_of(name), Imprint(spec_of(name))
        siblings = [n for n in others(name) if kin(name, n)]
        own, test = pixels(name, OWN, 100), pixels(name, TEST, 301)
        known, unknown = (
            {n: pixels(n, count, seed) for n in siblings} for count, seed in ((1000, 500), (FOREIGN, 300))
        )

        def seen(images: torch.Tensor, condition: str) -> torch.Tensor:
            return extractor.extract(p.from_eight_bits(after(images, condition, int(images.sum())), spec)).values

        found: dict = {}
        for condition in HARD:
            mine, held = seen(own, condition).split([1000, OWN - 1000])
            fresh, found[condition] = seen(test, condition), {}
            for n in siblings:
                recipe = StackedRecipe(extractor.blocks)
                best = recipe.fit(mine, seen(known[n], condition), 0).discriminant
                limit = threshold(best.score(held), p.RATE)
                kept, theirs = best.score(fresh), best.score(seen(unknown[n], condition))
                right = float((kept <= limit).float().mean()), float((theirs > limit).float().mean())
                found[condition][n] = {"auroc": round(auroc(kept, theirs), 4), "balanced": round(sum(right) / 2, 4)}
        return found

    run.cell(f"oracle/{name}", judged)


PASSES = {
    "imprint": (imprints, [*FEW, FACES[2], *TARGETS[4:], FACES[0], FACES[1], FACES[3]]),
    "whole": (whole, [*FEW, "lsgan-4", *ZOO]),
    "upright": (upright, ["lsgan-3", "lsgan-4", VAE]),
    "zoo": (others_too, list(ZOO)),
    "baselines": (baselines, ["lsgan-3", VAE, "wgan-gp-3"]),
    "slow": (slow, ["lsgan-3", VAE, "wgan-gp-3"]),
    "search": (search, FEW),
    "sizes": (sizes, ["lsgan-3", VAE, "wgan-gp-3"]),
    "little": (little, ["dcgan-3", VAE, "wgan-gp-3", "lsgan-3"]),
    "parts": (parts, ["lsgan-3", VAE]),
    "taught": (taught, list(TEACHERS)),
    "oracle": (oracle, [VAE, "lsgan-3", "lsgan-4"]),
}


def main() -> None:
    torch.set_grad_enabled(False)
    settings = {"own": OWN, "test": TEST, "foreign": FOREIGN, "conditions": CONDITIONS}
    for wanted in sys.argv[1:] or PASSES:
        run = p.Run(__file__, settings | {"tested": TESTED, "unseen": UNSEEN}, f"run-{wanted}.json")
        work, names = PASSES[wanted]
        for name in names:
            work(run, name)
        run.save()


if __name__ == "__main__":
    main()
