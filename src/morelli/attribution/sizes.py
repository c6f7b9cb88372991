"""Sizes: which of the conditions that experts know explain a picture of another size than the model's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from morelli.errors import OutOfRange
from morelli.features.protocol import Facts
from morelli.numerics.perturbations import SIDE, Part, Perturbation, Resize, Window, parse, points_of

FITTED = "fitted"  # fact: left, top, width and height of what was brought to the model's size
SLACK = 0.01  # of a share: half a pixel of 64
FURTHER = 2.0  # times the largest factor learned: still larger ones hardly look otherwise
TRIMMED, STRETCHED = 1.34, 1.02  # how far the proportions may be from the model's; from where on that counts


def explaining(conditions: Iterable[str], share: float) -> list[str]:
    """Those in which a picture may be that has `share` of the model's height and width."""
    known = {name: _points(name) for name in conditions}
    found = [name for name, points in known.items() if _is_resized(points, share) or _is_part(points, share)]
    parts = [name for name, points in known.items() if _parts(points)]
    return found + parts if share > 1 and found else found


def window_of(conditions: Iterable[str], shape: Sequence[int], height: int, width: int) -> Window | None:
    """What of a picture of another size is judged: its middle with the proportions of the model's [c, h, w].

    None where no condition explains its size, it would be trimmed by more than a quarter, or lies on its side.
    """
    share = _share(shape, height, width)
    size = max(1, round(share * shape[1])), max(1, round(share * shape[2]))
    trimmed = max(height / size[0], width / size[1]) > TRIMMED
    if trimmed or (height, width) == (shape[2], shape[1]) or not explaining(conditions, share):
        return None
    return (height - size[0]) // 2, (width - size[1]) // 2, *size


def share_of(facts: Facts, shape: Sequence[int]) -> float | None:
    """Of the model's size, what a picture had that was brought to it; None where that was not done."""
    return _share(shape, *reversed(facts["size"])) if FITTED in facts else None


def unknown(conditions: Iterable[str], facts: Facts, shape: Sequence[int]) -> str:
    """Why a picture that was brought to the model's size may be of the model, though no condition fits; else empty."""
    share = share_of(facts, shape)
    if share is None:
        return ""
    width, height = facts["size"]
    stretch = (width / height) / (shape[2] / shape[1])
    if not 1 / STRETCHED <= stretch <= STRETCHED:
        return "it has other proportions than the model's pictures, and nothing is known of what was stretched."
    known = [_points(name) for name in conditions]
    missing = []
    if not any(_parts(points) if share > 1 else _is_part(points, share) for points in known):
        missing.append(f"part:{min(SIDE, max(1, round(share * SIDE)))}" if share < 1 else "part:52..62")
    if not any(_is_resized(points, share) for points in known):
        missing.append(f"resize:{share:.2f}")
    if not missing:
        return ""
    return (
        f"it is of another size than the model's pictures, and nothing is known of all that it may come from. Train "
        f"with {' and '.join(missing)} among the conditions (`--perturb`), or give the picture as it was made."
    )


def _share(shape: Sequence[int], height: int, width: int) -> float:
    return min(height / shape[1], width / shape[2])


def _points(condition: str) -> tuple[Perturbation, ...]:
    try:
        return points_of(parse(condition))
    except OutOfRange:  # of sound
        return ()


def _parts(points: Sequence[Perturbation]) -> list[float]:
    return [point.kept / SIDE for point in points if isinstance(point, Part)]


def _is_part(points: Sequence[Perturbation], share: float) -> bool:
    parts = _parts(points)
    return bool(parts) and min(parts) - SLACK <= share <= max(parts) + SLACK


def _is_resized(points: Sequence[Perturbation], share: float) -> bool:
    factors = [point.factor for point in points if isinstance(point, Resize)]
    if not factors or (share < 1) != (max(factors) < 1):
        return False
    most = max(factors) + SLACK if share < 1 else FURTHER * max(factors)
    return min(factors) - SLACK <= share <= most
