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
from morelli.numerics.perturbations import Window

FIRST, SECOND = "p_first", "p_second"  # notes: what either says alone
OPINIONS, NOTHING = 2, "none"


@dataclass(frozen=True, eq=False)
class Seconded:
    """Attributes what both attribute, each at half the first one's rate: own samples are rejected no more often.

    The second is asked about what the first attributes; where the first says that it was turned, as it is and upright,
    and the kinder answer counts. So the rate is kept of own samples that nobody turned, whatever the first takes them
    for. Where it objects to a sample that something happened to of which it knows nothing, as a search of latents to a
    crop or to a JPEG file that was turned, that one is inconclusive.

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

    def fit(self, height: int, width: int) -> Window | None:
        """As the first one has it."""
        return self.first.fit(height, width)

    def judge(self, samples: Tensor, facts: Sequence[Facts] | None = None) -> list[Verdict]:
        """[n, *spec.shape], with the facts of their files → n verdicts. Raises what the extractors raise.

        The score is the first one's; the p-value twice the smaller of both, or of the first where that rejects.
        """
        known = [{}] * len(samples) if facts is None else list(facts)
        verdicts = [self._told(verdict) for verdict in self.first.judge(samples, facts)]
        questions = [
            (i, *question)
            for i, verdict in enumerate(verdicts)
            if verdict.outcome is Outcome.ATTRIBUTED
            for question in self._questions(samples[i], known[i], verdict)
        ]
        opinions: dict[int, list[Verdict]] = {}
        if questions:
            places, asked, told = zip(*questions, strict=True)
            for i, opinion in zip(places, self.second.judge(torch.stack(asked), told), strict=True):
                opinions.setdefault(i, []).append(opinion)
        for i, found in opinions.items():
            verdicts[i] = self._seconded(verdicts[i], found, known[i])
        return verdicts

    def _told(self, verdict: Verdict) -> Verdict:
        if (p := verdict.p_value) is None:
            return verdict
        return self._with(replace(verdict, notes=dict(verdict.notes) | {FIRST: p}), OPINIONS * p)

    def _with(self, verdict: Verdict, p: float) -> Verdict:
        outcome = verdict.outcome
        if outcome is not Outcome.INCONCLUSIVE:
            outcome = Outcome.ATTRIBUTED if p > self.rate else Outcome.NOT_ATTRIBUTED
        return replace(verdict, outcome=outcome, p_value=min(1.0, p))

    def _seconded(self, verdict: Verdict, opinions: Sequence[Verdict], facts: Facts) -> Verdict:
        """With the kindest opinion; one that cannot be given counts more than an objection."""
        silent = next((each for each in opinions if each.outcome is Outcome.INCONCLUSIVE), None)
        given = [each.p_value for each in opinions if each is not silent and each.p_value is not None]
        p = max(given, default=0.0)
        if silent and OPINIONS * p <= self.rate:
            return replace(verdict, outcome=Outcome.INCONCLUSIVE, reason=f"the second opinion: {silent.reason}")
        found = self._with(
            replace(verdict, notes=dict(verdict.notes) | {SECOND: p}), OPINIONS * min(p, verdict.notes[FIRST])
        )
        condition = self._condition(verdict, facts)
        if found.outcome is Outcome.ATTRIBUTED or self._bears(condition, facts):
            return found
        reason = f"the second opinion objects, but of {condition} it knows nothing."
        return replace(verdict, outcome=Outcome.INCONCLUSIVE, reason=reason)

    def _condition(self, verdict: Verdict, facts: Facts) -> str:
        """As the first judged it, or as the file is coded."""
        return str(verdict.notes.get("condition", facts.get("coding", NOTHING)))

    def _bears(self, condition: str, facts: Facts) -> bool:
        """Whether the second one's own scores hold after it. Former JPEGs it cannot tell from what is not its own."""
        kind, experts, extractor = condition.split(":")[0], self.second.experts, self.second.extractor
        if kind == NOTHING:
            return True
        if experts is not None:
            return condition in experts.of or (kind != "resize" and kind in {name.split(":")[0] for name in experts.of})
        told = kind != "jpeg" or str(facts.get("coding", NOTHING)).startswith(kind)
        return told and isinstance(extractor, Lenient) and kind in extractor.bears

    def _questions(self, sample: Tensor, facts: Facts, verdict: Verdict) -> list[tuple[Tensor, Facts]]:
        """The sample, and where it was turned the upright one, of which its file says no more than whether it lost."""
        extractor, way = self.first.extractor, verdict.notes.get("orientation")
        asked = [(sample, facts)]
        if way is None or self.second.any_orientation or not isinstance(extractor, Turnable):
            return asked
        place = extractor.orientations.index(way)
        if place and extractor.spec.is_image:
            coding = facts.get("coding", NOTHING)
            turned = orientations(sample, sample.shape[-2] == sample.shape[-1])[place]
            asked.append((turned, {"coding": coding, "lossless": coding == NOTHING}))
        return asked
