"""What run.json says: how often an attack succeeded, before whom, and what the attacker had."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

METHODS = ("imprint", "imprint, clean only", "flipad", "rawpad", "sm-f", "gallery")
ALL = "all four"
AGREE = ("imprint", "flipad", "rawpad", "sm-f")
KNOWS = {
    "nothing": "nothing",
    "JPEG 90": "nothing",
    "JPEG 75": "nothing",
    "JPEG 50": "nothing",
    "white noise": "nothing",
    "median 3×3": "nothing",
    "wavelet denoiser": "nothing",
    "network denoiser": "nothing",
    "resize 0.75 and back": "nothing",
    "rotate 2° and back": "nothing",
    "crop and enlarge": "nothing",
    "autoencoder": "photographs",
    "average with near images": "images of the models",
    "mean residual of 10": "10 own images",
    "mean residual of 500": "500 own images",
    "own less real residual": "500 own images, photographs",
    "multiplicative map": "500 own images, photographs",
    "spectrum of the residual": "500 own images, photographs",
    "last layer": "generator (to hide: another's)",
    "last two blocks": "generator (to hide: another's)",
}
GRADIENT = "gradient of "
TRANSFER = "transfer of "
STRENGTHS = ("50", "45", "40", "35", "30")


@dataclass(frozen=True)
class Share:
    """Successes of attempts, over all targets and seeds, and the least and largest share of one target and seed."""

    hits: int
    tried: int
    low: float
    high: float

    @staticmethod
    def of(parts: Iterable[tuple[int, int]]) -> "Share | None":
        parts = [part for part in parts if part[1]]
        if not parts:
            return None
        shares = [hits / tried for hits, tried in parts]
        return Share(sum(h for h, _ in parts), sum(t for _, t in parts), min(shares), max(shares))

    @property
    def value(self) -> float:
        return self.hits / self.tried

    def wilson(self, z: float = 1.96) -> tuple[float, float]:
        """Of independent attempts; those on one attributor are not quite that."""
        n, share = self.tried, self.value
        centre, reach = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        low, high = ((centre + sign * reach) / (1 + z * z / n) for sign in (-1, 1))
        return max(0.0, low), min(1.0, high)


CELLS = json.loads(Path(__file__).with_name("run.json").read_text())["cells"]
PLACES = sorted({tuple(key.split("/")[:2]) for key in CELLS})


def cell(place: tuple[str, ...], attack: str, strength: str) -> dict | None:
    return CELLS.get("/".join((*place, attack, strength)))


def yes(letter: str) -> bool:
    return letter in "at"


def removal(method: str, attack: str, strength: str) -> Share | None:
    return shares(method, attack, strength, ("own",))


def forgery(method: str, attack: str, strength: str, sources: tuple[str, ...] = ("photographs", "gan")) -> Share | None:
    return shares(method, attack, strength, sources)


def shares(method: str, attack: str, strength: str, sources: tuple[str, ...]) -> Share | None:
    """Of images that were attributed before, those that no longer are; or of those that were not, those that are."""
    hide = sources == ("own",)
    parts = []
    for place in PLACES:
        found = cell(place, attack, strength)
        if found is None or method not in found["own"]:
            continue
        for source in sources:
            before = cell(place, "nothing", "own")[source][method]
            pairs = [(yes(b), yes(a)) for b, a in zip(before, found[source][method], strict=True)]
            tried = [after for was, after in pairs if was == hide]
            parts.append((sum(after != hide for after in tried), len(tried)))
    return Share.of(parts)


def together(attack: str, strength: str, hide: bool) -> Share | None:
    """All methods must agree to attribute an image: how often is such an image hidden, or another forged?"""
    parts = []
    for place in PLACES:
        found, clean = cell(place, attack, strength), cell(place, "nothing", "own")
        if found is None or not all(m in found["own"] for m in AGREE):
            continue
        for source in ("own",) if hide else ("photographs", "gan"):
            before, after = (
                [all(map(yes, letters)) for letters in zip(*(of[source][m] for m in AGREE), strict=True)]
                for of in (clean, found)
            )
            tried = [a for b, a in zip(before, after, strict=True) if b == hide]
            parts.append((sum(a != hide for a in tried), len(tried)))
    return Share.of(parts)


def median_psnr(attack: str, strength: str, source: str) -> float | None:
    found = [cell(place, attack, strength) for place in PLACES]
    known = sorted(each[source]["psnr"][1] for each in found if each)
    return None if not known else known[len(known) // 2]


def decibels(attack: str, strength: str) -> str:
    own, photo = (median_psnr(attack, strength, source) for source in ("own", "photographs"))
    if own is None or photo is None:
        return "–"
    return " / ".join("∞" if x > 90 else f"{x:.0f}" for x in (own, photo))


def attacks() -> list[str]:
    """Those that were run, with gradients."""
    names = [*KNOWS, *(prefix + m for prefix in (GRADIENT, TRANSFER) for m in (*AGREE, "gallery", ALL))]
    present = {key.split("/")[2] for key in CELLS}
    return [name for name in names if name in present]


def named(attack: str, strength: str) -> str:
    """With a mark where not all targets and seeds were run."""
    return attack + ("" if all(cell(place, attack, strength) for place in PLACES) else " †")


def knows(attack: str) -> str:
    if attack.startswith(GRADIENT):
        return {"gallery": "the gallery", ALL: "all four attributors"}.get(
            attack.removeprefix(GRADIENT), "the attributor"
        )
    if attack.startswith(TRANSFER):
        return "1,000 own images, head, this program"
    return KNOWS[attack]
