"""Which vocoder spoke? Each as the target against its sibling seed, the other architecture, Griffin-Lim and espeak-ng.

Run: python experiments/audio/run.py [pass …]      (after train.py; interrupted, it goes on where it stopped)

All sources render the same utterances, which no vocoder was trained on; a draw divides them into own and test ones.
Everything goes through files and the public API.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import protocol as p  # noqa: E402
import sources as s  # noqa: E402
from speech import RATE as HERTZ  # noqa: E402

from morelli.app.imprinting_audio import SOUND_CONDITIONS  # noqa: E402
from morelli.attribution.pooling import pooled_p_value  # noqa: E402
from morelli.detectors.ridge import Ridge, RidgeRecipe  # noqa: E402
from morelli.detectors.stacked import StackedRecipe  # noqa: E402
from morelli.features.imprint_audio import SoundImprint  # noqa: E402
from morelli.numerics.metrics import auroc  # noqa: E402
from morelli.numerics.sound_perturbations import parse_sound  # noqa: E402
from morelli.storage.audio import write_audio, write_coded  # noqa: E402

DRAWS = (0, 1, 2)
TARGETS = ("hifigan-0", "melgan-0")  # of what is dear, or only explains
TESTS = 40  # utterances
LEVELS = (-10, -20, -30)  # decibels
BLOCKS = ("pattern", "power", "grid")
CLOSED = {"method": "flipad", "inversion": "closed-form", "detector": "lda"}
METHODS = {  # settings of morelli.train, frames of a window, own files, whether espeak-ng's originals are negatives
    "imprint": ({}, s.FRAMES, 160, False),
    "closed form, LDA": (CLOSED, 16, 40, True),
    "raw, LDA": ({"method": "rawpad", "detector": "lda"}, s.FRAMES, 160, True),
    "spectrum, LDA": ({"method": "dctpad", "detector": "lda"}, s.FRAMES, 160, True),
}
TESTED = ("none", "mp3:128", "opus:64", "hiss:30", "cut", "mp3:128, then WAV")
FILES = s.FOLDER / "files"


def write(source: str, condition: str, numbers: list[int]) -> list[Path]:
    """Files of these utterances, as the source made them and after what happened to them; written once."""
    folder = FILES / condition.replace(" ", "").replace(":", "-") / source
    folder.mkdir(parents=True, exist_ok=True)
    codec = condition if condition.partition(":")[0] in ("mp3", "opus") and "," not in condition else None
    suffix = {"mp3": ".mp3", "opus": ".ogg"}[condition.partition(":")[0]] if codec else ".wav"
    paths = [folder / f"{number}{suffix}" for number in numbers]
    missing = [(n, path) for n, path in zip(numbers, paths, strict=True) if not path.exists()]
    waves = s.rendered(source) if missing else []
    for number, path in missing:
        wave, rng = waves[number], torch.Generator().manual_seed(number)
        if codec:
            write_coded(wave[None], path, HERTZ, codec)
            continue
        if condition == "cut":
            wave = wave[int(torch.randint(1, s.HOP, (), generator=rng)) :]
        elif condition != "none":
            wave = parse_sound(condition.split(",")[0]).apply(wave[None], HERTZ, rng)[0]
        write_audio(wave[None], path, HERTZ)
    return paths


def divided(draw: int) -> tuple[list[int], list[int]]:
    """Numbers of own and of test utterances."""
    order = torch.randperm(s.COUNT, generator=torch.Generator().manual_seed(draw)).tolist()
    return order[TESTS:], order[:TESTS]


def judged(run: p.Run, method: str, draw: int, target: str) -> None:
    settings, frames, count, negatives = METHODS[method]
    conditions = TESTED if method == "imprint" else TESTED[:1]

    own, test = divided(draw)
    bundle = s.FOLDER / "attributors" / f"{method.split(',')[0].replace(' ', '-')}-{draw}-{target}"

    def trained() -> dict:
        bundle.parent.mkdir(exist_ok=True)
        mine = write(target, "none", own[:count])
        other = write("espeak", "none", own[:count]) if negatives else None
        head = s.generator(target, frames).head(64, 0)
        start = time.process_time()
        found = p.morelli.train(head, mine, other, out=bundle, overwrite=True, rate=p.RATE, seed=draw, **settings)
        card = found.card
        used = {name: card["own"][name] for name in ("trained_on", "held_out")}
        return used | {"warnings": card["warnings"], "CPU seconds": round(time.process_time() - start, 1)}

    run.cell(f"{method}/{draw}/{target}", trained)
    for source in s.SOURCES:
        if source.endswith("-tuned") and not (method == "imprint" and source.startswith(target)):
            continue  # dear, and of interest beside its original only
        if "gan-" in source and not (s.FOLDER / f"{source}.vocoder").exists():
            continue  # not trained yet; the cell is made by a later run

        def against(source: str = source) -> dict:
            attributor = p.morelli.load(bundle)
            found = {}
            for condition in conditions:
                report = p.morelli.attribute(write(source, condition, test), attributor)
                found[condition] = shares(attributor, report)
            return found

        run.cell(f"{method}/{draw}/{target}/{'own' if source == target else source}", against)


def shares(attributor: p.Attributor, report: p.morelli.Report) -> list[float]:
    """Attributed shares of single windows, and of whole files whose windows are pooled; then how many there were."""
    of_file: dict[str, list] = {}
    for each in report.judged:
        of_file.setdefault(each.file, []).append(each.verdict)
    single = [v.outcome.value == "attributed" for group in of_file.values() for v in group]
    whole = [pooled_p_value(attributor, group) > attributor.rate for group in of_file.values() if group[0].p_value]
    return [round(sum(single) / len(single), 4), round(sum(whole) / max(1, len(whole)), 4), len(single), len(whole)]


def faint(run: p.Run, upright: bool = False) -> None:
    for draw in DRAWS:
        for target in TARGETS:
            for level in LEVELS:
                run.cell(f"faint/{draw}/{target}/{level}", partial(buried, draw, target, level, upright))


def buried(draw: int, target: str, level: int, upright: bool) -> dict:
    """A better vocoder leaves less: each is put below the original, own, sibling and other architecture alike."""
    own, test = divided(draw)
    mine, head = write(f"{target}@{level}", "none", own), s.generator(target).head(32, 0)
    usual = {"rate": p.RATE, "seed": draw, "perturb": ("none",), "hop": s.HOP}
    attributor = p.morelli.train(head, mine, upright=upright, **usual)
    found = {"separated": attributor.card["separated"]["none"]}
    other = next(t for t in TARGETS if t != target)
    named = {"own": target, "sibling": target[:-1] + "1", "other architecture": other}
    files = {n: write(f"{x}@{level}", "none", test) for n, x in named.items()}
    files["espeak"] = write("espeak", "none", test)
    return found | {n: shares(attributor, p.morelli.attribute(f, attributor)) for n, f in files.items()}


def windows(source: str, numbers: list[int]) -> torch.Tensor:
    """[n, 1, samples], utterances cut into windows."""
    waves, length, found = s.rendered(source), s.FRAMES * s.HOP, []
    for number in numbers:
        wave = waves[number]
        found.append(wave[: len(wave) // length * length].reshape(-1, 1, length))
    return torch.cat(found)


def parts(run: p.Run) -> None:
    """AUROC of buried vocoders against the sibling with each block alone, at the shift that suits best."""
    extractor = SoundImprint(p.morelli.SampleSpec((1, s.FRAMES * s.HOP)))
    own, test = divided(0)
    for target in TARGETS:
        sibling = target[:-1] + "1"

        def cell(target: str = target, sibling: str = sibling) -> dict:
            found = {}
            for level in LEVELS:
                sets = ((target, own), (target, test), (sibling, test))
                mine, fresh, theirs = (extractor.extract(windows(f"{n}@{level}", u)).values for n, u in sets)
                wrong = extractor.misplaced(mine, torch.Generator().manual_seed(0))
                stacked = StackedRecipe(extractor.blocks).fit(mine, wrong, 0)
                both = [stacked.score_turned(x, extractor.turns).amin(0) for x in (fresh, theirs)]
                found[str(level)] = {"everything": round(auroc(*both), 4)}
                ridge = [least(stacked.discriminant, x, extractor.turns) for x in (fresh, theirs)]
                found[str(level)]["discriminant alone"] = round(auroc(*ridge), 4)
                last = [stacked.gaussian.score(x[:, -stacked.width :]) for x in (fresh, theirs)]
                found[str(level)]["Gaussian alone"] = round(auroc(*last), 4)
                for block, some in zip(BLOCKS, blocks(extractor), strict=True):
                    kept = torch.zeros(mine.shape[1])
                    kept[some] = 1
                    alone = RidgeRecipe().fit(mine * kept, wrong * kept, 0)
                    scores = [least(alone, x * kept, extractor.turns) for x in (fresh, theirs)]
                    found[str(level)][f"{block} alone"] = round(auroc(*scores), 4)
            return found

        if (s.FOLDER / f"{sibling}.vocoder").exists():
            run.cell(f"parts/{target}", cell)


def blocks(extractor: SoundImprint) -> list[slice]:
    """Of the blocks that know of places, in order."""
    first, second, third, _ = extractor.blocks
    return [slice(0, first), slice(first, first + second), slice(first + second, first + second + third)]


def least(ridge: Ridge, values: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    return torch.stack([ridge.score(values[:, turn]) for turn in turns]).amin(0)


def vocoders(run: p.Run) -> None:
    """How well they speak: log-STFT distance to the originals of 60 utterances."""
    from morelli.generators.vocoder_training import spectral_loss

    originals = s.speech()[:60]
    for name in s.SOURCES[:-1]:

        def cell(name: str = name) -> dict:
            pairs = zip(s.rendered(name), originals, strict=False)
            distances = torch.tensor([float(spectral_loss(a[None], b[None])) for a, b in pairs])
            found: dict = {"distance": round(float(distances.mean()), 4), "spread": round(float(distances.std()), 4)}
            return found | ({"sha256": s.generator(name).digest()} if "gan-" in name else {})

        run.cell(f"vocoder/{name}", cell)


def main() -> None:
    torch.set_grad_enabled(False)
    passes: dict[str, Callable[[p.Run], None]] = {"vocoders": vocoders, "parts": parts}
    passes |= {"faint": faint, "upright": partial(faint, upright=True)}
    for method in METHODS:

        def every(run: p.Run, method: str = method) -> None:
            for draw in DRAWS:
                for target in s.VOCODERS:
                    if (s.FOLDER / f"{target}.vocoder").exists():
                        judged(run, method, draw, target)

        passes[method] = every
    for wanted in sys.argv[1:] or passes:
        methods = {name: [*rest] for name, rest in METHODS.items()}
        about = {"methods": methods, "conditions": SOUND_CONDITIONS, "tested": TESTED, "utterances": s.COUNT}
        run = p.Run(
            __file__,
            about | {"test utterances": TESTS, "draws": DRAWS},
            f"run-{wanted.split(',')[0].replace(' ', '-')}.json",
        )
        run.content["settings"].pop("rows")
        passes[wanted](run)
        run.save()


if __name__ == "__main__":
    main()
