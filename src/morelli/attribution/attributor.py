"""Attributor: an extractor, a detector and held-out own scores. It judges samples and knows its error rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from morelli.attribution.kinds import detector_from_state, extractor_from_state
from morelli.attribution.report import Outcome, Verdict
from morelli.detectors.folds import Folds
from morelli.detectors.protocol import Detector, DetectorRecipe, Progress
from morelli.errors import OutOfRange, TooFewSamples
from morelli.features.inversion import saturated_share
from morelli.features.protocol import Extractor, Facts, Features
from morelli.numerics.calibration import p_values, threshold
from morelli.numerics.state import State


@dataclass(frozen=True, eq=False)
class Attributor:
    """Answers: did this model make it?

    Attributes:
        held_out: [n] scores of own samples that were not trained on; every p-value and threshold is from them.
        rate: false-rejection rate: own samples are "not attributed" at most this often.
        saturated_limit: a sample with a larger share of saturated values is inconclusive.
        card: provenance and what a user should know; JSON-able.
    Raises:
        TooFewSamples: `held_out` cannot resolve the rate.
    """

    extractor: Extractor
    detector: Detector
    held_out: Tensor
    rate: float = 0.005
    saturated_limit: float = 0.95
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.held_out.isfinite().all():
            raise OutOfRange("held-out scores are not finite.")
        threshold(self.held_out, self.rate)

    @property
    def threshold(self) -> float:
        """The largest score that is still attributed."""
        return threshold(self.held_out, self.rate)

    def judge(self, samples: Tensor, facts: Sequence[Facts] | None = None) -> list[Verdict]:
        """[n, *spec.shape], with the facts of their files → n verdicts. Raises what the extractor raises."""
        return self.judge_features(self.extractor.extract(samples, facts=facts)) if len(samples) else []

    def judge_features(self, features: Features) -> list[Verdict]:
        """Verdicts from features of this attributor's own extractor."""
        scores = self.detector.score(features.values)
        chances = p_values(self.held_out, scores.cpu())
        saturated = saturated_share(features)
        verdicts = []
        for i, (score, p) in enumerate(zip(scores.tolist(), chances.tolist(), strict=True)):
            notes = {name: round(float(values[i]), 6) for name, values in features.notes.items()}
            reason = features.reasons[i]
            if not reason and saturated[i] > self.saturated_limit:
                reason = f"{saturated[i]:.0%} of the values are saturated and say little about what came before."
            if not abs(score) < float("inf"):
                verdicts.append(Verdict(Outcome.INCONCLUSIVE, None, None, reason or "the score is not finite.", notes))
                continue
            outcome = Outcome.ATTRIBUTED if p > self.rate else Outcome.NOT_ATTRIBUTED
            verdicts.append(Verdict(Outcome.INCONCLUSIVE if reason else outcome, score, p, reason, notes))
        return verdicts

    def state(self) -> State:
        settings = {"rate": self.rate, "saturated_limit": self.saturated_limit, "card": dict(self.card)}
        parts = {"extractor": self.extractor.state(), "detector": self.detector.state()}
        return State(settings, {"held_out": self.held_out}, parts)

    @staticmethod
    def from_state(state: State) -> Attributor:
        settings = state.settings
        return Attributor(
            extractor_from_state(state.parts["extractor"]),
            detector_from_state(state.parts["detector"]),
            state.tensors["held_out"],
            settings["rate"],
            settings["saturated_limit"],
            settings["card"],
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
    return Attributor(extractor, detector, scores, rate, card=card or {})
