"""Sizes: which of the conditions that experts know explain a picture of another size than the model's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from morelli.errors import OutOfRange
from morelli.features.protocol import Facts
from morelli.numerics.perturbations import SIDE, Between, Part, Perturbation, Resize, Window, parse

FITTED = "fitted"  # fact: left, top, width and height of what was brought to the model's size
SLACK = 0.01  # of a share: half a pixel of 64
REDUCED, ENLARGED = (0.95, 1.08), (0.9, 2.0)  # times the factors learned, least and most: hardly another look
SQUARE, STRETCHED = 1.34, 1.02  # how far the proportions may be from the model's; from where on that counts


def explaining(conditions: Iterable[str], share: float) -> list[str]:
    """Those in which a picture may be that has `share` of the model's height and width."""
    known = {name: _points(name) for name in conditions}
    found = [name for name, points in known.items() if _explains(points, share)]
    parts = [name for name, points in known.items() if _parts(points)]
    return found + parts if share > 1 and found else found


def window_of(conditions: Sequence[str], shape: Sequence[int], height: int, width: int) -> Window | None:
    """What of a picture of another size is judged: its middle with the proportions of the model's [c, h, w].

    None where no condition explains its size, or most of it would be trimmed away.
    """
    share = min(height / shape[1], width / shape[2])
    size = round(share * shape[1]), round(share * shape[2])
    if height / size[0] > SQUARE or width / size[1] > SQUARE or not explaining(conditions, share):
        return None
    return (height - size[0]) // 2, (width - size[1]) // 2, *size


def share_of(facts: Facts, shape: Sequence[int]) -> float | None:
    """Of the model's size, what a picture had that was brought to it; None where that was not done."""
    return facts[FITTED][3] / shape[1] if FITTED in facts else None


def unknown(conditions: Iterable[str], facts: Facts, shape: Sequence[int]) -> str:
    """Why a picture that was brought to the model's size may be of the model, though no condition fits; else empty."""
    share = share_of(facts, shape)
    if share is None:
        return ""
    if share > 1 and (stretch := _stretch(facts, shape)) > STRETCHED:
        return f"its proportions are {stretch:.2f} times the model's, and nothing is known of what was stretched."
    if share > 1 or any(_explains(points, share) for points in map(_points, conditions) if _parts(points)):
        return ""
    kept = min(SIDE, max(1, round(share * SIDE)))
    return (
        "it is smaller than the model's pictures, and had it been cut out of one, nothing is known of such parts. "
        f"Train with `--perturb part:{kept}` too, or give the whole picture."
    )


def _stretch(facts: Facts, shape: Sequence[int]) -> float:
    width, height = facts["size"]
    found = (width / height) / (shape[2] / shape[1])
    return max(found, 1 / found)


def _points(condition: str) -> tuple[Perturbation, ...]:
    try:
        happened = parse(condition)
    except OutOfRange:  # of sound
        return ()
    return happened.points() if isinstance(happened, Between) else (happened,)


def _parts(points: Sequence[Perturbation]) -> list[float]:
    return [point.kept / SIDE for point in points if isinstance(point, Part)]


def _explains(points: Sequence[Perturbation], share: float) -> bool:
    if parts := _parts(points):
        return min(parts) - SLACK <= share <= max(parts) + SLACK
    factors = [point.factor for point in points if isinstance(point, Resize)]
    if not factors or (share < 1) != (max(factors) < 1):
        return False
    least, most = ENLARGED if share > 1 else REDUCED
    return least * min(factors) <= share <= most * max(factors)
