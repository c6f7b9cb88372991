"""Results as text for a terminal. Plain lines that also read well in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from morelli.attribution.propositions import chance
from morelli.cli.answers import harmless
from morelli.cli.origins import origins_in

SHOWN = 200


@harmless
def verdicts(report: Mapping[str, Any]) -> str:
    """One line per verdict, refused files, the summary, and what it rests on."""
    declared = report["attributor"]["population"]
    rows = [("verdict", "p-value", "score", *(["LR"] if declared else []), "sample", "")]
    for verdict in report["verdicts"][:SHOWN]:
        p, score, ratio = verdict["p_value"], verdict["score"], verdict["likelihood_ratio"]
        name = verdict["file"] if verdict["row"] is None else f"{verdict['file']} row {verdict['row']}"
        numbers = ["–" if p is None else chance(p), "–" if score is None else f"{score:.4g}"]
        if declared:
            numbers.append("–" if ratio is None else f"{10 ** ratio['log10']:.3g}")
        rows.append((verdict["outcome"], *numbers, name, verdict["reason"]))
    lines = aligned(rows)
    if len(report["verdicts"]) > SHOWN:
        lines.append(f"… and {len(report['verdicts']) - SHOWN} more; use --csv, --json or --report to see all.")
    lines += [f"refused: {refused['reason']}" for refused in report["refused"][:SHOWN]]
    lines += _warnings(report)
    lines += [f"certified: {proof['file']}: {_proved(proof)}" for proof in report.get("certificates", [])[:SHOWN]]
    lines += origins_in(report["verdicts"])
    if pooled := report.get("together"):
        lines.append(_pooled(pooled))
    if queue := report.get("queue"):
        lines.append(_queued(queue))
    counts = ", ".join(f"{count} {name}" for name, count in report["summary"].items() if count)
    about = report["attributor"]
    lines += [
        "",
        f"{counts or 'nothing judged'}. {about['promise']}",
        *_declared(declared, [verdict["likelihood_ratio"] for verdict in report["verdicts"]]),
        report["limits"],
    ]
    return "\n".join(lines)


def _warnings(report: Mapping[str, Any]) -> list[str]:
    """What might explain verdicts, of the run and of single files, and what attributor and population warn of."""
    about = report["attributor"]
    told = [*about["warnings"], *(about["population"] or {}).get("warnings", ())]
    told += [found["text"] for found in report["confounds"]]
    for verdict in report["verdicts"]:
        told += [f"{verdict['file']}: {found['text']}" for found in verdict["confounds"] if found["explains"]]
    return _bounded("warning", list(dict.fromkeys(told)))


def _bounded(what: str, told: Sequence[str]) -> list[str]:
    lines = [f"{what}: {each}" for each in told[:SHOWN]]
    return lines + [f"… and {len(told) - SHOWN} more; use --json to see all."] * (len(told) > SHOWN)


def training(card: Mapping[str, Any], out: object) -> str:
    """What an attributor was trained and calibrated on, how well it separates, and where it was written."""
    own, which = card["own"], card.get("calibrated", "held out")
    which = "held-out ones" if which == "held out" else f"ones {which}"
    lines = [f"trained on {own['trained_on']} own samples, threshold from {own['held_out']} {which}"]
    for condition, area in card.get("separated", {}).items():
        lines.append(f"{condition:12s} own samples are told from misplaced and other ones in {area:.2%} of pairs")
    return "\n".join([*lines, f"written: {out}"])


def _declared(found: Mapping[str, Any] | None, ratios: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """What likelihood ratios are about, of a single sample in words, and the error rates where samples were judged."""
    if found is None:
        return ["No population is declared, so nothing is said of how often other sources are attributed."]
    first, second = found["propositions"]
    lines = [f"LR: how many times more probable the score is if {first} than if {second}."]
    if len(ratios) == 1 and ratios[0] is not None:
        lines.append(ratios[0]["words"])
    lines.append(_attributed(found["false_attribution"], found["level"]))
    among = {ratio["condition"]: ratio["false_attribution"] for ratio in ratios if ratio is not None}
    for name, wrong in among.items():
        if len(found["conditions"]) > 1:
            counts = (
                f"{wrong['low']:.2%} to {wrong['high']:.2%}, {wrong['sources']} sources, {wrong['samples']} samples"
            )
            which = "in all conditions together" if name == "all" else f"judged as '{name}', as some here are"
            lines.append(f"Of those {which}: {wrong['rate']:.2%} ({counts}).")
    return lines


def _attributed(found: Mapping[str, Any], level: float) -> str:
    return (
        f"Of samples of other sources {found['rate']:.2%} are attributed ({level:.0%} interval {found['low']:.2%} to "
        f"{found['high']:.2%}, {found['sources']} sources, {found['samples']} samples); a kind of source that makes up "
        f"less than {found['unseen']:.0%} of the population may be missing."
    )


def _queued(found: Mapping[str, Any]) -> str:
    called = [each["file"] + ("" if each["row"] is None else f" row {each['row']}") for each in found["not_attributed"]]
    shown = ", ".join(called[:SHOWN]) + (", …" if len(called) > SHOWN else "")
    return (
        f"queue: {len(called)} of {found['samples']} samples are not attributed at a false-discovery rate of "
        f"{found['fdr']:.1%}{': ' if called else ''}{shown}"
    )


@harmless
def population(found: Mapping[str, Any]) -> str:
    """Attributed shares by source; rates, bounds and validation by condition."""
    rows: list[Sequence[str]] = [("source", "attributed")]
    rows += [(name, f"{share:.2%}") for name, share in found["by_source"].items()]
    lines = [*aligned(rows), ""]
    rows = [
        ("condition", "attributed", "interval", "sources", "samples", "LR from", "to", "Cllr", "least", "misleading")
    ]
    for name, cell in found["conditions"].items():
        wrong, numbers = cell["false_attribution"], ["–"] * 3
        if found["validated"]:
            numbers = [f"{cell['cllr']:.3f}", f"{cell['cllr_min']:.3f}"]
            numbers.append(f"{cell['misleading_own']:.1%} own, {cell['misleading_foreign']:.1%} other")
        counts = (f"{wrong['low']:.2%}–{wrong['high']:.2%}", str(wrong["sources"]), str(wrong["samples"]))
        bounds = (f"{10 ** cell['lower']:.3g}", f"{10 ** cell['upper']:.3g}")
        rows.append((name, f"{wrong['rate']:.2%}", *counts, *bounds, *numbers))
    first, second = found["propositions"]
    lines += [*aligned(rows), "", f"Likelihood ratios compare '{first}' with '{second}'."]
    if not found["validated"]:
        lines.append("They were not validated; `--leave-source-out` does that.")
    return "\n".join([*lines, _attributed(found["false_attribution"], found["level"])])


def _pooled(found: Mapping[str, Any]) -> str:
    if found["p_value"] is None:
        return "together: no sample could be judged"
    count = "1 sample is" if found["samples"] == 1 else f"{found['samples']} samples are"
    line = f"together: {count} {found['outcome']}, p-value {chance(found['p_value'])}"
    evidence = found.get("log10_e_value")
    return line if evidence is None else f"{line}, e-value against the model {_power(evidence)}"


def _power(exponent: float) -> str:
    return f"{10**exponent:.3g}" if abs(exponent) < 4 else f"1e{exponent:+.0f}"


def _proved(proof: Mapping[str, Any]) -> str:
    if "excess" in proof:
        return (
            f"the inversion's objective is at most {proof['excess']:.2%} above the optimum "
            f"(proved to {proof['gap']:.0e})"
        )
    return (
        f"{proof['starts']} starts reach {proof['best']:.4g} ({proof['psnr']:.1f} dB); the search that was judged had "
        f"come to {proof['judged']:.4g}"
    )


@harmless
def bundle(found: Mapping[str, Any]) -> str:
    """The card of a head or an attributor."""
    content = found["content"]
    rows = [("kind", found["kind"]), ("digest", found["digest"]), ("morelli", found["morelli"])]
    if found["kind"] == "attributor":
        card = content["settings"]["card"]
        own, other = card.get("own", {}), card.get("other") or {}
        rows += [
            ("method", f"{card.get('method')}, {content['parts']['detector']['settings']['type']}"),
            ("reads", str(found["reads"])),
            (
                "own",
                f"{own.get('samples')} samples, {own.get('trained_on')} trained on, {own.get('held_out')} held out",
            ),
            ("other", f"{other.get('samples', 'no')} samples"),
            ("false rejection", f"{content['settings']['rate']:.2%}, threshold {found['threshold']:.6g}"),
            ("made", str(card.get("made"))),
            *(("warning", warning) for warning in card.get("warnings", [])),
        ]
        if declared := found["population"]:
            rows.append(("population", f"{len(declared['sources'])} sources: {', '.join(declared['sources'])}"))
            rows.append(("", _attributed(declared["false_attribution"], declared["level"])))
            rows += [("warning", warning) for warning in declared["warnings"]]
        content = content["parts"]["extractor"]
        rows.append(("extractor", str(content["settings"])))
        content = content.get("parts", {}).get("head")
    if content is not None:
        rows += [
            ("map", str(content["parts"]["map"]["settings"])),
            ("activation", str(content["settings"]["activation"])),
        ]
    return "\n".join(aligned(rows))


def comparison(result: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Balanced accuracy and AUROC in percent: a row per method, a column per source."""
    sources = list(next(iter(result.values())))
    rows: list[Sequence[str]] = [("balanced accuracy % (AUROC %)", *sources)]
    for method, cells in result.items():
        numbers = (f"{100 * cells[s]['balanced_accuracy']:.2f} ({100 * cells[s]['auroc']:.2f})" for s in sources)
        rows.append((method, *numbers))
    return "\n".join(aligned(rows))


@harmless
def cards(found: Mapping[str, Any]) -> str:
    """One line per entry; everything of a single one."""
    if len(found) == 1:
        ((name, card),) = found.items()
        return "\n".join(aligned([("name", name), *((key, str(value)) for key, value in card.items() if value)]))
    rows = [("model", "samples", "formats", "sizes", "enrolled")]
    for name, card in found.items():
        formats, sizes = (", ".join(f"{n} {what}" for what, n in card[key].items()) for key in ("formats", "sizes"))
        samples = "weights only" if card.get("predicted") else str(card["samples"])
        rows.append((name, samples, formats or "–", sizes or "–", card["made"]))
    return "\n".join([*aligned(rows), "", f"{len(found)} models"])


@harmless
def identification(found: Mapping[str, Any], shown: int = 3) -> str:
    """Per sample the answer, and the first candidates with score and p-value."""
    rows = [("identified", "p(none)", "sample", "most like (score; p-value of its own samples)")]
    for sample in found["samples"][:SHOWN]:
        first = (f"{c['name']} ({c['score']:.2f}; {c['p_value']:.2g})" for c in sample["candidates"][:shown])
        p_none = "–" if sample["p_value"] is None else chance(sample["p_value"])
        rows.append((sample["identified"] or "none of these", p_none, sample["file"], ", ".join(first) or "–"))
    lines = aligned(rows)
    if len(found["samples"]) > SHOWN:
        lines.append(f"… and {len(found['samples']) - SHOWN} more; use --json to see all.")
    for sample in found["samples"][:SHOWN]:
        if sample["predicted"]:
            likely = ", ".join(f"{c['name']} ({c['score']:.2f})" for c in sample["predicted"][:shown])
            lines.append(f"by weights alone, candidates without a p-value, {sample['file']}: {likely}")
    lines += [f"refused: {refused['reason']}" for refused in found["refused"][:SHOWN]]
    lines += origins_in(found["samples"])
    gallery = found["gallery"]
    lines += [f"warning: {warning}" for warning in gallery["warnings"]]
    known = gallery["entries"] - gallery["predicted"]
    promise = f"{known} models known. Samples of unrelated ones are identified in at most {gallery['rate']:.1%}"
    return "\n".join([*lines, "", f"{promise} of cases, kin of a known one more often.", found["limits"]])


@harmless
def verification(found: Mapping[str, Any]) -> str:
    """The answer, and what it rests on."""
    share, low, high = found["missed"]
    rows = [
        ("answer", found["answer"]),
        ("score", f"{found['score']:.3f}"),
        ("p(one model)", chance(found["p_one"])),
        ("p(two models)", chance(found["p_two"])),
        ("rate", f"sets of two models are called one in about {found['rate']:.1%} of cases"),
        ("missed", f"sets of one model are too unlike for that in {share:.1%} (90 % interval {low:.1%} to {high:.1%})"),
        ("known models", str(found["models"])),
    ]
    return "\n".join([*aligned(rows), *_refused(found)])


@harmless
def lineage(found: Mapping[str, Any]) -> str:
    """The base, and the nearest entry against all others."""
    rows = [
        ("base", found["base"] or "none that is certain"),
        ("nearest", found["nearest"]),
        ("p(none)", chance(found["p_value"])),
    ]
    lines = aligned(rows)
    if found["relations"]:
        against = [("rather than", "by (difference of scores)", "p-value")]
        against += [(r["name"], f"{r['margin']:.2f}", f"{r['p_value']:.2g}") for r in found["relations"][:SHOWN]]
        lines += ["", *aligned(against)]
    return "\n".join([*lines, *_refused(found), "", found["limits"]])


def _refused(found: Mapping[str, Any]) -> list[str]:
    return [f"refused: {refused['reason']}" for refused in found["refused"][:SHOWN]]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, two blanks apart."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
