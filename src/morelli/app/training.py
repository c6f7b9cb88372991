"""Train an attributor: from a head and folders of samples to a bundle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morelli._version import __version__
from morelli.app.bundles import load_head, save
from morelli.attribution.attributor import Attributor, fit_attributor
from morelli.attribution.kinds import INVERSIONS, METHODS, RECIPES, certified
from morelli.detectors.deep_sad import DeepSadRecipe
from morelli.detectors.protocol import DetectorRecipe
from morelli.errors import MismatchError, MorelliError, OutOfRange, TooFewSamples, UnreadableBundle
from morelli.features.inversion import Inversion
from morelli.features.protocol import Extractor, Features, SampleSpec
from morelli.numerics.head import Head
from morelli.numerics.solvers.least_squares import LeastSquares
from morelli.storage.samples import find, read_all

Source = str | Path | Sequence[str | Path] | Tensor
Stage = Callable[[str, int], Callable[[int], None]]  # (what, how many) → told how many more are done


def silent(what: str, count: int) -> Callable[[int], None]:
    """The stage that shows nothing."""
    return lambda done: None


@dataclass(frozen=True, eq=False)
class _Samples:
    """Samples with what their files say: formats counted, files refused, one digest over all."""

    values: Tensor
    facts: Sequence[Mapping[str, Any]]
    about: Mapping[str, Any]


def train(
    head: Head | str | Path,
    own: Source,
    other: Source | None = None,
    *,
    method: str = "flipad",
    detector: str | None = None,
    out: str | Path | None = None,
    rate: float = 0.005,
    held_out: int | None = None,
    seed: int = 0,
    inversion: str | None = None,
    weight: float | None = None,
    gap: float | None = None,
    epochs: int | None = None,
    bf16: bool = False,
    device: str = "cpu",
    overwrite: bool = False,
    stage: Stage = silent,
) -> Attributor:
    """Fit an attributor: does a sample come from the generator with this head?

    Args:
        head: a Head, or the path of a head bundle.
        own: samples of the generator: a folder, file, glob, several of those, or a tensor [n, *shape]. One part
            is held out and only scored.
        other: samples of anything else, for training; None where the detector needs none.
        method: "flipad", "rawpad" or "dctpad".
        detector: "deep_sad", "lda" or "mahalanobis" in place of the method's own.
        out: where to write the bundle; None writes none.
        rate: false-rejection rate; own samples are rejected at most this often.
        held_out: how many own samples to hold out; by default a quarter, and enough for `rate`.
        seed: of the split and the detector.
        inversion: how "flipad" inverts, by a name of `attribution.kinds.INVERSIONS`: "steps", "lasso", "closed-form",
            "ridge", "gaussian", "non-negative", "per-channel", "cell", "weighted", "jpeg-cell"; see docs/inversion.md.
        weight: α of the lasso, in place of 5e-4.
        gap: invert every sample to this certified relative duality gap, instead of by 20 steps; samples that do not
            get there are inconclusive.
        epochs: of Deep SAD, in place of the paper's; its drops in learning rate move along.
        bf16: train Deep SAD in bfloat16, faster on hardware that has it.
        device: where to compute, for example "cuda".
        overwrite: replace an attributor at `out`.
        stage: told about each long part of the work, for a progress bar.
    Raises:
        MorelliError or one of its kinds: unsuitable head, samples or settings; nothing is written then.
    """
    if out is not None and Path(out).exists() and not overwrite:
        raise UnreadableBundle(f"{out} exists. Choose another name, or overwrite it (`--overwrite`).")
    head = load_head(head) if isinstance(head, str | Path) else head
    extractor = build_extractor(head, method, inversion, weight, gap)
    recipe = build_recipe(extractor.spec, method, detector, epochs, bf16)
    if isinstance(extractor, Inversion):
        extractor.prepare(device)
    mine = _gather(own, extractor.spec, "reading own samples", stage)
    theirs = None if other is None else _gather(other, extractor.spec, "reading other samples", stage)
    if extractor.spec.outside(mine.values).any():
        low, high = extractor.spec.low, extractor.spec.high
        raise OutOfRange(f"some own samples leave the range of this head, [{low:g}, {high:g}]. Are they of this model?")
    kept = _held_out_count(len(mine.values), rate, held_out)
    order = torch.randperm(len(mine.values), generator=torch.Generator().manual_seed(seed))

    def features(samples: _Samples, some: Tensor, what: str) -> Features:
        facts = [samples.facts[i] for i in some.tolist()]
        return extractor.extract(samples.values[some].to(device), stage(what, len(some)), facts)

    own_features = features(mine, order[kept:], "features of own samples")
    held_features = features(mine, order[:kept], "features of held-out samples")
    every = None if theirs is None else torch.arange(len(theirs.values))
    other_features = features(theirs, every, "features of other samples") if theirs and every is not None else None
    card = {
        "method": method,
        "recipe": recipe.settings(),
        "seed": seed,
        "own": dict(mine.about) | {"trained_on": len(mine.values) - kept, "held_out": kept},
        "other": None if theirs is None else dict(theirs.about),
        "warnings": _warnings(mine, theirs, held_features),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "morelli": __version__,
    }
    steps = recipe.steps(len(own_features), 0 if other_features is None else len(other_features))
    attributor = fit_attributor(
        extractor,
        recipe,
        own_features,
        other_features,
        held_features,
        rate=rate,
        seed=seed,
        card=card,
        progress=stage("fitting the detector", steps),
    )
    if out is not None:
        save(attributor, out, overwrite=overwrite)
    return attributor


def build_extractor(
    head: Head,
    method: str,
    inversion: str | None = None,
    weight: float | None = None,
    gap: float | None = None,
) -> Extractor:
    """The method's extractor for this head. Raises MorelliError for an unknown name or an unsuitable setting."""
    if method not in METHODS:
        raise MorelliError(f"there is no method '{method}'; there are {', '.join(METHODS)}.")
    if inversion is not None and inversion not in INVERSIONS:
        raise MorelliError(f"there is no inversion '{inversion}'; there are {', '.join(INVERSIONS)}.")
    extractor = METHODS[method].extractor(head)
    if inversion is None and weight is None and gap is None:
        return extractor
    if not isinstance(extractor, Inversion):
        raise MorelliError(
            f"a setting of the inversion was given, but method '{method}' inverts nothing. Leave it out."
        )
    if gap is not None and not 0 < gap < 1:
        raise OutOfRange(f"the duality gap to reach is {gap}; it must lie between 0 and 1, for example 0.1.")
    extractor = INVERSIONS[inversion or "steps"](extractor)
    if gap is not None and isinstance(extractor.solver, LeastSquares):
        raise MorelliError(f"inversion '{inversion}' is a closed form, which reaches no gap. Leave `gap` out.")
    extractor = extractor if gap is None else certified(extractor, gap)
    return extractor if weight is None else replace(extractor, weight=weight)


def build_recipe(
    spec: SampleSpec, method: str, detector: str | None = None, epochs: int | None = None, bf16: bool = False
) -> DetectorRecipe:
    """The method's detector recipe, or the named one. Raises MorelliError for an unknown name."""
    if detector is not None and detector not in RECIPES:
        raise MorelliError(f"there is no detector '{detector}'; there are {', '.join(RECIPES)}.")
    recipe = METHODS[method].recipe(spec)
    if detector is not None and detector != recipe.settings()["type"]:
        recipe = RECIPES[detector]()
    if isinstance(recipe, DeepSadRecipe):
        if epochs is not None:
            drops = tuple(round(drop * epochs / recipe.epochs) for drop in recipe.drops)
            recipe = replace(recipe, epochs=epochs, drops=drops)
        return replace(recipe, bf16=bf16)
    if epochs is not None:
        raise MorelliError(f"a number of epochs was given, but detector '{detector}' has none. Leave it out.")
    return recipe


def _gather(source: Source, spec: SampleSpec, what: str, stage: Stage) -> _Samples:
    if isinstance(source, Tensor):
        if tuple(source.shape[1:]) != spec.shape:
            raise MismatchError(f"{what}: the tensor's samples are {tuple(source.shape[1:])}; expected {spec.shape}.")
        content = source.detach().float().cpu().contiguous()
        digest = sha256(content.numpy().tobytes()).hexdigest()
        return _Samples(
            content,
            [{}] * len(content),
            {"samples": len(content), "sha256": digest, "formats": {"tensor": len(content)}},
        )
    paths = find(source)
    collection = read_all(paths, spec, progress=stage(what, len(paths)))
    formats: dict[str, int] = {}
    for facts in collection.facts:
        formats[facts["format"]] = formats.get(facts["format"], 0) + 1
    digest = sha256("".join(sorted(facts["sha256"] for facts in collection.facts)).encode()).hexdigest()
    refused = [{"file": path.name, "reason": reason} for path, reason in collection.refused]
    known = collection.facts if spec.is_image else [{}] * len(collection.samples)
    about = {"samples": len(collection.samples), "sha256": digest, "formats": formats, "refused": refused[:100]}
    return _Samples(collection.samples, known, about)


def _held_out_count(own: int, rate: float, asked: int | None) -> int:
    needed = math.ceil(1 / rate) - 1 if 0 < rate < 1 else 1
    kept = max(needed, own // 4) if asked is None else asked
    if kept < needed or own - kept < 2:
        raise TooFewSamples(
            f"{own} own samples, {kept} of them held out, are too few for a false-rejection rate of {rate:g}: it takes "
            f"at least {needed} held-out samples and some to train on. Give more samples or a larger rate."
        )
    return kept


def _warnings(own: _Samples, other: _Samples | None, held_out: Features) -> list[str]:
    """What would let a detector look good or bad for the wrong reason."""
    warnings = []
    if other is not None and set(own.about["formats"]) != set(other.about["formats"]):
        warnings.append(
            f"own samples are {_list(own)} and other samples {_list(other)}: the detector may have learned the file "
            "format. Bring both to one format."
        )
    for name, samples in (("own", own), ("other", other)):
        if samples is not None and samples.about.get("refused"):
            warnings.append(f"{len(samples.about['refused'])} {name} files were refused.")
    unconverged = sum(bool(reason) for reason in held_out.reasons)
    if unconverged:
        warnings.append(f"{unconverged} of {len(held_out)} held-out samples have features that should not be trusted.")
    return warnings


def _list(samples: _Samples) -> str:
    return "/".join(sorted(samples.about["formats"]))
