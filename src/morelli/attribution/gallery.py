"""Gallery: known models by their fingerprints. It ranks them for a sample, or answers "none of these"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from morelli.attribution.scoring import mean
from morelli.attribution.search import nearest
from morelli.attribution.world import World, groups
from morelli.errors import MismatchError, OutOfRange, TooFewSamples
from morelli.numerics.calibration import p_values
from morelli.numerics.state import State

LEAST = 5  # samples of an entry
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHORTLIST = 50  # entries that are scored; the others are farther by cosine


@dataclass(frozen=True, eq=False)
class Entry:
    """One known model.

    Attributes:
        name: letters, digits, ".", "_" and "-", at most 64; it is also the name of its folder.
        fingerprints: [n, d] of length 1.
        network: digest of the fingerprint network that made them.
        card: what it was enrolled from; JSON-able.
    Raises:
        OutOfRange: another name. TooFewSamples: fewer than five fingerprints.
    """

    name: str
    fingerprints: Tensor
    network: str
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.fingerprints) < LEAST:
            raise TooFewSamples(
                f"'{self.name}' has {len(self.fingerprints)} samples; an entry needs {LEAST}, better 10 or more."
            )

    @property
    def prototype(self) -> Tensor:
        return mean(self.fingerprints)

    def state(self) -> State:
        settings = {"name": self.name, "network": self.network, "card": dict(self.card)}
        return State(settings, {"fingerprints": self.fingerprints})

    @staticmethod
    def from_state(state: State) -> Entry:
        settings = state.settings
        return Entry(settings["name"], state.tensors["fingerprints"], settings["network"], settings["card"])


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
    """

    name: str
    score: float
    p_value: float


@dataclass(frozen=True)
class Ranking:
    """Candidates, most alike first.

    Attributes:
        identified: the first candidate's name, or None for "none of these".
        p_value: of the proposition that the sample comes from none of the gallery's models: the share of samples of
            other models that are at least as much like their best candidate. It is identified at `rate` and below.
    """

    candidates: tuple[Candidate, ...]
    p_value: float
    rate: float

    @property
    def identified(self) -> str | None:
        return self.candidates[0].name if self.p_value <= self.rate else None


@dataclass(frozen=True, eq=False)
class Gallery:
    """Answers: which of these models made it, if any?

    Attributes:
        rate: false-identification rate: samples of models that are not here are identified at most this often, as
            far as unknown models resemble those of the world and the entries themselves.
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

    def rank(self, fingerprints: Tensor) -> Ranking:
        """One source's fingerprints [k, d], of one sample or several, against every entry.

        Raises TooFewSamples where too few samples of other models are known for the rate.
        """
        size = len(fingerprints)
        scores, kept = self._scores(fingerprints[None])
        strangers = self._strangers(min(size, self.world.models.shape[1]))
        if 1 / (len(strangers) + 1) > self.rate:
            raise TooFewSamples(
                f"{len(strangers)} groups of {size} samples from other models cannot resolve a false-identification "
                f"rate of {self.rate:g}; ask for at least {1 / (len(strangers) + 1):.2g}, or for fewer samples at once."
            )
        order = scores[0].argsort()
        candidates = tuple(
            Candidate(self.entries[kept[i]].name, float(scores[0, i]), self._usual(kept[i], scores[0, i], size))
            for i in order.tolist()
        )
        p = p_values(-strangers, -scores[0].min()[None])
        return Ranking(candidates, float(p), self.rate)

    def _scores(self, queries: Tensor) -> tuple[Tensor, list[int]]:
        """Groups [m, k, d] → [m, entries], and which these are: all of them, or a shortlist of a large gallery."""
        kept = list(range(len(self.entries)))
        if len(kept) > SHORTLIST:
            found = nearest(self._prototypes, mean(queries), SHORTLIST)
            kept = sorted(set(found.flatten().tolist()))
        return torch.stack([self.world.score(self.entries[i].fingerprints, queries) for i in kept], 1), kept

    @cached_property
    def _prototypes(self) -> Tensor:
        return torch.stack([entry.prototype for entry in self.entries])

    def _strangers(self, size: int) -> Tensor:
        """Best scores of groups that belong to no entry: the world's, and each entry's against the others."""
        if size not in self._known:
            best = [self._scores(groups(self.world.strangers, size))[0].amin(1)]
            for i, entry in enumerate(self.entries if 1 < len(self.entries) <= SHORTLIST else ()):
                if len(entry.fingerprints) >= size:
                    scores, _ = self._scores(groups(entry.fingerprints[None], size))
                    best.append(torch.cat([scores[:, :i], scores[:, i + 1 :]], 1).amin(1))
            self._known[size] = torch.cat(best)
        return self._known[size]

    @cached_property
    def _known(self) -> dict[int, Tensor]:
        return {}

    def _usual(self, i: int, score: Tensor, size: int) -> float:
        """The p-value of a score among those of the entry's own samples, each group against the rest of the entry."""
        size = min(size, len(self.entries[i].fingerprints) - 1)
        if (i, size) not in self._own:
            own = self.entries[i].fingerprints
            starts = range(0, len(own) - size + 1, size)
            held_out = [
                self.world.score(torch.cat([own[:at], own[at + size :]]), own[at : at + size][None]) for at in starts
            ]
            self._own[i, size] = torch.cat(held_out)
        return float(p_values(self._own[i, size], score[None]))

    @cached_property
    def _own(self) -> dict[tuple[int, int], Tensor]:
        return {}
