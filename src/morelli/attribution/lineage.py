"""Which base decoder? A fine-tune keeps that of its base or stays near it; fingerprints tell decoders, not weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from morelli.attribution.gallery import Gallery, Ranking
from morelli.attribution.report import RefusedFile
from morelli.errors import TooFewSamples

LEAST = 5
FLIPS = 9_999
LIMITS = (
    "Fingerprints certify the class of the decoder, not what came before it: fine-tunes, low-rank adapters and "
    "pipelines that share one decoder cannot be told apart, and are all attributed to it."
)


@dataclass(frozen=True)
class Relation:
    """How much more the samples are like the nearest entry than like another.

    Attributes:
        name: of the other entry.
        margin: mean difference of the two scores.
        p_value: of the proposition that they are no more like the nearest than like this one: by flipping the signs
            of the samples' differences. Corrected for the number of entries by Holm's method.
    """

    name: str
    margin: float
    p_value: float


@dataclass(frozen=True)
class Lineage:
    """The ranking of all samples taken together, and the nearest entry tested against every other."""

    ranking: Ranking
    relations: tuple[Relation, ...]
    rate: float
    refused: tuple[RefusedFile, ...] = ()

    @property
    def base(self) -> str | None:
        """The nearest entry, where it is nearer than unrelated models are, and significantly nearer than any other."""
        certain = all(relation.p_value <= self.rate for relation in self.relations)
        return self.ranking.identified if certain else None

    def to_dict(self) -> dict[str, Any]:
        relations = [asdict(relation) for relation in self.relations]
        return {
            "base": self.base,
            "nearest": self.ranking.candidates[0].name,
            "p_value": self.ranking.p_value,
            "rate": self.rate,
            "relations": relations,
            "refused": [each.to_dict() for each in self.refused],
            "limits": LIMITS,
        }


def trace(fingerprints: Tensor, gallery: Gallery) -> Lineage:
    """Fingerprints [n, d] of one fine-tune's samples, five or more.

    Raises TooFewSamples for fewer, or where no entry is from pictures.
    """
    if len(fingerprints) < LEAST:
        raise TooFewSamples(f"{len(fingerprints)} samples were given; a lineage needs {LEAST} or more of one model.")
    ranking = gallery.rank(fingerprints)
    if not ranking.candidates:
        raise TooFewSamples("no entry is from pictures; a lineage is not tested against predictions. Enrol some.")
    entries = {entry.name: entry for entry in gallery.entries}
    names = [candidate.name for candidate in ranking.candidates]
    scores = torch.stack([gallery.adapted.score(entries[name].fingerprints, fingerprints[:, None]) for name in names])
    margins = scores[1:] - scores[0]
    corrected = holm([sign_flip(margin) for margin in margins])
    relations = tuple(
        Relation(name, float(margin.mean()), p) for name, margin, p in zip(names[1:], margins, corrected, strict=True)
    )
    return Lineage(ranking, relations, gallery.rate)


def sign_flip(differences: Tensor, seed: int = 0) -> float:
    """One-sided p-value of "symmetric around zero" against "larger": [n] → (0, 1]. All flips where n is small."""
    n, values = len(differences), differences.double()
    least = values.sum() - 1e-12 * values.abs().sum()  # rounding; NaN is never less, so that it is no evidence
    if 2**n <= FLIPS:
        signs = 1 - 2 * ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1).double()
        return float((~(signs @ values < least)).double().mean())
    signs = 1 - 2 * torch.randint(0, 2, (FLIPS, n), generator=torch.Generator().manual_seed(seed)).double()
    return float((1 + (~(signs @ values < least)).sum()) / (FLIPS + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values that hold together, in the same order."""
    found, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        found[i] = largest
    return found
