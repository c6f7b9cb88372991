"""From run.json: the tables of README.md and docs/attacks.md, the plot, and an attack card for each method.

Run: python experiments/attacks/table.py
"""

import re
from collections.abc import Iterable
from pathlib import Path

from card import cards, plot
from shares import (
    AGREE,
    ALL,
    GRADIENT,
    METHODS,
    PLACES,
    STRENGTHS,
    TRANSFER,
    Share,
    attacks,
    cell,
    decibels,
    forgery,
    knows,
    named,
    removal,
    shares,
    together,
    yes,
)

HERE = Path(__file__).parent
FIRST, SECOND = "<!-- tables -->", "<!-- end -->"


def percent(share: Share | None) -> str:
    return "–" if share is None else f"{100 * share.value:.0f}"


def interval(share: Share | None) -> str:
    if share is None:
        return "–"
    low, high = share.wilson()
    return f"{100 * share.value:.0f} ({100 * low:.0f}–{100 * high:.0f})"


def row(values: Iterable[str]) -> str:
    return "| " + " | ".join(values) + " |"


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join([row(head), "|---" * len(head) + "|", *map(row, rows)])


def of_strength(strength: str, methods: tuple[str, ...] = METHODS) -> str:
    """removed / forged, in percent, by attack and method."""
    rows = []
    for attack in attacks():
        if not any(cell(place, attack, strength) for place in PLACES) or attack.startswith(TRANSFER):
            continue
        values = [f"{percent(removal(m, attack, strength))} / {percent(forgery(m, attack, strength))}" for m in methods]
        agreed = f"{percent(together(attack, strength, True))} / {percent(together(attack, strength, False))}"
        rows.append([named(attack, strength), decibels(attack, strength), *values, agreed])
    return table(["", "PSNR: own / photographs", *methods, "all four agree"], rows)


def of_default() -> str:
    """The default method with intervals, at 35 dB or as the attack makes it, and at 30 dB."""
    rows = []
    for attack in attacks():
        if attack.startswith((GRADIENT, TRANSFER)) and not attack.endswith(" imprint"):
            continue
        values, shown = [], ""
        for strengths in (("35", "own"), ("30",)):
            strength = next((s for s in strengths if cell(PLACES[0], attack, s)), strengths[-1])
            shown = strength if len(strengths) > 1 else shown
            found = removal("imprint", attack, strength), forgery("imprint", attack, strength)
            values += [decibels(attack, strength), *map(interval, found)]
        rows.append([named(attack, shown), knows(attack), *values])
    return table(["attack", "attacker has", "PSNR", "hidden", "forged", "PSNR", "hidden", "forged"], rows)


def by_gradient() -> str:
    """White-box and transfer over strengths."""
    rows = []
    for prefix in (GRADIENT, TRANSFER):
        for method in (*AGREE, "gallery"):
            attack = prefix + method
            if attack not in attacks():
                continue
            pairs = [
                f"{percent(removal(method, attack, s))} / {percent(forgery(method, attack, s))}" for s in STRENGTHS
            ]
            rows.append([named(attack, "35"), *pairs])
    if GRADIENT + ALL in attacks():
        pairs = [
            f"{percent(together(GRADIENT + ALL, s, True))} / {percent(together(GRADIENT + ALL, s, False))}"
            for s in STRENGTHS
        ]
        rows.append([f"{GRADIENT}{ALL}, before all four", *pairs])
    return table(["hidden / forged", *(f"{s} dB" for s in STRENGTHS)], rows)


def by_source() -> str:
    """Forgery of photographs and of the other GAN's images apart, and spread over targets and seeds."""
    rows = []
    for attack in attacks():
        strength = next((s for s in ("35", "own") if cell(PLACES[0], attack, s)), "35")
        values = []
        for sources in (("own",), ("photographs",), ("gan",)):
            found = shares("imprint", attack, strength, sources)
            values.append("–" if found is None else f"{percent(found)} ({100 * found.low:.0f}–{100 * found.high:.0f})")
        rows.append([named(attack, strength), *values])
    return table(["imprint, 35 dB or as it comes", "hidden", "photographs forged", "GAN images forged"], rows)


def with_keys() -> str:
    """Gradients of an attributor with or without a key, before attributors with the same key, another, and none."""
    judges = ("no key", "projection, key 1", "projection, key 2", "places, key 1", "places, key 2")
    rows = []
    for known in ("no key", "projection, key 1", "places, key 1"):
        for strength in ("50", "45", "40", "35"):
            values = []
            for judge in judges:
                parts: dict[str, list[tuple[int, int]]] = {"own": [], "photographs": []}
                for place in PLACES:
                    found, clean = cell(place, "keyed", f"gradient of {known}"), cell(place, "keyed", "clean")
                    for source in parts if found and clean else ():
                        hide = source == "own"
                        pairs = zip(clean[source][judge], found[strength][source][judge], strict=True)
                        tried = [yes(after) for before, after in pairs if yes(before) == hide]
                        parts[source].append((sum(after != hide for after in tried), len(tried)))
                values.append(" / ".join(percent(Share.of(part)) for part in parts.values()))
            rows.append([f"{known}, {strength} dB", *values])
    return table(["gradient of, strength", *judges], rows)


def clean_keys() -> str:
    rows = []
    for judge in ("no key", "projection, key 1", "projection, key 2", "places, key 1", "places, key 2"):
        values = []
        for source in ("own", "photographs", "gan"):
            found = [f[source][judge] for place in PLACES if (f := cell(place, "keyed", "clean"))]
            values.append(percent(Share.of((sum(map(yes, letters)), len(letters)) for letters in found)))
        rows.append([judge, *values])
    return table(["attributed, %", "own", "photographs", "the other GAN's"], rows)


def before() -> str:
    rows = []
    for method in METHODS:
        found = [cell(place, "nothing", "own") for place in PLACES]
        counted = [
            Share.of((sum(map(yes, f[source][method])), len(f[source][method])) for f in found if f)
            for source in ("own", "photographs", "gan")
        ]
        rows.append([method, *map(percent, counted)])
    return table(["attributed, % (gallery: target first)", "own", "photographs", "the other GAN's"], rows)


def conditions() -> str:
    """By which own condition attacked own images were judged by the default method, at 35 dB or as they come."""
    rows = []
    for attack in attacks():
        strength = next((s for s in ("35", "own") if cell(PLACES[0], attack, s)), "35")
        counts: dict[str, int] = {}
        for place in PLACES:
            for name, count in ((cell(place, attack, strength) or {}).get("own", {}).get("condition", {})).items():
                counts[name] = counts.get(name, 0) + count
        total = sum(counts.values())
        text = ", ".join(f"{n} {100 * c / total:.0f}" for n, c in sorted(counts.items(), key=lambda x: -x[1])[:3])
        rows.append([named(attack, strength), text, percent(removal("imprint", attack, strength))])
    return table(["own images, 35 dB or as it comes", "judged as, %", "hidden"], rows)


def filled(file: Path, tables: dict[str, str]) -> None:
    body = "\n\n".join(f"**{title}**\n\n{text}" for title, text in tables.items())
    text = re.sub(f"{FIRST}.*{SECOND}", lambda _: f"{FIRST}\n{body}\n{SECOND}", file.read_text(), flags=re.S)
    file.write_text(text)


def main() -> None:
    filled(
        HERE / "README.md",
        {
            "Before any attack": before(),
            "As the attack comes: hidden / forged, % of images that were judged rightly before": of_strength("own"),
            "At 35 dB": of_strength("35"),
            "At 30 dB": of_strength("30"),
            "Gradients over strengths, each before its own method": by_gradient(),
            "The default method: mean, and least and most of one target and seed": by_source(),
            "Which own condition attacked own images are taken for": conditions(),
            "Keys: hidden / forged (photographs), %": with_keys(),
            "What keys cost on clean images": clean_keys(),
        },
    )
    few = tuple(m for m in METHODS if m != "imprint, clean only")
    filled(
        HERE.parents[1] / "docs/attacks.md",
        {
            "`imprint`, the default: share of attacks that succeed, % (95 % interval)": of_default(),
            "All methods at 35 dB: hidden / forged, %": of_strength("35", few),
            "Gradients": by_gradient(),
        },
    )
    cards()
    plot()


if __name__ == "__main__":
    main()
