"""Verdicts and the report every door returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any

from morelli.attribution.confounds import confounds, split_by_storage

SCHEMA = 3  # 2: likelihood ratios, the attributor's population, queues; 3: custody, confounds, an id
QUESTION = "Did this model make these samples?"
LIMITS = (
    "A verdict is about this one model. Models that share its last layers are attributed together, "
    "and deliberate removal or imitation of its traces is possible."
)


class Outcome(Enum):
    ATTRIBUTED = "attributed"
    NOT_ATTRIBUTED = "not attributed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """One sample's outcome.

    Attributes:
        score: higher = less like the model; None where none could be computed.
        p_value: share of own samples at least this unlike the model; attributed where it exceeds the rate.
        reason: why it is inconclusive, else empty.
        notes: facts of the extractor, for example `saturated` (share) and `gap` (of the inversion); where asked
            for, the `condition` that the sample is in, and the `orientation` that makes it upright.
        likelihood_ratio: where a population was declared: `log10`, within its bounds; `words`; the `condition` it was
            calibrated in; `false_attribution` of samples in that. None of what is inconclusive.
    """

    outcome: Outcome
    score: float | None = None
    p_value: float | None = None
    reason: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    likelihood_ratio: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome.value,
            "score": self.score,
            "p_value": self.p_value,
            "reason": self.reason,
            "notes": dict(self.notes),
            "likelihood_ratio": None if self.likelihood_ratio is None else dict(self.likelihood_ratio),
        }


@dataclass(frozen=True)
class JudgedFile:
    """A verdict with the file it is about. `row` counts the rows of a table from 0, and is None for images."""

    file: str
    verdict: Verdict
    facts: Mapping[str, Any]
    row: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.file, "row": self.row} | self.verdict.to_dict() | {"facts": dict(self.facts)}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> JudgedFile:
        scores = record["score"], record["p_value"]
        weighed = record["notes"], record["likelihood_ratio"]
        verdict = Verdict(Outcome(record["outcome"]), *scores, record["reason"], *weighed)
        return JudgedFile(record["file"], verdict, record["facts"], record["row"])


@dataclass(frozen=True)
class RefusedFile:
    """A file that is not a sample, and why."""

    file: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.file, "reason": self.reason}


@dataclass(frozen=True)
class Report:
    """All verdicts of one run, and the attributor they rest on.

    Attributes:
        certificates: of the samples that were looked at again: file, row and, of an inversion, `excess` (its objective
            is above the optimum by at most this share of it) and `gap` (of the exact solution that proves it); of a
            search, the score that was `judged`, the `best` that so many `starts` reached, and `psnr` in dB.
        together: of all samples at once, where that was asked for: `samples` that count, `outcome`, `p_value`, and
            `log10_e_value`, the evidence against the model (see `attribution.pooling.pooled_evidence`), or None.
        queue: where a false-discovery rate was asked for: `fdr`, `samples` that count, those `not_attributed` at it.
        custody: `versions`, `settings`, and the `command` that makes the same report again, or None.
        attack_card: what the attributor's owner measured of attacks; see docs/report.md.
        dated: when it was made, where that was asked for. Nothing else in it changes from run to run.
    """

    attributor: Mapping[str, Any]
    judged: tuple[JudgedFile, ...]
    refused: tuple[RefusedFile, ...] = ()
    certificates: tuple[Mapping[str, Any], ...] = ()
    together: Mapping[str, Any] | None = None
    queue: Mapping[str, Any] | None = None
    custody: Mapping[str, Any] | None = None
    attack_card: Mapping[str, Any] | None = None
    dated: str | None = None

    def counts(self) -> dict[str, int]:
        counts = {outcome.value: 0 for outcome in Outcome}
        for judged in self.judged:
            counts[judged.verdict.outcome.value] += 1
        return counts | {"refused": len(self.refused)}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, as docs/report.md and the schema say; the same input gives the same dictionary.

        Its `id` is the SHA-256 of everything else, as JSON with sorted keys and no blanks.
        """
        attributor = dict(self.attributor)
        population = attributor.get("population") or {}
        own = (attributor.get("own") or {}).get("facts")
        verdicts = []
        for judged in self.judged:
            found = confounds(
                judged.facts,
                judged.verdict.outcome.value,
                own,
                population=population.get("facts"),
                conditions=attributor.get("conditions") or (),
            )
            verdicts.append(judged.to_dict() | {"confounds": found})
        content = {
            "schema": SCHEMA,
            "question": QUESTION,
            "dated": self.dated,
            "attributor": attributor,
            "summary": self.counts(),
            "verdicts": verdicts,
            "confounds": split_by_storage((each.file, each.verdict.outcome.value, each.facts) for each in self.judged),
            "refused": [refused.to_dict() for refused in self.refused],
            "together": None if self.together is None else dict(self.together),
            "queue": None if self.queue is None else dict(self.queue),
            "certificates": [dict(certificate) for certificate in self.certificates],
            "attack_card": None if self.attack_card is None else dict(self.attack_card),
            "custody": None if self.custody is None else dict(self.custody),
            "limits": LIMITS,
        }
        return {"id": _id(content)} | content


def _id(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
