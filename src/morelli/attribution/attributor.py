"""Attributor: an extractor, a detector and held-out own scores. It judges samples and knows its error rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from morelli.attribution.alignment import scores_in
from morelli.attribution.experts import Expert, Experts
from morelli.attribution.kinds import detector_from_state, extractor_from_state
from morelli.attribution.places import Places, fit_places
from morelli.attribution.population import Population
from morelli.attribution.remainder import Remainder, with_remainder
from morelli.attribution.report import Outcome, Verdict
from morelli.attribution.sizes import FITTED, unknown, window_of
from morelli.attribution.turning import FREE, Turning
from morelli.detectors.folds import Folds
from morelli.detectors.protocol import Detector, DetectorRecipe, Progress
from morelli.errors import MismatchError, OutOfRange, TooFewSamples
from morelli.features.inversion import saturated_share
from morelli.features.latent_reconstruction import LatentReconstruction
from morelli.features.protocol import Extractor, Facts, Features, Turnable
from morelli.numerics.calibration import p_values, relative, threshold
from morelli.numerics.perturbations import Window
from morelli.numerics.state import State

TURNED = "p_turned"  # note: the p-value as if being turned cost nothing
TOLD = "remainder"  # note: what of the score is for what was left when the sample was made again


@dataclass(frozen=True, eq=False)
class Attributor:
    """Answers: did this model make it?

    Attributes:
        held_out: [n] scores of own samples that were not trained on; every p-value and threshold is from them.
        rate: false-rejection rate: own samples are "not attributed" at most this often.
        saturated_limit: a sample with a larger share of saturated values is inconclusive.
        card: provenance and what a user should know; JSON-able.
        experts: detectors and held-out scores for samples that something happened to, where there are any.
        any_orientation: samples are scored in every orientation, own ones too, and the least score counts: mirrored
            ones are attributed, and the rate is kept. Of extractors that are `Turnable`.
        turning: what being attributed in another orientation than upright costs.
        reconstruction: makes samples again, for those experts that have a `remainder`; `remainder` is the usual one's.
        population: what other sources' samples score, where that was measured: verdicts get likelihood ratios then.
        seen: [k] digests of the samples that trained or calibrated it; see `app.sources.digests`.
        places: what held-out own samples look like at every place, for maps; None where features have no place.
    Raises:
        TooFewSamples: `held_out` cannot resolve the rate. MismatchError: a remainder, and nothing makes samples again.
    """

    extractor: Extractor
    detector: Detector
    held_out: Tensor
    rate: float = 0.005
    saturated_limit: float = 0.95
    card: Mapping[str, Any] = field(default_factory=dict)
    experts: Experts | None = None
    any_orientation: bool = False
    population: Population | None = None
    seen: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    places: Places | None = None
    turning: Turning = FREE
    reconstruction: LatentReconstruction | None = None
    remainder: Remainder | None = None

    def __post_init__(self) -> None:
        experts = [] if self.experts is None else [expert.held_out for expert in self.experts.of.values()]
        for scores in (self.held_out, *experts):
            if not scores.isfinite().all():
                raise OutOfRange("held-out scores are not finite.")
            threshold(scores, self.rate)
        if self.reconstruction is None and any(self.judge_of(name).remainder for name in self.own_scores()):
            raise MismatchError("an expert reads what reconstructions leave, and there is nothing to make them by.")

    @property
    def threshold(self) -> float:
        """The largest score that is still attributed."""
        return threshold(self.held_out, self.rate)

    @property
    def usual(self) -> Expert:
        """Judges samples to which nothing happened."""
        return Expert(self.detector, self.held_out, self.turning, self.remainder)

    def judge_of(self, condition: str) -> Expert:
        """The expert for a condition that a verdict notes."""
        return self.usual if self.experts is None else self.experts.of.get(condition, self.usual)

    def judge(self, samples: Tensor, facts: Sequence[Facts] | None = None) -> list[Verdict]:
        """[n, *spec.shape], with the facts of their files → n verdicts. Raises what the extractor raises."""
        if not len(samples):
            return []
        features = self.extractor.extract(samples, facts=facts)
        if self.experts is None:
            return self.judge_features(features, samples=samples)
        if facts is not None:
            doubts = zip(features.reasons, self.experts.doubts(facts, self.extractor.spec), strict=True)
            features = replace(features, reasons=tuple(one or other for one, other in doubts))
        conditions = self.experts.plausible(samples, self.extractor.spec, facts)
        verdicts = self.judge_features(features, conditions, samples)
        return verdicts if facts is None else list(map(self._sized, verdicts, facts))

    def fit(self, height: int, width: int) -> Window | None:
        """What of a picture of another size is brought to the model's and judged; None where nothing is known of it."""
        spec = self.extractor.spec
        if self.experts is None or spec.form.grid:  # pictures of every size are the model's
            return None
        return window_of(self.experts.of, spec.shape, height, width)

    def _sized(self, verdict: Verdict, facts: Facts) -> Verdict:
        """Of a file of another size: inconclusive where it may have come from something that no expert knows.

        Without a likelihood ratio, as populations are of files of the model's size.
        """
        if self.experts is None or FITTED not in facts:
            return verdict
        verdict = replace(verdict, likelihood_ratio=None)
        objects = verdict.outcome is Outcome.NOT_ATTRIBUTED
        reason = unknown(self.experts.of, facts, self.extractor.spec.shape) if objects else ""
        return replace(verdict, outcome=Outcome.INCONCLUSIVE, reason=reason) if reason else verdict

    def judge_features(
        self, features: Features, conditions: Sequence[Sequence[str]] | None = None, samples: Tensor | None = None
    ) -> list[Verdict]:
        """Verdicts from features of this attributor's own extractor; `conditions` that each of `samples` may be in.

        The samples are needed where parts are searched for, or samples are made again.
        """
        scores, chances, free, told, turns, judges = self._scores(features.values, conditions, samples)
        names = self.extractor.orientations if self.any_orientation and isinstance(self.extractor, Turnable) else None
        saturated = saturated_share(features)
        known: dict[str, Any] = {}  # false-attribution rates by condition
        verdicts = []
        for i, (score, p) in enumerate(zip(scores.tolist(), chances.tolist(), strict=True)):
            notes: dict[str, Any] = {name: round(float(values[i]), 6) for name, values in features.notes.items()}
            if conditions is not None:
                notes["condition"] = judges[i]
            if not math.isnan(told[i]):
                notes[TOLD] = round(float(told[i]), 3)
            if names is not None:
                notes["orientation"] = names[turns[i]]
                if free[i] > p:
                    notes[TURNED] = round(float(free[i]), 6)
            reason = features.reasons[i]
            if not reason and saturated[i] > self.saturated_limit:
                reason = f"{saturated[i]:.0%} of the values are saturated and say little about what came before."
            if not abs(score) < float("inf"):
                verdicts.append(Verdict(Outcome.INCONCLUSIVE, None, None, reason or "the score is not finite.", notes))
                continue
            outcome = Outcome.ATTRIBUTED if p > self.rate else Outcome.NOT_ATTRIBUTED
            ratio = None if reason else self._weighed(score, judges[i], known)
            verdicts.append(Verdict(Outcome.INCONCLUSIVE if reason else outcome, score, p, reason, notes, ratio))
        return verdicts

    def own_scores(self) -> dict[str, Tensor]:
        """Held-out scores by condition; "" where there are no experts."""
        if self.experts is None:
            return {"": self.held_out}
        return {name: expert.held_out for name, expert in self.experts.of.items()}

    def relative(self, score: float, condition: str = "") -> float:
        """A score as seen from the held-out own ones of the expert that gave it."""
        return float(relative(self.own_scores().get(condition, self.held_out), torch.tensor([score]).double()))

    def _weighed(self, score: float, condition: str, known: dict[str, Any]) -> Mapping[str, Any] | None:
        if self.population is None:
            return None
        where = self.population.calibrated_in(condition)
        if where not in known:
            known[where] = self.population.false_attribution(self.rate, where)
        found = self.population.weighed(self.relative(score, condition), where)
        return found | {"false_attribution": known[where]}

    def _scores(
        self, values: Tensor, conditions: Sequence[Sequence[str]] | None, samples: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, list[int], list[str]]:
        """Of each sample score, p-value, p-value if turning were free, what was told, orientation, name of a condition.

        Of that condition of its own where p is largest; the likeliest where p is the same in several.
        """
        scores, chances, free, told = torch.full((4, len(values)), math.nan, dtype=torch.float64)
        turns = torch.zeros(len(values), dtype=torch.long)
        likeliest = [""] * len(values) if conditions is None else [each[0] for each in conditions]
        judged_by = list(likeliest)
        judges = {"": self.usual}
        if conditions is not None and self.experts is not None:
            judges = dict(self.experts.of)
        for name, expert in judges.items():
            asked = torch.tensor([i for i in range(len(values)) if conditions is None or name in conditions[i]]).long()
            if len(asked):
                there = asked.to(values.device)
                seen = None if samples is None else samples[there]
                about = seen, values[there], self.any_orientation
                every, windows = scores_in(name, self.extractor, expert.detector, *about)
                found = with_remainder(every, windows, expert.turning, expert.remainder, self.reconstruction, seen)
                p = p_values(expert.held_out, found.scores)
                unpaid = expert.turning.free(expert.held_out, found.free)
                first = torch.tensor([likeliest[i] == name for i in asked.tolist()])
                better = ~(p <= chances[asked]) | (first & (p == chances[asked]))
                scores[asked[better]], chances[asked[better]], free[asked[better]], turns[asked[better]] = (
                    x[better] for x in (found.scores.double(), p, unpaid, found.ways)
                )
                told[asked[better]] = math.nan if found.told is None else found.told[better].double()
                for i in asked[better].tolist():
                    judged_by[i] = name
        return scores, chances, free, told, turns.tolist(), judged_by

    def state(self) -> State:
        settings = {"rate": self.rate, "saturated_limit": self.saturated_limit, "card": dict(self.card)}
        parts = {"extractor": self.extractor.state(), "detector": self.detector.state()}
        if self.experts is not None:
            parts["experts"] = self.experts.state(self.usual)
        if self.reconstruction is not None:
            parts["reconstruction"] = self.reconstruction.state()
        if self.remainder is not None:
            parts["remainder"] = self.remainder.state()
        if self.population is not None:
            parts["population"] = self.population.state()
        if self.places is not None:
            parts["places"] = self.places.state()
        tensors = {"held_out": self.held_out} | self.turning.tensors() | ({"seen": self.seen} if len(self.seen) else {})
        settings |= {"any_orientation": self.any_orientation, "turning": self.turning.settings()}
        return State(settings, tensors, parts)

    @staticmethod
    def from_state(state: State) -> Attributor:
        settings = state.settings
        turning = Turning.from_stored(settings.get("turning", {}), state.tensors)
        made, rest = (state.parts.get(name) for name in ("reconstruction", "remainder"))
        remainder = None if rest is None else Remainder.from_state(rest)
        usual = Expert(detector_from_state(state.parts["detector"]), state.tensors["held_out"], turning, remainder)
        return Attributor(
            extractor_from_state(state.parts["extractor"]),
            usual.detector,
            usual.held_out,
            settings["rate"],
            settings["saturated_limit"],
            settings["card"],
            Experts.from_state(state.parts["experts"], usual) if "experts" in state.parts else None,
            settings.get("any_orientation", False),
            Population.from_state(state.parts["population"]) if "population" in state.parts else None,
            state.tensors.get("seen", torch.empty(0, dtype=torch.int64)),
            Places.from_state(state.parts["places"]) if "places" in state.parts else None,
            turning,
            None if made is None else LatentReconstruction.from_state(made),
            remainder,
        )


def fit_attributor(
    extractor: Extractor,
    recipe: DetectorRecipe,
    own: Features,
    other: Features | None,
    held_out: Features | None,
    *,
    rate: float = 0.005,
    seed: int = 0,
    card: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Attributor:
    """Fit the detector on `own` against `other`, score `held_out`. All three come from `extractor`.

    `held_out` is None where `recipe` is of folds, which hold out by themselves.
    """
    detector = recipe.fit(own.values, None if other is None else other.values, seed, progress)
    if held_out is None:
        if not isinstance(detector, Folds):
            raise TooFewSamples("no samples were held out. Give some, or use folds.")
        scores = detector.grid
    else:
        scores = detector.score(held_out.values).cpu()
    places = None if held_out is None else fit_places(extractor, detector, held_out.values)
    return Attributor(extractor, detector, scores, rate, card=card or {}, places=places)
