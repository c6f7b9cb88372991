"""What a report says of the attributor it rests on, and of how it was made."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from morelli._version import __version__
from morelli.app.bundles import load_attributor
from morelli.app.imprinting import LEFT_OUT
from morelli.attribution.attributor import Attributor
from morelli.attribution.seconding import OPINIONS, Seconded
from morelli.detectors.folds import Folds
from morelli.numerics.calibration import rejection_interval, threshold

LIBRARIES = {"torch": "torch", "numpy": "numpy", "pillow": "Pillow"}
NAMED = 100  # sources, beyond which no command repeats them
LEVEL = 0.95


def opened(attributor: str | Path | Attributor) -> tuple[Attributor, dict[str, Any]]:
    """An attributor and what a report says of it. Raises UnreadableBundle."""
    if isinstance(attributor, Attributor):
        return attributor, describe(attributor, "", "in memory")
    found, digest = load_attributor(attributor)
    return found, describe(found, Path(attributor).name, digest)


def describe(attributor: Attributor, name: str, digest: str) -> dict[str, Any]:
    """JSON-able: how it was made and calibrated, its promise, and its population."""
    card, own = attributor.card, attributor.card.get("own", {})
    return {
        "name": name,
        "digest": digest,
        "rate": attributor.rate,
        "threshold": attributor.threshold,
        "held_out": len(attributor.held_out),
        "promise": promise(attributor),
        "false_rejection": _false_rejection(attributor),
        "method": card.get("method"),
        "conditions": [] if attributor.experts is None else list(attributor.own_scores()),
        "own": {key: own.get(key) for key in ("samples", "trained_on", "sha256", "formats", "facts")},
        "made": card.get("made"),
        "morelli": card.get("morelli"),
        "warnings": list(card.get("warnings", [])),
        "population": None if attributor.population is None else attributor.population.about(attributor.rate),
    }


def describe_both(both: Seconded, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Of two attributors that both have to attribute, from what is said of either; thresholds are of half the rate."""
    half = both.rate / OPINIONS
    sure = "at most" if all(each["false_rejection"]["low"] is not None for each in (first, second)) else "about"
    return dict(first) | {
        "threshold": threshold(both.first.held_out, half),
        "second": dict(second) | {"rate": half, "threshold": threshold(both.second.held_out, half)},
        "promise": f"Both attributors have to attribute, each at half the rate: they reject own samples in {sure} "
        f"{both.rate:.2%} of cases ({first['held_out']} and {second['held_out']} own samples calibrate them).",
        "false_rejection": dict(first["false_rejection"]) | {"low": None, "high": None},
        "warnings": [*first["warnings"], *(f"of the second attributor: {each}" for each in second["warnings"])],
    }


def custody(source: str | Path | Sequence[str | Path], bundle: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, settings, and the command that makes the same JSON again.

    Args:
        source: what was judged, as it was named. bundle: path of the attributor, or "" where it has none.
        settings: of `attribute`; those that are None or False are usual.
    """
    named = [str(source)] if isinstance(source, str | Path) else [str(each) for each in source]
    command = None
    if bundle and len(named) <= NAMED:
        words = ["morelli", "attribute", *map(no_option, named), "--with", no_option(bundle), "--json"]
        for key, value in settings.items():
            words += [f"--{key}"] if value is True else [f"--{key}", str(value)] if value else []
        command = shlex.join(words)
    versions = {name: version(package) for name, package in LIBRARIES.items()}
    made = {"morelli": __version__, "python": platform.python_version()} | versions
    return {"versions": made, "settings": dict(settings), "command": command}


def no_option(path: str) -> str:
    """A path as a command line takes it, whatever it begins with."""
    return f"./{path}" if path.startswith("-") else path


def promise(attributor: Attributor) -> str:
    """How often own samples are rejected, and what that rests on, in one sentence."""
    n, rate = len(attributor.held_out), attributor.rate
    if attributor.card.get("calibrated") == LEFT_OUT:
        return f"Own samples are rejected in about {rate:.2%} of cases ({n} samples, each left out in turn)."
    if attributor.extractor.spec.is_audio and not isinstance(attributor.detector, Folds):
        return (
            f"Own windows are rejected in about {rate:.2%} of cases ({n} held-out windows; those of a file are alike)."
        )
    if not isinstance(attributor.detector, Folds):
        return f"Own samples are rejected in at most {rate:.2%} of cases ({n} held-out samples)."
    folds, proved = len(attributor.detector.detectors), attributor.detector.bound(rate)
    return (
        f"Own samples are rejected in about {rate:.2%} of cases, at most {proved:.2%} ({n} samples in {folds} folds)."
    )


def _false_rejection(attributor: Attributor) -> dict[str, Any]:
    """The rate on average over calibrations, and where this calibration's lies, if samples were held out one by one."""
    single = attributor.card.get("calibrated") != LEFT_OUT and not isinstance(attributor.detector, Folds)
    found = {"rate": attributor.rate, "low": None, "high": None, "level": LEVEL, "held_out": len(attributor.held_out)}
    if single and not attributor.extractor.spec.is_audio:
        low, high = rejection_interval(len(attributor.held_out), attributor.rate, LEVEL)
        found |= {"low": round(low, 6), "high": round(high, 6)}
    return found
