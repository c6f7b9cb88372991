"""Are two models one, to anybody who sees their images? By their heads, or by samples of one judged by the other's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morelli.app.attributing import attribute
from morelli.app.bundles import load, load_head
from morelli.app.sources import Stage, silent
from morelli.attribution.attributor import Attributor
from morelli.attribution.likeness import Likeness, likeness
from morelli.errors import MismatchError, OutOfRange, UnreadableBundle
from morelli.numerics.equivalence import Equivalence, Relation, compare_heads
from morelli.numerics.head import Head

SAID = {
    Relation.EQUAL: "indistinguishable: both networks make the same images, and no method tells their samples apart",
    Relation.LAST_LAYER: "the last layers are the same: what reads the last layer alone cannot tell them apart",
    Relation.DIFFERENT: "the last layers differ",
}


@dataclass(frozen=True)
class Comparison:
    """What was found, of two heads or of samples and an attributor; `text` is one sentence."""

    text: str
    heads: Equivalence | None = None
    samples: Likeness | None = None

    def to_dict(self) -> dict[str, Any]:
        heads, samples = self.heads, self.samples
        return {
            "text": self.text,
            "heads": None if heads is None else heads.to_dict(),
            "samples": None if samples is None else samples.to_dict(),
        }


def compare(
    first: str | Path | Head | Attributor,
    second: str | Path | Head | Sequence[str | Path],
    *,
    level: float = 0.01,
    device: str = "cpu",
    stage: Stage = silent,
) -> Comparison:
    """Compare a head with a head, by their numbers; or an attributor with samples of another model, by a test.

    Args:
        first: a head or an attributor, or the path of either.
        second: a head or its path, where `first` is a head; else samples of the other model, twenty or more.
        level: p-value below which samples count as told apart.
    Raises:
        MismatchError: what is given is of two kinds that are not compared.
        OutOfRange: a level outside of (0, 1). TooFewSamples: see `attribution.likeness`.
    """
    if not 0 < level < 1:
        raise OutOfRange(f"the level is {level}; it must lie between 0 and 1, for example 0.01.")
    mine = load(first) if isinstance(first, str | Path) else first
    if isinstance(mine, Head):
        if not isinstance(second, str | Path | Head):
            raise MismatchError("a head is compared with a head. To compare samples, give an attributor first.")
        found = compare_heads(mine, _head(second))
        return Comparison(_said(found), found)
    if isinstance(second, Head):
        raise MismatchError("an attributor is compared with samples of another model, not with its head.")
    report = attribute(second, mine, device=device, stage=stage)
    alike = likeness(mine, [judged.verdict for judged in report.judged])
    apart = alike.p_value < level
    text = "told apart" if apart else f"indistinguishable to this attributor, as far as {alike.samples} samples show"
    shares = f"{alike.attributed:.1%} of them are attributed, less like the model than own ones in {alike.auroc:.1%}"
    return Comparison(f"{text}: {shares} of pairs (p = {alike.p_value:.3g})", samples=alike)


def siblings(head: Head, others: Sequence[str | Path]) -> tuple[dict[str, Any], list[str]]:
    """For a card: name → how its head compares; and a warning for each that cannot be told apart."""
    found, warnings = {}, []
    for path in others:
        relation = compare_heads(head, _head(path))
        found[Path(path).name] = relation.to_dict()
        if relation.relation is not Relation.DIFFERENT:
            warnings.append(f"{Path(path).name}: {_said(relation)}. Its samples are attributed, too.")
    return found, warnings


def _head(path: str | Path | Head) -> Head:
    if isinstance(path, Head):
        return path
    if not Path(path).is_dir():
        raise UnreadableBundle(f"{path} is no bundle; expected a head, as `morelli head` writes it.")
    return load_head(path)


def _said(found: Equivalence) -> str:
    text = SAID[found.relation]
    if found.relation is Relation.LAST_LAYER:
        if found.outputs is None:
            return f"{text}; whole networks were not held (make both heads with `--whole`)"
        return f"{text}, while whole networks differ by up to {found.outputs:.2%} of the range"
    if found.relation is Relation.DIFFERENT:
        return f"{text}, by {found.weights:.2%} of the largest weight" if found.weights < 1e9 else f"{text} in shape"
    return text
