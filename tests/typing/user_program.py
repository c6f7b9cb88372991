"""What a user writes, for mypy in strict mode: every line must be typed by the installed package alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import morelli
from morelli.errors import MorelliError
from morelli.sklearn import AttributorClassifier


def fitted(head: Path, own: Path, other: Path) -> morelli.Attributor:
    found = morelli.load(head)
    assert_type(found, morelli.Head | morelli.Attributor)
    if not isinstance(found, morelli.Head):
        raise MorelliError("no head")
    assert_type(found.form.levels, int)
    return morelli.train(found, own, other, method="flipad", perturb=("none", "jpeg:80"), rate=0.01)


def attributed(suspects: Sequence[Path], attributor: morelli.Attributor) -> dict[str, float | None]:
    report = morelli.attribute(suspects, attributor, together=True)
    assert_type(report, morelli.Report)
    assert_type(report.counts(), dict[str, int])
    chosen = [each for each in report.judged if each.verdict.outcome is morelli.Outcome.ATTRIBUTED]
    return {each.file: each.verdict.p_value for each in chosen}


def shared(attributor: morelli.Attributor, folder: Path) -> str:
    morelli.save_pretrained(attributor, folder, overwrite=True)
    assert_type(morelli.from_pretrained(folder), morelli.Head | morelli.Attributor)
    assert_type(morelli.calibrate(folder, "others").threshold, float)
    return morelli.save(attributor, folder.with_suffix(".attributor"))


def in_arrays(head: morelli.Head, rows: list[list[float]]) -> morelli.Attributor:
    classifier = AttributorClassifier(head, rate=0.02, detector="lda").fit(rows, [1] * len(rows))
    assert_type(classifier, AttributorClassifier)
    assert_type(classifier.score(rows, [1]), float)
    return classifier.attributor_


def known(pictures: Path, gallery: Path) -> list[str]:
    found = morelli.identify(pictures, gallery)
    return [str(morelli.verify(pictures, pictures).to_dict()), str(found.to_dict())]
