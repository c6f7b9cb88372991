"""Seconding: two attributors of one model, whose methods fail on different samples, and both have to attribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from morelli.attribution.attributor import Attributor
from morelli.attribution.report import Outcome, Verdict
from morelli.errors import MismatchError, MorelliError, TooFewSamples
from morelli.features.imprint import orientations
from morelli.features.protocol import Extractor, Facts, Lenient, Turnable
from morelli.numerics.calibration import threshold

FIRST, SECOND = "p_first", "p_second"  # notes: what either says alone
OPINIONS = 2


@dataclass(frozen=True, eq=False)
class Seconded:
    """Attributes what both attribute, each at half the first one's rate: own samples are rejected no more often.

    The second is asked about what the first attributes, turned as the first says that it is upright. Where it objects
    to a sample that something happened to of which it knows nothing, as a search of latents to a crop, that one is
    inconclusive.

    Attributes:
        first, second: of the same model; the second may be slow.
    Raises:
        MismatchError: they read other samples. TooFewSamples: held-out scores of one cannot resolve half the rate.
        MorelliError: the first has a population, whose likelihood ratios are of its own scores.

    Source: Bonferroni's inequality.
    """

    first: Attributor
    second: Attributor

    def __post_init__(self) -> None:
        one, other = self.first.extractor.spec.settings(), self.second.extractor.spec.settings()
        if one != other:
            raise MismatchError(f"the attributors read {one} and {other}. Give two of one model.")
        if self.first.population is not None:
            raise MorelliError(
                "the first attributor has a population, and its likelihood ratios are of its own scores. Give the one "
                "that `morelli calibrate` was given."
            )
        for which, each in (("first", self.first), ("second", self.second)):
            for scores in each.own_scores().values():
                try:
                    threshold(scores, self.rate / OPINIONS)
                except TooFewSamples as error:
                    raise TooFewSamples(
                        f"either attributor gets half the rate, and of the {which} one, {error}"
                    ) from None

    @property
    def extractor(self) -> Extractor:
        return self.first.extractor

    @property
    def rate(self) -> float:
        return self.first.rate

    def judge(self, samples: Tensor, facts: Sequence[Facts] | None = None) -> list[Verdict]:
        """[n, *spec.shape], with the facts of their files → n verdicts. Raises what the extractors raise.

        The score is the first one's; the p-value twice the smaller of both, or of the first where that rejects.
        """
        known = [{}] * len(samples) if facts is None else list(facts)
        verdicts = [self._told(verdict) for verdict in self.first.judge(samples, facts)]
        asked = [i for i, verdict in enumerate(verdicts) if verdict.outcome is Outcome.ATTRIBUTED]
        if asked:
            upright = [self._upright(samples[i], known[i], verdicts[i]) for i in asked]
            opinions = self.second.judge(torch.stack([x for x, _ in upright]), [f for _, f in upright])
            for i, opinion in zip(asked, opinions, strict=True):
                verdicts[i] = self._seconded(verdicts[i], opinion, known[i])
        return verdicts

    def _told(self, verdict: Verdict) -> Verdict:
        if (p := verdict.p_value) is None:
            return verdict
        notes = dict(verdict.notes) | {FIRST: p}
        return self._with(replace(verdict, notes=notes), OPINIONS * p)

    def _with(self, verdict: Verdict, p: float) -> Verdict:
        outcome = verdict.outcome
        if outcome is not Outcome.INCONCLUSIVE:
            outcome = Outcome.ATTRIBUTED if p > self.rate else Outcome.NOT_ATTRIBUTED
        return replace(verdict, outcome=outcome, p_value=min(1.0, p))

    def _seconded(self, verdict: Verdict, opinion: Verdict, facts: Facts) -> Verdict:
        p = opinion.p_value
        verdict = replace(verdict, notes=dict(verdict.notes) | {SECOND: p})
        if opinion.outcome is Outcome.INCONCLUSIVE or p is None:
            return replace(verdict, outcome=Outcome.INCONCLUSIVE, reason=f"the second opinion: {opinion.reason}")
        found = self._with(verdict, OPINIONS * min(p, verdict.notes[FIRST]))
        condition = str(verdict.notes.get("condition", "none"))
        if found.outcome is Outcome.ATTRIBUTED or self._bears(condition, facts):
            return found
        reason = f"the second opinion objects, but of {condition} it knows nothing."
        return replace(verdict, outcome=Outcome.INCONCLUSIVE, reason=reason)

    def _bears(self, condition: str, facts: Facts) -> bool:
        """Whether the second one's own scores hold after it. Former JPEGs it cannot tell from what is not its own."""
        if condition == "none" or self.second.experts is not None:
            return True
        kind, extractor = condition.split(":")[0], self.second.extractor
        told = kind != "jpeg" or str(facts.get("coding", "none")).startswith(kind)
        return told and isinstance(extractor, Lenient) and kind in extractor.bears

    def _upright(self, sample: Tensor, facts: Facts, verdict: Verdict) -> tuple[Tensor, Facts]:
        """Turned back, of which the file says nothing any more, unless the second looks at every orientation."""
        extractor, way = self.first.extractor, verdict.notes.get("orientation")
        if way is None or self.second.any_orientation or not isinstance(extractor, Turnable):
            return sample, facts
        place = extractor.orientations.index(way)
        if place == 0 or not extractor.spec.is_image:
            return sample, facts
        turned = orientations(sample, sample.shape[-2] == sample.shape[-1])[place]
        return turned, {"coding": facts.get("coding", "none"), "lossless": facts.get("coding", "none") == "none"}
