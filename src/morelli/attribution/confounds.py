"""What files say of how they were stored, and where that alone may make a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from morelli.attribution.sizes import FITTED

FEWEST = 3  # files of either outcome, from which their storage is held against it
MOST = 50  # values of a fact that are counted
NAMES = {"coding": "coding", "mode": "colour mode", "bits": "depth", "size": "size"}
OF_ANY, TEXT = ("coding", "bits"), "text"  # facts of what is no picture; the mode of tables
OPAQUE = {"RGBA": "RGB", "LA": "L", "1": "L"}  # what is left of a mode once it is read
WORDS = {"none": "stored without loss", "L": "grey", "RGB": "in colour", "P": "of a palette"}


def stored_as(facts: Mapping[str, Any]) -> dict[str, str]:
    """Fact → value, of those that change what is judged: coding without strength, depth, a picture's mode and size."""
    is_picture = facts.get("mode") not in (None, TEXT)  # sound and tables are as long as they are
    named = NAMES if is_picture else OF_ANY
    found = {name: facts[name] for name in named if facts.get(name) is not None}
    if "coding" in found:
        found["coding"] = str(found["coding"]).partition(":")[0]
    if "mode" in found:
        found["mode"] = OPAQUE.get(found["mode"], found["mode"])
    if "size" in found:
        found["size"] = "×".join(map(str, found["size"]))
    return {name: str(value) for name, value in found.items()}


def compared(facts: Mapping[str, Any], own: Mapping[str, Any] | None) -> list[str]:
    """What of a file is held against own samples, in words."""
    return [NAMES[name] for name in stored_as(facts) if (own or {}).get(name)]


def counted(files: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How many files have which value of each fact, for a card."""
    found: dict[str, Counter[str]] = {}
    for facts in files:
        for name, value in stored_as(facts).items():
            found.setdefault(name, Counter())[value] += 1
    return {name: dict(sorted(values.most_common(MOST))) for name, values in found.items()}


def confounds(
    facts: Mapping[str, Any],
    outcome: str,
    own: Mapping[str, Mapping[str, int]] | None,
    *,
    population: Mapping[str, Mapping[str, int]] | None = None,
    conditions: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """How a file is stored unlike the own samples, or unlike the population's where it is stored like all own ones.

    Args:
        outcome: of its verdict. own, population: from `counted`. conditions: that the attributor knows, as "jpeg:80".
    Returns:
        `fact`, `here`, `own` (values), `explains`: whether it alone might make the verdict, and `text`.
    """
    found = []
    learned = {condition.partition(":")[0] for condition in conditions}
    for name, here in stored_as(facts).items():
        mine = (own or {}).get(name, {})
        if mine and here not in mine:
            known = (name == "coding" and here in learned) or (name == "size" and FITTED in facts)
            explains = outcome == "not attributed" and not known
            text = f"The file is {_said(here, name)}; own samples are {_list(mine, name)}."
            if not known:
                text += (
                    f" That alone may make it unlike them: its {NAMES[name]} might be the reason for this verdict."
                    if explains
                    else f" The attributor has not seen that {NAMES[name]}."
                )
            elif outcome != "inconclusive":
                text += " It was judged by what the same did to own samples."
            found.append({"fact": name, "here": here, "own": sorted(mine), "explains": explains, "text": text})
        theirs = (population or {}).get(name, {})
        if outcome == "attributed" and set(mine) == {here} and theirs and here not in theirs:
            text = (
                f"This file and all own samples are {_said(here, name)}, no sample of the population is: its "
                f"{NAMES[name]} might be the reason for this verdict."
            )
            found.append({"fact": name, "here": here, "own": [here], "explains": True, "text": text})
    return found


def split_by_storage(judged: Iterable[tuple[str, str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Facts by which the attributed files of a run differ from all those not attributed.

    Given are name, outcome and facts of each sample; a file of many windows or rows is one.
    """
    sides: dict[str, dict[str, dict[str, str]]] = {"attributed": {}, "not attributed": {}}
    for file, outcome, facts in judged:
        if outcome in sides and file not in sides[outcome]:
            sides[outcome][file] = stored_as(facts)
    if min(map(len, sides.values())) < FEWEST:
        return []
    found = []
    for name, title in NAMES.items():
        yes, no = ({facts.get(name) for facts in side.values()} for side in sides.values())
        if not yes & no and None not in yes | no:
            said = [", ".join(_said(str(value), name) for value in sorted(map(str, side))) for side in (yes, no)]
            text = (
                f"All attributed files are {said[0]}, all others {said[1]}: the {title} alone tells them apart, and "
                "might be the reason for these verdicts."
            )
            found.append({"fact": name, "attributed": sorted(map(str, yes)), "others": sorted(map(str, no))})
            found[-1]["text"] = text
    return found


def _said(value: str, fact: str) -> str:
    if fact == "bits":
        return f"of {value} bits"
    return WORDS.get(value, value.upper() if fact == "coding" else value)


def _list(values: Mapping[str, int], fact: str) -> str:
    return " or ".join(_said(value, fact) for value in sorted(values))
