"""From names and numbers to the extractor and the recipe of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from morelli.app.sources import Stage
from morelli.attribution.kinds import INVERSIONS, METHODS, RECIPES, certified
from morelli.detectors.deep_sad import DeepSadRecipe
from morelli.detectors.distance import DistanceRecipe
from morelli.detectors.protocol import DetectorRecipe
from morelli.detectors.stacked import StackedRecipe
from morelli.errors import MismatchError, MorelliError, OutOfRange
from morelli.features.full_inversion import FullInversion
from morelli.features.imprint_audio import SoundImprint, possible_hops
from morelli.features.inversion import Inversion
from morelli.features.latent_descent import LatentDescent
from morelli.features.latent_reconstruction import LatentReconstruction
from morelli.features.latent_search import LatentSearch
from morelli.features.protocol import Extractor, SampleSpec
from morelli.generators import latent_encoder
from morelli.generators.capture import capture
from morelli.generators.latent_encoder import fit_encoder
from morelli.numerics.bottleneck import split_after_mapping
from morelli.numerics.head import Head
from morelli.numerics.program import Program
from morelli.numerics.solvers.least_squares import LeastSquares
from morelli.storage.networks import default_perceptual

PERCEPTUAL = "sm-inv-perceptual"
STARTS = (ENCODER, NEAREST) = "encoder", "nearest"  # of a latent search
FEW, MANY = 2, 256  # starts with an encoder, at least, and times how many latents: few latents fold, and are quick


def default_method(head: Head) -> str:
    """Of images and of sound "imprint", of tables, and of windows too short for one, "flipad".

    But of table rows "latent", where the head holds the whole generator and that has fewer latents than columns, and
    of latent decoders "reconstruction", where it holds the autoencoder: their imprints are faint.
    """
    if head.autoencoder is not None:
        return "reconstruction"
    shape, whole = head.map.out_shape, head.generator
    if len(shape) == 1 and whole is not None and math.prod(whole.in_shape) < shape[0]:
        return "latent"
    sound = len(shape) == 2 and shape[0] == 1 and bool(possible_hops(shape[1]))
    return "imprint" if len(shape) == 3 or sound else "flipad"


def build_extractor(
    head: Head,
    method: str,
    inversion: str | None = None,
    weight: float | None = None,
    gap: float | None = None,
    search: Mapping[str, Any] | None = None,
    perceptual: nn.Module | None = None,
    hop: int | None = None,
) -> Extractor:
    """The method's extractor for this head. Raises MorelliError for an unknown name or an unsuitable setting.

    Args:
        search: settings of `FullInversion` or `LatentSearch`; those that are None are left as they are.
        hop: samples in a frame of an imprint of sound.
        perceptual: what "sm-inv-perceptual" compares by, in place of our own network.
    """
    if method not in METHODS:
        raise MorelliError(f"there is no method '{method}'; there are {', '.join(METHODS)}.")
    if inversion is not None and inversion not in INVERSIONS:
        raise MorelliError(f"there is no inversion '{inversion}'; there are {', '.join(INVERSIONS)}.")
    extractor = METHODS[method].extractor(head) if hop is None else _imprint_of(head, method, hop)
    given = {name: value for name, value in (search or {}).items() if value is not None}
    if isinstance(extractor, FullInversion):
        if method == PERCEPTUAL:
            network = default_perceptual() if perceptual is None else perceptual
            extractor = replace(extractor, perceptual=capture(network, extractor.spec.shape))
        extractor = replace(extractor, **given)
    elif isinstance(extractor, LatentSearch):
        starts = STARTS if extractor.spec.is_image else (NEAREST,)
        if given.pop("start", NEAREST) not in starts:
            raise MorelliError(f"this search starts from {' or '.join(starts)}. Give that, or leave it out.")
        extractor = replace(extractor, **given)
    elif isinstance(extractor, LatentDescent):
        if set(given) - {"steps"}:
            raise MorelliError("of an autoencoder's latents the search starts once, at the encoder's. Give steps only.")
        extractor = replace(extractor, **given)
    elif given:
        raise MorelliError(f"{', '.join(given)} was given, but method '{method}' searches no latents. Leave it out.")
    if perceptual is not None and method != PERCEPTUAL:
        raise MorelliError(f"a perceptual network was given, but method '{method}' uses none. Use '{PERCEPTUAL}'.")
    if inversion is None and weight is None and gap is None:
        return extractor
    if not isinstance(extractor, Inversion):
        raise MorelliError(
            f"a setting of the inversion was given, but method '{method}' inverts nothing. "
            "Leave it out, or use method 'flipad'."
        )
    if gap is not None and not 0 < gap < 1:
        raise OutOfRange(f"the duality gap to reach is {gap}; it must lie between 0 and 1, for example 0.1.")
    extractor = INVERSIONS[inversion or "steps"](extractor)
    if gap is not None and isinstance(extractor.solver, LeastSquares):
        raise MorelliError(f"inversion '{inversion}' is a closed form, which reaches no gap. Leave `gap` out.")
    extractor = extractor if gap is None else certified(extractor, gap)
    return extractor if weight is None else replace(extractor, weight=weight)


def with_encoder(
    extractor: Extractor, start: str | None, restarts: int | None, seed: int, device: str, stage: Stage
) -> Extractor:
    """A search of images' latents with an encoder to start from, unless another start is asked for; others as is.

    Fewer restarts do then, unless they were asked for. Raises MismatchError where the generator makes something else.
    """
    if not isinstance(extractor, LatentSearch) or not extractor.spec.is_image or start == NEAREST:
        return extractor
    encoder = _encoder(extractor.generator, extractor.spec, seed, device, stage)
    restarts = restarts or max(FEW, MANY // math.prod(extractor.generator.in_shape))
    return replace(extractor, encoder=encoder, restarts=restarts)


def build_reconstruction(
    head: Head, spec: SampleSpec, seed: int, device: str, stage: Stage
) -> LatentReconstruction | None:
    """What makes images again, where the head holds the whole generator; its encoder is learned first.

    Of a StyleGAN that is from w, which can be read from images where its latents hardly can.
    Raises MismatchError where the generator makes something else.
    """
    if head.generator is None or not spec.is_image:
        return None
    mapping, synthesis = split_after_mapping(head.generator)
    return LatentReconstruction(synthesis, _encoder(synthesis, spec, seed, device, stage, mapping), spec)


def _encoder(
    generator: Program, spec: SampleSpec, seed: int, device: str, stage: Stage, mapping: Program | None = None
) -> Program:
    made = tuple(generator.results(1)[-1].shape[1:])
    if made != spec.shape:
        raise MismatchError(
            f"the generator makes {made}; samples are {spec.shape}. Let it make them so, channels first."
        )
    progress = stage("learning to encode", latent_encoder.work())
    return fit_encoder(generator, spec.low, spec.high, seed, device, progress, mapping)


def _imprint_of(head: Head, method: str, hop: int) -> SoundImprint:
    spec = Inversion(head).spec
    if method != "imprint" or not spec.is_audio:
        raise MorelliError("a hop was given, but only imprints of sound have one. Leave it out.")
    return SoundImprint(spec, hop)


def build_recipe(
    spec: SampleSpec,
    method: str,
    detector: str | None = None,
    epochs: int | None = None,
    bf16: bool = False,
    hop: int | None = None,
) -> DetectorRecipe:
    """The method's detector recipe, or the named one. Raises MorelliError for an unknown name."""
    if detector is not None and detector not in RECIPES:
        raise MorelliError(f"there is no detector '{detector}'; there are {', '.join(RECIPES)}.")
    recipe = METHODS[method].recipe(spec) if hop is None else StackedRecipe(SoundImprint(spec, hop).blocks)
    if detector is not None and detector != recipe.settings()["type"]:
        recipe = RECIPES[detector]()
    if isinstance(recipe, DeepSadRecipe):
        if epochs is not None:
            drops = tuple(round(drop * epochs / recipe.epochs) for drop in recipe.drops)
            recipe = replace(recipe, epochs=epochs, drops=drops)
        return replace(recipe, bf16=bf16)
    if isinstance(recipe, DistanceRecipe) and METHODS[method].recipe(spec) != recipe:
        raise MorelliError(f"detector 'distance' reads a distance from the model, and method '{method}' gives none.")
    if epochs is not None:
        raise MorelliError(f"epochs were given, but detector '{recipe.settings()['type']}' has none. Leave them out.")
    return recipe
