"""Which conditions imprints learn, from how own samples are coded and what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from morelli.app.imprinting import CONDITIONS, LARGE_CONDITIONS
from morelli.app.imprinting_audio import SOUND_CONDITIONS
from morelli.app.sources import Samples
from morelli.errors import MismatchError, OutOfRange
from morelli.features.imprint import LARGEST
from morelli.features.protocol import SampleSpec
from morelli.numerics.eight_bits import LEAST
from morelli.numerics.file_form import LEVELS
from morelli.numerics.perturbations import Part, parse, points_of
from morelli.numerics.sound_perturbations import parse_sound, suits

PART = 8  # pixels a side, at least


def conditions_of(own: Samples, spec: SampleSpec, asked: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """What imprints are to know of, and a warning where own samples leave no choice.

    Raises MismatchError where they leave none and one was made, OutOfRange for what is no perturbation.
    """
    for text in asked:
        _check_parts(text, spec)
    lossy = {facts.get("coding", "none") for facts in own.facts} - {"none"}
    small = min(spec.shape[1:]) < LEAST
    levels = spec.form.levels
    if levels > LEVELS:
        if set(asked) - {"none"}:
            raise MismatchError(
                f"samples have {levels} levels, and what happens to files on their way is known of 8 bits alone. "
                "Leave `perturb` out, or make head and samples of 8 bits."
            )
        return ("none",), [
            f"samples have {levels} levels, of which no corruption is known: those that were compressed, blurred "
            "or resized since they were made may not be attributed."
        ]
    if not lossy and asked:
        conditions = tuple(dict.fromkeys(("none", *asked)))
        if small and len(conditions) > 1:
            raise MismatchError(
                f"samples are {spec.shape}; it takes {LEAST} pixels a side to tell what happened to one. "
                "Leave `perturb` out."
            )
        return conditions, []
    if not lossy and not small:
        return CONDITIONS if max(spec.shape[1:]) <= LARGEST else LARGE_CONDITIONS, []
    if not lossy:
        return ("none",), [
            f"samples are less than {LEAST} pixels a side, too few to tell what happened to them: those that were "
            "compressed, blurred or resized since they were made may not be attributed."
        ]
    if asked and set(asked) != {"none"}:
        raise MismatchError(
            f"own samples are coded as {', '.join(sorted(lossy)[:3])}, so that nothing can be told of samples before "
            "that. Give files without loss, as PNG, or leave `perturb` out."
        )
    return ("none",), ["own samples are lossy files: samples that are coded in another way may not be attributed."]


def _check_parts(text: str, spec: SampleSpec) -> None:
    """Raises OutOfRange where parts are too small to be compared with anything, and for what is no perturbation."""
    points = points_of(parse(text))
    least = min((min(point.size(*spec.shape[1:])) for point in points if isinstance(point, Part)), default=PART)
    if least < PART:
        raise OutOfRange(f"'{text}' leaves {least} pixels a side of {spec.shape}; expected {PART} or more.")


def sound_conditions_of(own: Samples, asked: Sequence[str], rate: int | None) -> tuple[tuple[str, ...], list[str]]:
    """What imprints of sound are to know of. Raises as `conditions_of`."""
    for text in asked:
        parse_sound(text)
    lossy = sorted({facts.get("coding", "none") for facts in own.facts} - {"none"})
    if not lossy:
        usual = tuple(each for each in SOUND_CONDITIONS if rate is None or suits(each, rate))
        return tuple(dict.fromkeys(("none", *asked))) if asked else usual, []
    if asked and set(asked) != {"none"}:
        raise MismatchError(
            f"own samples are coded as {', '.join(lossy[:3])}, so that nothing can be told of samples before that. "
            "Give files without loss, as WAV, or leave `perturb` out."
        )
    return ("none",), ["own samples are lossy files: samples that are coded in another way may not be attributed."]
