"""A report as a page: verdicts with pictures and the scores they rest on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from morelli.app.bundles import load_attributor
from morelli.attribution.attributor import Attributor
from morelli.attribution.report import Report
from morelli.errors import MorelliError
from morelli.features.protocol import SampleSpec
from morelli.numerics.file_form import USUAL
from morelli.storage.depth import to_eight_bits
from morelli.storage.evidence import write_page
from morelli.storage.figures import contact_sheet, score_histogram
from morelli.storage.samples import read

SHOWN = 200


def write_report(report: Report, attributor: str | Path | Attributor, path: str | Path) -> None:
    """Write `report` as one self-contained HTML page.

    Args:
        attributor: the one the report was made with; its held-out scores are shown beside the judged ones.
    """
    if not isinstance(attributor, Attributor):
        attributor = load_attributor(attributor)[0]
    content = report.to_dict()
    shown = content["verdicts"][:SHOWN]
    for verdict in shown:
        verdict["picture"] = _picture(verdict["file"], attributor.extractor.spec)
    scores = [v["score"] for v in content["verdicts"] if v["score"] is not None]
    groups = {"held-out own samples": attributor.held_out.numpy(), "judged samples": np.array(scores, float)}
    histogram = score_histogram(groups, ["held-out own samples"], attributor.threshold)
    left_out = len(content["verdicts"]) - len(shown)
    page: dict[str, Any] = content | {"verdicts": shown, "left_out": left_out, "histogram": histogram}
    write_page("report", Path(path), page)


def _picture(file: str, spec: SampleSpec) -> str:
    """A thumbnail of what was judged; none for a table, or where the file is gone."""
    if not spec.is_image:
        return ""
    try:
        samples = read(Path(file), spec).samples
    except MorelliError:
        return ""
    shown = replace(spec, form=USUAL)  # to look at
    return contact_sheet(to_eight_bits(samples, shown).permute(0, 2, 3, 1).numpy())
