"""A report as a page to read, print or hand in: HTML, PDF, or the JSON that both are made of."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from morelli.app import looking
from morelli.app.attack_card import strongest
from morelli.app.bundles import load_attributor
from morelli.app.describing import no_option
from morelli.attribution.attributor import Attributor
from morelli.attribution.confounds import compared, stored_as
from morelli.attribution.population import ALL
from morelli.attribution.propositions import chance
from morelli.attribution.report import Report
from morelli.attribution.seconding import OPINIONS
from morelli.errors import OutOfRange
from morelli.features.protocol import SampleSpec
from morelli.numerics.calibration import relative, threshold
from morelli.numerics.validation import misleading
from morelli.storage.evidence import SCHEMA, page
from morelli.storage.pdf import check_pdf, pdf_of
from morelli.storage.plots import score_plot, tippett_plot
from morelli.storage.samples import Reading
from morelli.storage.writing import write_whole

SHOWN = 200  # lines of the overview
SECTIONS = 12  # samples that get a section of their own
UNSAFE = "\\\"'<>&"  # in a style sheet that is escaped as HTML
SUFFIXES = (".html", ".htm", ".pdf", ".json")


def write_report(report: Report, attributor: str | Path | Attributor, path: str | Path) -> None:
    """Write `report` as one self-contained HTML page, as PDF or as JSON, by the suffix of `path`.

    The same report gives the same bytes; of a PDF as long as fonts and WeasyPrint are the same.

    Args:
        attributor: the one the report was made with; its held-out scores are shown beside the judged ones.
    Raises:
        OutOfRange: another suffix. MorelliError: PDF, and WeasyPrint is not there. Nothing is written then.
    """
    path = Path(path)
    check_paths([path])
    told = report.to_dict()
    if path.suffix.lower() == ".json":
        content = (json.dumps(told, indent=1) + "\n").encode()
    else:
        text = _html(told, attributor)
        content = text.encode() if path.suffix.lower() != ".pdf" else pdf_of(text, told["id"])
    write_whole(path, content)


def report_html(report: Report, attributor: str | Path | Attributor) -> str:
    """The page that `write_report` writes."""
    return _html(report.to_dict(), attributor)


def _html(content: dict[str, Any], attributor: str | Path | Attributor) -> str:
    if not isinstance(attributor, Attributor):
        attributor = load_attributor(attributor)[0]
    if "second" in content["attributor"]:
        attributor = replace(attributor, rate=attributor.rate / OPINIONS)
    verdicts = content["verdicts"]
    single = len(verdicts) == 1
    overview, sections = _looked_at(verdicts, attributor)
    for before, after in pairwise(sections):
        after["new_file"] = after["file"] != before["file"]
    extra: dict[str, Any] = {
        "chance": chance,
        "single": single,
        "overview": overview,
        "sections": sections,
        "left_out": {"lines": len(verdicts) - len(overview), "sections": len(verdicts) - len(sections)},
        "histogram": "" if single else _all_scores(verdicts, attributor),
        "page_date": "".join(c for c in content["dated"] or "" if c.isprintable() and c not in UNSAFE),
        "one_condition": len({where for _, where in _scored(verdicts)}) == 1,
        "tippett": _tippett(verdicts, attributor),
        "conditions": _conditions(verdicts),
        "attacks": strongest(content["attack_card"]["attacks"] if content["attack_card"] else []),
    }
    return page("report", content | extra)


def check_paths(paths: Sequence[Path]) -> None:
    """Raises what `write_report` would raise of these paths, before anything is judged."""
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise OutOfRange(f"{path} ends in '{path.suffix}'; a report is written as .html, .pdf or .json.")
        if path.suffix.lower() == ".pdf":
            check_pdf()


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `Report.to_dict()`."""
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


def stamped(report: Report, dated: str | None = None) -> Report:
    """The report with a date: this text, else that of SOURCE_DATE_EPOCH where it is set, else none at all.

    Raises OutOfRange where SOURCE_DATE_EPOCH is no number of seconds.
    """
    dated = date_of(dated)
    return replace(report, dated=dated, custody=_again(report, [] if dated is None else ["--dated", dated]))


def date_of(dated: str | None) -> str | None:
    """What `stamped` puts on a report. Raises what it raises."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if dated is None and epoch:
        try:
            return datetime.fromtimestamp(int(epoch), UTC).isoformat(timespec="seconds")
        except (ValueError, OverflowError, OSError) as error:
            raise OutOfRange(f"SOURCE_DATE_EPOCH is {epoch!r}; expected whole seconds since 1970.") from error
    return dated


def with_attack_card(report: Report, card: Mapping[str, Any], path: str | Path) -> Report:
    """The report with what the attributor's owner measured of attacks, as `read_attack_card` read it from `path`."""
    return replace(report, attack_card=card, custody=_again(report, ["--attack-card", no_option(str(path))]))


def _again(report: Report, more: list[str]) -> Mapping[str, Any] | None:
    """Custody with more words of the command, where there is one."""
    if not more or report.custody is None or report.custody["command"] is None:
        return report.custody
    return {**report.custody, "command": f"{report.custody['command']} {shlex.join(more)}"}


def _looked_at(verdicts: list[dict[str, Any]], attributor: Attributor) -> tuple[list[Any], list[Any]]:
    """Lines of the overview, none of a single sample, and sections; each file is read once."""
    spec = attributor.extractor.spec
    lines: list[Any] = []
    sections: list[Any] = []
    for verdict in verdicts[:SHOWN]:
        reading = looking.read_again(verdict, spec)
        if len(verdicts) > 1:
            lines.append(_line(verdict, reading, spec))
        if len(sections) < SECTIONS:
            sections.append(_section(verdict, reading, attributor))
    return lines, sections


def _line(verdict: dict[str, Any], reading: Reading | None, spec: SampleSpec) -> dict[str, Any]:
    """One of many."""
    return verdict | {"thumbnail": looking.picture(reading, spec, looking.THUMBNAIL) if reading else ""}


def _section(verdict: dict[str, Any], reading: Reading | None, attributor: Attributor) -> dict[str, Any]:
    """All that there is to see of one."""
    spec = attributor.extractor.spec
    found: dict[str, Any] = {"picture": "", "scores": "", "maps": None, "is_picture": spec.is_image, "new_file": True}
    if reading is not None:
        found["picture"] = looking.picture(reading, spec, looking.LOOK)
    if verdict["score"] is not None:
        found["scores"] = looking.scores(verdict, attributor)
        found["maps"] = None if reading is None else looking.maps(verdict, reading, attributor)
    own = attributor.card.get("own", {}).get("facts")
    found |= {"is_stored": bool(stored_as(verdict["facts"])), "compared": compared(verdict["facts"], own)}
    return verdict | found


def _all_scores(verdicts: list[dict[str, Any]], attributor: Attributor) -> str:
    """Judged among own samples, each as seen from the own ones of the condition that it was judged in.

    The threshold is drawn where all were judged in one condition: each has its own.
    """
    judged = _scored(verdicts)
    if not judged:
        return ""
    seen = np.array([attributor.relative(score, condition) for score, condition in judged])
    condition = judged[0][1] if len({where for _, where in judged}) == 1 else None
    held = attributor.held_out if condition is None else attributor.own_scores().get(condition, attributor.held_out)
    own = relative(held, held.double()).numpy()
    cut = None if condition is None else attributor.relative(threshold(held, attributor.rate), condition)
    what = f"Histograms of {len(own)} held-out own scores and {len(seen)} judged ones" + (
        "." if cut is None else f", with the threshold {cut:.3g}."
    )
    unit = "score; of own samples: median 0, 95th percentile 1"
    return score_plot(own, ("judged", seen), [], threshold=cut, unit=unit, what=what)


def _scored(verdicts: list[dict[str, Any]]) -> list[tuple[float, str]]:
    """Score and condition of each sample that has them."""
    return [(v["score"], v["notes"].get("condition", "")) for v in verdicts if v["score"] is not None]


def _tippett(verdicts: list[dict[str, Any]], attributor: Attributor) -> dict[str, str] | None:
    """Ratios that were left out in turn: the `plot`, and the condition it is `of`: a single sample's, else all."""
    population = attributor.population
    if population is None or not population.left_out:
        return None
    ratio = verdicts[0]["likelihood_ratio"] if len(verdicts) == 1 else None
    where = ALL if ratio is None else str(ratio["condition"])
    own, foreign = population.validated(where)
    below, above = misleading(own, foreign)
    what = (
        f"Tippett plot in condition {where}: {len(own.values)} ratios of own samples, {below:.1%} of them below 1, and "
        f"{len(foreign.values)} of {foreign.count} other sources, which weigh the same, {above:.1%} of them above 1."
    )
    return {"plot": tippett_plot(own, foreign, None if ratio is None else ratio["log10"], what), "of": where}


def _conditions(verdicts: list[dict[str, Any]]) -> list[str]:
    """That samples were weighed in."""
    found = [verdict["likelihood_ratio"]["condition"] for verdict in verdicts if verdict["likelihood_ratio"]]
    return list(dict.fromkeys(found))
