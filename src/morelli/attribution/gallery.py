"""Gallery: known models by their fingerprints. It ranks them for a sample, or answers "none of these"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from morelli.attribution.search import nearest
from morelli.attribution.world import World, groups
from morelli.errors import MismatchError, OutOfRange, TooFewSamples
from morelli.numerics.calibration import p_values
from morelli.numerics.state import State

LEAST = 5  # samples of an entry
FIRST, FOLDS = 3, 5  # candidates with a p-value, for which their samples are held out in five parts or less
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHORTLIST = 50  # entries that are scored; the means of the others are farther


@dataclass(frozen=True, eq=False)
class Entry:
    """One known model.

    Attributes:
        name: letters, digits, ".", "_" and "-", at most 64; it is also the name of its folder.
        fingerprints: [n, d].
        network: digest of the fingerprint network that made them.
        card: what it was enrolled from; JSON-able.
        predicted: whether they are of pictures that were simulated from weights, none of which the model made.
    Raises:
        OutOfRange: another name. TooFewSamples: fewer than five fingerprints.
    """

    name: str
    fingerprints: Tensor
    network: str
    card: Mapping[str, Any] = field(default_factory=dict)
    predicted: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.fingerprints) < LEAST:
            raise TooFewSamples(
                f"'{self.name}' has {len(self.fingerprints)} samples; an entry needs {LEAST}, better 10 or more."
            )

    def state(self) -> State:
        settings: dict[str, Any] = {"name": self.name, "network": self.network, "card": dict(self.card)}
        if self.predicted:
            settings["predicted"] = True
        return State(settings, {"fingerprints": self.fingerprints})

    @staticmethod
    def from_state(state: State) -> Entry:
        settings = state.settings
        predicted = settings.get("predicted", False)  # entries of older versions are not
        return Entry(settings["name"], state.tensors["fingerprints"], settings["network"], settings["card"], predicted)


def check_name(name: str) -> None:
    """Raises OutOfRange unless this can be the name of an entry."""
    if not NAME.fullmatch(name):
        raise OutOfRange(f"'{name}' cannot name a model; expected letters, digits, '.', '_' and '-', at most 64.")


@dataclass(frozen=True)
class Candidate:
    """An entry, as one sample or group of samples sees it.

    Attributes:
        score: higher = less like the model.
        p_value: share of the entry's own samples at least this unlike the others of it; small = not a usual sample.
            Of the first three candidates only.
    """

    name: str
    score: float
    p_value: float | None


@dataclass(frozen=True)
class Ranking:
    """Candidates, most alike first.

    Attributes:
        identified: the first candidate's name, or None for "none of these".
        p_value: of the proposition that the sample comes from none of the gallery's models: the share of the world's
            strangers that are at least as much like their best candidate. It is identified at `rate` and below. None
            where no entry is from pictures.
        predicted: entries known from weights alone, most alike first. They are never identified and have no p-value:
            nothing says how far a prediction is from what the model makes.
    """

    candidates: tuple[Candidate, ...]
    p_value: float | None
    rate: float
    predicted: tuple[Candidate, ...] = ()

    @property
    def identified(self) -> str | None:
        return self.candidates[0].name if self.p_value is not None and self.p_value <= self.rate else None


@dataclass(frozen=True, eq=False)
class Gallery:
    """Answers: which of these models made it, if any?

    Attributes:
        rate: false-identification rate: samples of models that are not here are identified at most this often, where
            such models are exchangeable with the world's strangers; kin of an entry is identified more often.
    Raises:
        MismatchError: entries of different fingerprint networks, or two of one name.
        OutOfRange, TooFewSamples: a rate that is none, or that the world cannot resolve.
    """

    entries: tuple[Entry, ...]
    world: World
    rate: float = 0.05

    def __post_init__(self) -> None:
        networks = {entry.network for entry in self.entries}
        if len(networks) > 1:
            raise MismatchError("the gallery's entries come from different fingerprint networks. Enrol them again.")
        if len({entry.name for entry in self.entries}) < len(self.entries):
            raise MismatchError("two entries of the gallery have one name.")
        if not self.entries:
            raise TooFewSamples("the gallery is empty; enrol a model with `morelli enrol` first.")
        if not 0 < self.rate < 1:
            raise OutOfRange(f"the false-identification rate is {self.rate}; expected one between 0 and 1, as 0.05.")

    @cached_property
    def known(self) -> tuple[Entry, ...]:
        """The entries from pictures: they alone are identified, and say what is usual."""
        return tuple(entry for entry in self.entries if not entry.predicted)

    @cached_property
    def adapted(self) -> World:
        """The world, to which the entries from pictures say what varies within a model."""
        return replace(self.world, known=tuple(entry.fingerprints for entry in self.known))

    def rank(self, fingerprints: Tensor) -> Ranking:
        """One source's fingerprints [k, d], of one sample or several, against every entry.

        Raises TooFewSamples where too few samples of other models are known for the rate.
        """
        size = len(fingerprints)
        predicted = self._predicted(fingerprints[None])
        if not self.known:
            return Ranking((), None, self.rate, predicted)
        scores, kept = self._scores(fingerprints[None])
        least = 1 / (len(self.world.strangers) + 1)
        if least > self.rate:
            raise TooFewSamples(
                f"{len(self.world.strangers)} models that are not known cannot resolve a false-identification rate of "
                f"{self.rate:g}; ask for at least {math.ceil(1000 * least) / 1000:g}."
            )
        order = scores[0].argsort()
        candidates = tuple(
            Candidate(
                self.known[kept[i]].name,
                float(scores[0, i]),
                self._usual(kept[i], scores[0, i], size) if rank < FIRST else None,
            )
            for rank, i in enumerate(order.tolist())
        )
        return Ranking(candidates, self._p_none(scores[0].min(), size), self.rate, predicted)

    def _predicted(self, queries: Tensor) -> tuple[Candidate, ...]:
        entries = [entry for entry in self.entries if entry.predicted]
        scored = [(float(self.world.score(entry.fingerprints, queries)[0]), entry.name) for entry in entries]
        return tuple(Candidate(name, score, None) for score, name in sorted(scored))

    def _scores(self, queries: Tensor) -> tuple[Tensor, list[int]]:
        """Groups [m, k, d] → [m, known], and which these are: all of them, or a shortlist of a large gallery."""
        kept = list(range(len(self.known)))
        if len(kept) > SHORTLIST:
            found = nearest(self._prototypes, self.adapted.see(queries.mean(1)), SHORTLIST)
            kept = sorted(set(found.flatten().tolist()))
        return torch.stack([self.adapted.score(self.known[i].fingerprints, queries) for i in kept], 1), kept

    @cached_property
    def _prototypes(self) -> Tensor:
        return self.adapted.see(torch.stack([entry.fingerprints.mean(0) for entry in self.known]))

    def _p_none(self, score: Tensor, size: int) -> float:
        """Each stranger counts once, in the coding in which it is most like a candidate."""
        size = min(size, self.world.strangers.shape[2])
        if size not in self._known:
            self._known[size] = [
                torch.stack([self._scores(groups(coded[None], size))[0].amin(1) for coded in stranger])
                for stranger in self.world.strangers
            ]
        shares = [(best <= score).double().mean(1).max() for best in self._known[size]]
        return float((1 + sum(shares)) / (len(shares) + 1))

    @cached_property
    def _known(self) -> dict[int, list[Tensor]]:
        return {}

    def _usual(self, i: int, score: Tensor, size: int) -> float:
        """The p-value of a score among those of the entry's own samples, in groups as large, or half the entry.

        These are held out in turns, also from what is learned of variation within a model: a sample that taught the
        covariance would look more usual than one that did not.
        """
        own = self.known[i].fingerprints
        size = min(size, len(own) // 2)
        if (i, size) not in self._own:
            others = tuple(entry.fingerprints for entry in self.known if entry is not self.known[i])
            held_out = []
            for fold in torch.arange(len(own)).split(max(size, -(-len(own) // FOLDS))):
                rest = own[[at for at in range(len(own)) if at not in fold.tolist()]]
                world = replace(self.world, known=(*others, rest))
                held_out.append(world.score(rest, groups(own[fold][None], size)))
            self._own[i, size] = torch.cat(held_out)
        return float(p_values(self._own[i, size], score[None]))

    @cached_property
    def _own(self) -> dict[tuple[int, int], Tensor]:
        return {}
