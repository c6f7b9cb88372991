"""The declared reference population: what samples of other sources score, and what that says of a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from morelli.attribution.propositions import PROPOSITIONS, sentence
from morelli.errors import MismatchError, TooFewSamples
from morelli.numerics.bounds import BoundedRatio
from morelli.numerics.likelihood_ratio import Scores
from morelli.numerics.metrics import interval_of_mean
from morelli.numerics.state import State
from morelli.numerics.validation import cllr, cllr_min, devpav, misleading

ALL, GIVEN = "all", "as given"
FEWEST, FEWEST_SOURCES = 50, 3  # foreign samples in a condition, and their sources, for a calibrator of its own
LEVEL = 0.95
COLUMNS = ("source", "score", "p_value", "condition", "made")


@dataclass(frozen=True, eq=False)
class Judged:
    """Samples of other sources, judged as any sample is.

    Attributes:
        sources: k names. source: [m], which of them. score: [m] relative to own ones, see `calibration.relative`.
        p_value: [m], float64. condition: [m], in which of the conditions each was judged. made: [m], whether it is a
            copy that something was done to here.
    Raises:
        MismatchError: not one value of each for every sample, or a source without a name.
    """

    sources: tuple[str, ...]
    source: Tensor
    score: Tensor
    p_value: Tensor
    condition: Tensor
    made: Tensor

    def __post_init__(self) -> None:
        counts = {len(values) for values in self.tensors().values()}
        if len(counts) > 1 or any(not 0 <= k < len(self.sources) for k in self.source.unique().tolist()):
            raise MismatchError(f"judged samples have {sorted(counts)} values, of {len(self.sources)} sources.")

    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in COLUMNS}


@dataclass(frozen=True, eq=False)
class Population:
    """A calibrator for each condition with enough foreign samples, one for all, and how well they do.

    Sources weigh the same, however many samples they have. Every sample's own ratio, as a calibrator said that had not
    seen its source, is kept where that was asked for.

    Attributes:
        own: held-out relative scores [n] of own samples by condition; sample i is the same in each.
        ratios: by condition; `ALL` is always there.
        left_out: log10 ratios by condition of own samples [n], and under `FOREIGN` of the judged ones [m]; or empty.
        card: what was declared; JSON-able.
    Raises:
        MismatchError: there is no calibrator for all.
    """

    judged: Judged
    own: Mapping[str, Tensor]
    ratios: Mapping[str, BoundedRatio]
    left_out: Mapping[str, Tensor] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if ALL not in self.ratios:
            raise MismatchError(f"the population has no calibrator for all samples, but for {', '.join(self.ratios)}.")

    def calibrated_in(self, condition: str) -> str:
        """The condition itself, or `ALL` where it has no calibrator."""
        return condition if condition in self.ratios else ALL

    def weighed(self, score: float, where: str) -> dict[str, Any]:
        """What a relative score says, by the calibrator of a condition or of `ALL`, for a verdict."""
        log10 = float(self.ratios[where].log10_ratio(torch.tensor([score], dtype=torch.float64)))
        log10 = round(log10, 4) + 0.0  # no minus before zero
        return {"log10": log10, "words": sentence(log10), "condition": where}

    def false_attribution(self, rate: float, where: str = GIVEN) -> dict[str, Any]:
        """Share of samples of other sources that are attributed at a false-rejection rate, sources weighing the same.

        Args:
            where: a condition that samples were judged in, copies among them; `ALL`; or `GIVEN`, all but copies.
        Returns:
            `rate`; `low` and `high`, a bootstrap interval over sources; how many `sources` and `samples`; `unseen`: a
            kind of source that makes up less of the population than this may be missing (probability 5 %).
        """
        chosen = self._chosen(where)
        shares = self.shares(rate, where)
        low, high = interval_of_mean(torch.tensor([*shares.values()]), level=LEVEL)
        unseen = 1 - (1 - LEVEL) ** (1 / len(shares))
        found = {"rate": sum(shares.values()) / len(shares), "low": low, "high": high, "unseen": unseen}
        counts = {"sources": len(shares), "samples": int(chosen.sum())}
        return {name: round(value, 6) for name, value in found.items()} | counts

    def shares(self, rate: float, where: str = GIVEN) -> dict[str, float]:
        """Of each source that has samples there, the share that is attributed."""
        chosen = self._chosen(where)
        attributed, source = (self.judged.p_value > rate)[chosen].double(), self.judged.source[chosen]
        return {self.judged.sources[k]: float(attributed[source == k].mean()) for k in source.unique().tolist()}

    def about(self, rate: float) -> dict[str, Any]:
        """For a report: both propositions, the population, its false-attribution rates, bounds and validation."""
        conditions = {}
        for where, ratio in self.ratios.items():
            bounds = {"lower": round(ratio.lower, 4), "upper": round(ratio.upper, 4)}
            own, foreign = self.validated(where) if self.left_out else (None, None)
            measures = {} if own is None or foreign is None else measured(own, foreign)
            conditions[where] = bounds | {"false_attribution": self.false_attribution(rate, where)} | measures
        return {
            "propositions": list(PROPOSITIONS),
            "sources": list(self.judged.sources),
            "false_attribution": self.false_attribution(rate),
            "level": LEVEL,
            "by_source": {name: round(share, 6) for name, share in self.shares(rate).items()},
            "conditions": conditions,
            "validated": "each source by a calibrator fitted without it" if self.left_out else None,
            "calibrator": self.card.get("calibrator"),
            "made": self.card.get("made"),
            "sha256": self.card.get("sha256"),
            "facts": self.card.get("facts"),
            "warnings": list(self.card.get("warnings", [])),
        }

    def validated(self, where: str) -> tuple[Scores, Scores]:
        """log10 ratios of own and of foreign samples there, each by a calibrator that had not seen its source.

        Of `ALL`, each by the calibrator of its own condition, where there is one.
        """
        chosen = self._chosen(where)
        own = [self.left_out[name] for name in ([where] if where in self.own else self.own)]
        return _together(own), Scores(self.left_out[FOREIGN][chosen], self.judged.source[chosen])

    def _chosen(self, where: str) -> Tensor:
        return _chosen(self.judged, list(self.own), where)

    def state(self) -> State:
        names = list(self.own)
        settings = {"sources": list(self.judged.sources), "conditions": names, "card": dict(self.card)}
        tensors = self.judged.tensors() | {f"own_{i}": scores for i, scores in enumerate(self.own.values())}
        if self.left_out:
            tensors |= {f"left_out_{i}": self.left_out[name] for i, name in enumerate(names)}
            tensors["left_out"] = self.left_out[FOREIGN]
        calibrated = list(self.ratios)
        parts = {f"ratio_{i}": ratio.state() for i, ratio in enumerate(self.ratios.values())}
        return State(settings | {"calibrated": calibrated}, tensors, parts)

    @staticmethod
    def from_state(state: State) -> Population:
        settings, tensors = state.settings, state.tensors
        judged = Judged(tuple(settings["sources"]), *(tensors[name] for name in COLUMNS))
        own = {name: tensors[f"own_{i}"] for i, name in enumerate(settings["conditions"])}
        left_out = {}
        if "left_out" in tensors:
            left_out = {name: tensors[f"left_out_{i}"] for i, name in enumerate(own)}
            left_out[FOREIGN] = tensors["left_out"]
        calibrated = enumerate(settings["calibrated"])
        ratios = {name: BoundedRatio.from_state(state.parts[f"ratio_{i}"]) for i, name in calibrated}
        return Population(judged, own, ratios, left_out, settings["card"])


FOREIGN = "/foreign"  # no condition is called so


def fit_population(
    own: Mapping[str, Tensor],
    judged: Judged,
    kind: str = "logistic",
    *,
    leave_source_out: bool = False,
    card: Mapping[str, Any] | None = None,
) -> Population:
    """Calibrate on own relative scores by condition and on judged samples of other sources.

    Raises TooFewSamples with fewer than two sources, or three where each is to be left out.
    """
    least = 3 if leave_source_out else 2
    if len(judged.source.unique()) < least:
        raise TooFewSamples(
            f"the population has samples of {len(judged.source.unique())} source; it takes at least {least}, better "
            "ten or more: they stand for all that may be met."
        )
    ratios: dict[str, BoundedRatio] = {}
    left_out: dict[str, Tensor] = {}
    for where in (ALL, *(name for name in own if len(own) > 1)):
        chosen = _chosen(judged, list(own), where)
        few = int(chosen.sum()) < FEWEST or len(judged.source[chosen].unique()) < FEWEST_SOURCES
        if where != ALL and few:
            continue
        names = list(own) if where == ALL else [where]
        mine, theirs = _together([own[n] for n in names]), Scores(judged.score[chosen], judged.source[chosen])
        ratios[where] = BoundedRatio.fit(kind, mine, theirs)
        if leave_source_out:
            first, second = ratios_left_out(kind, mine, theirs)
            left_out |= dict(zip(names, first.tensor_split(len(names)), strict=True))
            left_out.setdefault(FOREIGN, torch.zeros_like(judged.score))[chosen] = second
    return Population(judged, dict(own), ratios, left_out, card or {})


def ratios_left_out(kind: str, own: Scores, foreign: Scores) -> tuple[Tensor, Tensor]:
    """log10 ratios of own and of foreign scores, each by a calibrator without its source, or without its share of own
    units: as many shares as there are sources.
    """
    sources = foreign.units.unique()
    mine, theirs = torch.zeros_like(own.values), torch.zeros_like(foreign.values)
    for fold, source in enumerate(sources):
        held, left = own.units % len(sources) == fold, foreign.units == source
        ratio = BoundedRatio.fit(kind, own.some(~held), foreign.some(~left))
        mine[held], theirs[left] = ratio.log10_ratio(own.values[held]), ratio.log10_ratio(foreign.values[left])
    return mine, theirs


def measured(own: Scores, foreign: Scores) -> dict[str, Any]:
    """`cllr`, `cllr_min`, `devpav` (None where PAV tells all apart) and shares of misleading ratios."""
    off, (first, second) = devpav(own, foreign), misleading(own, foreign)
    found = {"cllr": cllr(own, foreign), "cllr_min": cllr_min(own, foreign), "devpav": off if off == off else None}
    found |= {"misleading_own": first, "misleading_foreign": second}
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def _together(own: Sequence[Tensor]) -> Scores:
    """A unit is a sample, with what was done to it."""
    units = torch.arange(len(own[0])).repeat(len(own))
    return Scores(torch.cat([*own]).double(), units)


def _chosen(judged: Judged, conditions: list[str], where: str) -> Tensor:
    if where == ALL:
        return torch.ones(len(judged.source), dtype=torch.bool)
    return ~judged.made if where == GIVEN else judged.condition == conditions.index(where)
