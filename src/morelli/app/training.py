"""Train an attributor: from a head and folders of samples to a bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morelli._version import __version__
from morelli.app.bundles import load_head, save
from morelli.app.comparing import siblings as compare_siblings
from morelli.app.conditions import conditions_of, sound_conditions_of
from morelli.app.imprinting import MOST, fit_imprint
from morelli.app.imprinting_audio import by_file, fit_sound_imprint, with_rate
from morelli.app.methods import build_extractor, build_recipe, build_reconstruction, default_method, with_encoder
from morelli.app.sources import Samples, Source, Stage, digests, gather, perturbed, silent, sized, turned_images
from morelli.attribution.attributor import Attributor, fit_attributor
from morelli.attribution.remainder import LEAST
from morelli.detectors.distance import DistanceRecipe
from morelli.detectors.folds import FoldsRecipe
from morelli.detectors.protocol import DetectorRecipe
from morelli.detectors.stacked import StackedRecipe
from morelli.errors import MismatchError, MorelliError, OutOfRange, TooFewSamples
from morelli.features.imprint import Imprint
from morelli.features.imprint_audio import SoundImprint
from morelli.features.inversion import Inversion
from morelli.features.latent_reconstruction import LatentReconstruction
from morelli.features.observation import Jpeg
from morelli.features.protocol import Extractor, Features
from morelli.numerics.head import Head
from morelli.numerics.metrics import auroc
from morelli.storage.bundle import check_free

SEPARATED, ACCEPTED = 0.6, 0.1  # below, above: a warning on the card
SPARE = 4  # times as many own samples as calibration needs, below which imprints hold none out


def train(
    head: Head | str | Path,
    own: Source,
    other: Source | None = None,
    *,
    method: str | None = None,
    detector: str | None = None,
    out: str | Path | None = None,
    rate: float = 0.005,
    held_out: int | None = None,
    seed: int = 0,
    inversion: str | None = None,
    weight: float | None = None,
    gap: float | None = None,
    turned: bool | None = None,
    upright: bool = False,
    whole: bool | None = None,
    perturb: Sequence[str] = (),
    folds: int | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    start: str | None = None,
    perceptual: nn.Module | None = None,
    siblings: Sequence[str | Path] = (),
    epochs: int | None = None,
    bf16: bool = False,
    hop: int | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    stage: Stage = silent,
) -> Attributor:
    """Fit an attributor: does a sample come from the generator with this head?

    Args:
        head: a Head, or the path of a head bundle.
        own: samples of the generator: a folder, file, glob, several of those, or a tensor [n, *shape]. One part
            is held out and only scored, but none of few imprints, which are left out in turn.
        other: samples of anything else, for training; None where the detector needs none.
        method: "imprint" (the default for images and sound; needs no other samples), "flipad" (the default else),
            "rawpad", "dctpad", "sm-f", "sm-inv", "sm-inv-perceptual", "latent", "aedr" or "reconstruction". "latent"
            and both before it need a head that holds the whole generator; "latent" and those after it read a latent
            decoder's head that holds its autoencoder, of which "reconstruction" is the default.
            Tables with fewer latents than columns have "latent" as the default, if the head holds the generator.
        detector: "deep_sad", "lda", "mahalanobis", "ridge" or "template" in place of the method's own.
        out: where to write the bundle; None writes none.
        rate: false-rejection rate; own samples are rejected at most this often.
        held_out: how many own samples to hold out; by default a quarter, and enough for `rate`.
        seed: of the split and the detector.
        inversion: how "flipad" inverts, by a name of `attribution.kinds.INVERSIONS`: "steps", "lasso", "closed-form",
            "ridge", "gaussian", "non-negative", "per-channel", "cell", "weighted", "jpeg-cell"; see docs/inversion.md.
        weight: α of the lasso, in place of 5e-4.
        gap: invert every sample to this certified relative duality gap, instead of by 20 steps; samples that do not
            get there are inconclusive.
        turned: also train against the own images mirrored, transposed and turned: the same content on another grid, for
            when the sources to fear are not at hand. Mirrored own images are rejected then. Imprints always are, unless
            this is False: then against the other samples alone, for when those are of a sibling.
        upright: of "imprint": attribute no sample that was mirrored or turned since it was made.
        whole: of "imprint" of images: what imprints would attribute is made again by the whole generator, and what that
            leaves may object (`features.latent_reconstruction`). By default where the head holds it. Training takes
            some minutes more for it, as an encoder is learned first.
        perturb: immunised training: send each own and other sample through one of these, in turn, for example
            ("none", "jpeg:80"); see `numerics.perturbations.parse`. Imprints learn each apart, and tell from a sample's
            file and pixels what happened to it; by default they know what `app.conditions` names.
        folds: hold nothing out, but calibrate by so many folds, each scored by a detector that was fitted without it:
            for little data. It costs so many fits; see `detectors.folds` for what the rate means then.
        restarts, steps, start: of the search of "sm-inv" and "latent"; see `features.full_inversion.FullInversion`,
            `features.latent_search.LatentSearch` and, steps only, `features.latent_descent.LatentDescent`. A search of
            images' latents starts from an encoder's, which is learned first, unless `start` is "nearest".
        perceptual: a module from images in [−1, 1] to features, by which "sm-inv-perceptual" compares them.
        siblings: heads of other models that this one should be told from; the card says which have the same decoder.
        epochs: of Deep SAD, in place of the paper's; its drops in learning rate move along.
        bf16: train Deep SAD in bfloat16, faster on hardware that has it.
        hop: of imprints of sound: samples in a frame of the spectrogram; found from the own samples otherwise.
        device: where to compute, for example "cuda".
        overwrite: replace an attributor at `out`.
        stage: told about each long part of the work, for a progress bar.
    Raises:
        MorelliError or one of its kinds: unsuitable head, samples or settings; nothing is written then.
    """
    if out is not None:
        check_free(out, overwrite)
    head = sized(load_head(head) if isinstance(head, str | Path) else head, own)
    related, kin = compare_siblings(head, siblings)
    search = {"restarts": restarts, "steps": steps, "start": start}
    method = method or default_method(head)
    extractor = build_extractor(head, method, inversion, weight, gap, search, perceptual, hop)
    if perturb and isinstance(extractor, Inversion) and isinstance(extractor.observation, Jpeg):
        raise MorelliError("inversion 'jpeg-cell' reads the tables of JPEG files, which perturbed samples do not have.")
    recipe = build_recipe(extractor.spec, method, detector, epochs, bf16, hop)
    if not 1e-6 <= rate < 1:
        raise OutOfRange(f"the false-rejection rate is {rate}; it must lie between 0 and 1, for example 0.005.")
    imprinted = isinstance(recipe, StackedRecipe)
    if imprinted and folds is not None:
        raise MorelliError(
            "imprints calibrate few samples by leaving each out in turn. Leave `folds` out, or use method 'flipad'."
        )
    if upright and not imprinted:
        raise MorelliError(
            f"`upright` was given, but only imprints with their own detector attribute mirrored and turned samples "
            f"otherwise, and this is method '{method}'. Leave it out."
        )
    if imprinted and turned is False and (other is None or isinstance(extractor, SoundImprint)):
        raise MorelliError(
            "without turned samples imprints of images learn from other samples alone, best of a sibling's. "
            "Give those, too."
        )
    if whole and (not isinstance(extractor, Imprint) or not imprinted or head.generator is None):
        raise MorelliError(
            "`whole` was given, but only imprints of images make them again, and the head has to hold the whole "
            "generator (`morelli head … --whole`). Leave it out, or make the head so."
        )
    if isinstance(extractor, Inversion):
        extractor.prepare(device)
    mine = gather(own, extractor.spec, "reading own samples", stage)
    extractor = with_rate(extractor, mine.facts)
    if isinstance(extractor, SoundImprint) and imprinted and hop is None:
        extractor = replace(extractor, hop=extractor.found_hop(mine.values))
        recipe = StackedRecipe(extractor.blocks)
    theirs = None if other is None else gather(other, extractor.spec, "reading other samples", stage)
    seen = torch.cat([digests(samples.values, extractor.spec) for samples in (mine, theirs) if samples is not None])
    if extractor.spec.outside(mine.values).any():
        low, high = extractor.spec.low, extractor.spec.high
        raise OutOfRange(f"some own samples leave the range of this head, [{low:g}, {high:g}]. Are they of this model?")
    if perturb and not imprinted:
        mine = perturbed(mine, extractor.spec, perturb, seed)
        theirs = None if theirs is None else perturbed(theirs, extractor.spec, perturb, seed + 1)
    if folds is not None:
        recipe = FoldsRecipe(recipe, folds)
    sound = extractor.spec.is_audio
    kept = _held_out_count(len(mine.values), rate, held_out, recipe, few_too=not sound)
    order = torch.randperm(len(mine.values), generator=torch.Generator().manual_seed(seed))
    if sound:
        order = by_file(mine.facts, seed)
        kept = _whole_files(order, mine, kept)
    parts = order[kept:], order[:kept]
    if isinstance(extractor, Imprint | SoundImprint) and imprinted:
        trained_on = min(len(parts[0]), MOST)
        remaking, failed = None, []
        needed = LEAST if len(parts[1]) else 2 * LEAST
        if head.generator is not None and whole is not False and len(parts[0]) < needed:
            failed = [f"images are not made again: {len(parts[0])} own samples train, and it takes {needed}."]
            if whole:
                raise TooFewSamples(f"{failed[0]} Give more, or leave `whole` out.")
        elif whole is not False:
            try:
                remaking = build_reconstruction(head, extractor.spec, seed, device, stage)
            except MismatchError as error:
                if whole:
                    raise
                failed = [f"images are not made again: {error}"]
        attributor, conditions, doubts = _imprinted(
            extractor, mine, theirs, parts, perturb, upright, turned is not False, remaking, rate, seed, device, stage
        )
        doubts += failed
    else:
        trained_on = len(parts[0])
        conditions = tuple(perturb)
        extractor = with_encoder(extractor, start, restarts, seed, device, stage)
        attributor, doubts = _fitted(extractor, recipe, mine, theirs, parts, bool(turned), rate, seed, device, stage)
    card: dict[str, Any] = {
        "method": method,
        "recipe": recipe.settings(),
        "seed": seed,
        "own": dict(mine.about) | {"trained_on": trained_on, "held_out": len(attributor.held_out)},
        "other": None if theirs is None else dict(theirs.about),
        "perturb": list(conditions),
        "turned": imprinted if turned is None else turned,
        "made_again": attributor.reconstruction is not None,
        "siblings": related,
        "warnings": kin + _warnings(mine, theirs) + doubts,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "morelli": __version__,
    }
    attributor = replace(attributor, card=card | dict(attributor.card), seen=seen)
    if out is not None:
        save(attributor, out, overwrite=overwrite)
    return attributor


def _imprinted(
    extractor: Imprint | SoundImprint,
    mine: Samples,
    theirs: Samples | None,
    parts: tuple[Tensor, Tensor],
    perturb: Sequence[str],
    upright: bool,
    turned: bool,
    reconstruction: LatentReconstruction | None,
    rate: float,
    seed: int,
    device: str,
    stage: Stage,
) -> tuple[Attributor, tuple[str, ...], list[str]]:
    """An attributor with experts, the conditions that they know, and what speaks against it."""
    drawn = mine.values[parts[0]], mine.values[parts[1]], None if theirs is None else theirs.values
    settings: dict[str, Any] = {"rate": rate, "seed": seed, "device": device, "stage": stage}
    if isinstance(extractor, SoundImprint):
        conditions, doubts = sound_conditions_of(mine, perturb, extractor.spec.form.rate)
        attributor = fit_sound_imprint(extractor, *drawn, conditions=conditions, any_shift=not upright, **settings)
        doubt = (
            "own clips are hardly told from the same ones shifted (AUROC {:.2f}): the vocoder leaves "
            f"little of an imprint, or its hop is not {extractor.hop} (`--hop`)."
        )
    else:
        conditions, doubts = conditions_of(mine, extractor.spec, perturb)
        settings |= {"any_orientation": not upright, "turned": turned, "reconstruction": reconstruction}
        attributor = fit_imprint(extractor, *drawn, conditions=conditions, **settings)
        doubt = f"own samples are hardly told from the {'same ones mirrored and turned' if turned else 'other ones'} "
        doubt += "(AUROC {:.2f}): the model leaves little of an imprint. Use method 'flipad' with other samples."
    if (separated := attributor.card["separated"][conditions[0]]) < SEPARATED:
        doubts.append(doubt.format(separated))
    return attributor, conditions, doubts


def _fitted(
    extractor: Extractor,
    recipe: DetectorRecipe,
    mine: Samples,
    theirs: Samples | None,
    parts: tuple[Tensor, Tensor],
    turned: bool,
    rate: float,
    seed: int,
    device: str,
    stage: Stage,
) -> tuple[Attributor, list[str]]:
    """An attributor without a card, and what speaks against it; `parts` of the own samples train and are held out."""

    def features(samples: Samples, some: Tensor, what: str) -> Features:
        facts = [samples.facts[i] for i in some.tolist()]
        return extractor.extract(samples.values[some].to(device), stage(what, len(some)), facts)

    own_features = features(mine, parts[0], "features of own samples")
    held_features = features(mine, parts[1], "features of held-out samples")
    unused = theirs is None or isinstance(recipe, DistanceRecipe)  # which learns nothing from them
    every = None if theirs is None or unused else torch.arange(len(theirs.values))
    other_features = features(theirs, every, "features of other samples") if theirs and every is not None else None
    if turned:
        images = turned_images(mine.values[parts[0]]).to(device)
        found = extractor.extract(images, stage("features of turned samples", len(images)))
        other_features = found if other_features is None else Features.concatenate([other_features, found])
    folded = isinstance(recipe, FoldsRecipe)
    fits = recipe.steps(len(own_features), 0 if other_features is None else len(other_features))
    attributor = fit_attributor(
        extractor,
        recipe,
        own_features,
        other_features,
        None if folded else held_features,
        rate=rate,
        seed=seed,
        progress=stage("fitting the detector", fits),
    )
    doubts = _doubts(attributor, own_features, other_features)
    calibrating = own_features if folded else held_features
    unconverged = sum(bool(reason) for reason in calibrating.reasons)
    if unconverged:
        doubts.insert(
            0, f"{unconverged} of {len(calibrating)} held-out samples have features that should not be trusted."
        )
    return attributor, doubts


def _whole_files(order: Tensor, own: Samples, kept: int) -> int:
    """At least `kept`, but so many that no file has windows on both sides."""
    names = [own.facts[i].get("sha256", i) for i in order.tolist()]
    while 0 < kept < len(names) and names[kept] == names[kept - 1]:
        kept += 1
    if len(names) - kept < 2:
        raise TooFewSamples(
            f"own files have {len(names)} windows, and {kept} of them are held out with their files: too few remain to "
            "train on. Give more files."
        )
    return kept


def _held_out_count(own: int, rate: float, asked: int | None, recipe: DetectorRecipe, *, few_too: bool = True) -> int:
    """How many own samples are only scored: none with folds, all where the detector learns nothing.

    About a quarter, as many as use the rate up: of 350 at 0.5 % none could be rejected, and one far out would be the
    threshold; of 399 one may.

    None either of few imprints, which are calibrated by leaving each out in turn, unless that takes more than they
    are fitted on.
    """
    needed = math.ceil(1 / rate) - 1 if 0 < rate < 1 else 1
    if isinstance(recipe, FoldsRecipe | DistanceRecipe):
        if asked is not None:
            raise MorelliError("`held_out` was given, but every own sample calibrates here. Leave it out.")
        if own < needed:
            raise TooFewSamples(
                f"{own} own samples cannot resolve a false-rejection rate of {rate:g}; give at least {needed}."
            )
        return own if isinstance(recipe, DistanceRecipe) else 0
    few = few_too and own < SPARE * needed and needed <= MOST
    if isinstance(recipe, StackedRecipe) and (few if asked is None else asked == 0):
        if min(own, MOST) < needed:
            raise TooFewSamples(
                f"{min(own, MOST)} own samples, each left out in turn, cannot resolve a false-rejection rate of "
                f"{rate:g}; it takes at least {needed}. Give more samples or a larger rate."
            )
        return 0
    kept = max(needed, _used_up(own // 4, rate)) if asked is None else asked
    if kept < needed or own - kept < 2:
        raise TooFewSamples(
            f"{own} own samples, {kept} of them held out, are too few for a false-rejection rate of {rate:g}: it takes "
            f"at least {needed} held-out samples and some to train on. Give more samples or a larger rate."
        )
    return kept


def _used_up(count: int, rate: float) -> int:
    """The number nearest to `count` of which the rate rejects a whole number, counting the sample that is judged."""
    return math.ceil(max(1, round(rate * (count + 1))) / rate - 1e-9) - 1


def _warnings(own: Samples, other: Samples | None) -> list[str]:
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
    return warnings


def _doubts(attributor: Attributor, own: Features, other: Features | None) -> list[str]:
    """What the training samples' own scores say against the detector: a collapsed centre, a threshold far out."""
    if other is None or len(own) == 0:
        return []
    mine, theirs = attributor.detector.score(own.values), attributor.detector.score(other.values)
    separated, accepted = auroc(mine, theirs), float((theirs <= attributor.threshold).double().mean())
    if separated < SEPARATED:
        return [
            f"the detector does not tell own from other samples even in training (AUROC {separated:.2f}): it has "
            "collapsed or learned nothing. Use another detector, seed or more samples."
        ]
    if accepted > ACCEPTED:
        return [
            f"at the threshold {accepted:.0%} of the other training samples are still attributed: some own samples "
            "score far out. Give more own samples, use folds, or a larger rate."
        ]
    return []


def _list(samples: Samples) -> str:
    return "/".join(sorted(samples.about["formats"]))
