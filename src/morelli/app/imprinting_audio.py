"""Fit imprints of sound: an expert for each condition, against the own clips on a grid that is shifted or reversed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from morelli.app.imprinting import MOST
from morelli.app.sources import Stage
from morelli.attribution.attributor import Attributor
from morelli.attribution.experts import Expert, Experts
from morelli.attribution.turning import scores_by_orientation
from morelli.detectors.stacked import StackedRecipe
from morelli.errors import MismatchError, MorelliError
from morelli.features.baselines import LogDct, RawValues
from morelli.features.imprint_audio import SoundImprint
from morelli.features.inversion import Inversion
from morelli.features.protocol import Extractor, Facts
from morelli.numerics.sound_history import SoundHistory
from morelli.numerics.sound_perturbations import parse_sound

SOUND_CONDITIONS = ("none", "mp3:128", "mp3:64", "opus:64", "hiss:30")
RATE = 16_000  # of codecs, where own samples are tensors and no rate is known


def fit_sound_imprint(
    extractor: SoundImprint,
    own: Tensor,
    held_out: Tensor,
    other: Tensor | None,
    *,
    rate: float,
    conditions: Sequence[str],
    any_shift: bool,
    seed: int,
    device: str,
    stage: Stage,
) -> Attributor:
    """As `imprinting.fit_imprint`, for windows of sound [n, 1, samples] with a range of [−1, 1].

    Args:
        any_shift: attribute clips that begin anywhere in a frame.
    """
    rng = torch.Generator().manual_seed(seed)
    own, other = own[:MOST], None if other is None else other[torch.randperm(len(other), generator=rng)[:MOST]]
    parts = [own, held_out] + ([] if other is None else [other])
    of: dict[str, Expert] = {}
    apart: dict[str, float] = {}
    progress = stage("fitting imprints", len(conditions) * sum(map(len, parts)))
    recipe = StackedRecipe(extractor.blocks)
    for condition in conditions:
        mine, fresh, *rest = (
            extractor.extract(_after(some, condition, extractor, rng).to(device), progress).values for some in parts
        )
        detector = recipe.fit(mine, torch.cat([extractor.misplaced(mine, rng), *rest]), seed)
        scores = scores_by_orientation(extractor, detector, fresh, any_shift).min(0).values
        of[condition], apart[condition] = Expert(detector, scores), round(detector.separated, 4)
    experts = Experts(SoundHistory(tuple(conditions)), of) if len(conditions) > 1 else None
    first = of[conditions[0]]
    card = {"separated": apart, "calibrated": "held out"}
    return Attributor(
        extractor, first.detector, first.held_out, rate, card=card, experts=experts, any_orientation=any_shift
    )


def _after(clips: Tensor, condition: str, extractor: SoundImprint, rng: torch.Generator) -> Tensor:
    changed = parse_sound(condition).apply(clips[:, 0].double(), extractor.spec.form.rate or RATE, rng)
    return changed[:, None].float()


def with_rate(extractor: Extractor, facts: Sequence[Facts]) -> Extractor:
    """The same extractor, of sound with the rate that all own files have; unchanged where there are no files.

    Raises MismatchError where they have several rates, MorelliError for an extractor that reads no sound.
    """
    rates = sorted({each["rate"] for each in facts if "rate" in each})
    if not rates:
        return extractor
    if len(rates) > 1:
        raise MismatchError(f"own files have {', '.join(map(str, rates))} samples a second; expected one rate in all.")
    if isinstance(extractor, Inversion):
        head = extractor.head
        return replace(extractor, head=replace(head, form=replace(head.form, rate=rates[0])))
    if isinstance(extractor, SoundImprint | RawValues | LogDct):
        spec = extractor.spec
        return replace(extractor, spec=replace(spec, form=replace(spec.form, rate=rates[0])))
    raise MorelliError("this method reads no sound. Use 'imprint', 'flipad' or 'rawpad'.")


def by_file(facts: Sequence[Facts], seed: int) -> Tensor:
    """An order of all windows in which those of one file stay together, files at random."""
    names = [str(each.get("sha256", i)) for i, each in enumerate(facts)]
    first = {name: i for i, name in reversed(list(enumerate(names)))}
    drawn = torch.rand(len(names), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.tensor(sorted(range(len(names)), key=lambda i: (float(drawn[first[names[i]]]), i)))
