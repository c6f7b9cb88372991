"""The README.md beside a head or an attributor: what it is, what it was made from, what its verdicts mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morelli._version import __version__
from morelli.app.describing import promise
from morelli.attribution.attributor import Attributor
from morelli.attribution.report import LIMITS
from morelli.numerics.head import Head

HEADER = """---
library_name: morelli
tags:
- morelli
- model-attribution
- {kind}
---
"""


def model_card(thing: Head | Attributor) -> str:
    """Markdown with Hugging Face's header. It says nothing that is not in the thing itself."""
    if isinstance(thing, Attributor):
        return HEADER.format(kind="attributor") + _attributor(thing)
    return HEADER.format(kind="head") + _head(thing)


def _head(head: Head) -> str:
    rows = {
        "makes": _shape(head.map.out_shape),
        "reads": _shape(head.map.in_shape),
        "map": head.map.state().settings["type"],
        "activation": head.activation.settings()["type"],
        "holds the whole generator": _yes(head.generator is not None),
        "holds the autoencoder": _yes(head.autoencoder is not None),
        "written by": f"morelli {__version__}",
    }
    return f"""
# Head

The last layer of a generator, by which Morelli (`pip install morelli`) trains attributors. It holds that layer's
weights: treat it as you treat the model.

{_use("head", 'morelli.train(head, own="own/", out="my.attributor")')}
{_table(rows)}"""


def _attributor(fitted: Attributor) -> str:
    card, spec = fitted.card, fitted.extractor.spec
    own: Mapping[str, Any] = card.get("own", {})
    other: Mapping[str, Any] = card.get("other") or {}
    rows = {
        "method": card.get("method"),
        "detector": fitted.detector.state().settings["type"],
        "reads": _shape(spec.shape),
        "own samples": f"{own.get('samples')} ({', '.join(own.get('formats', {}))})",
        "trained on, held out": f"{own.get('trained_on')}, {own.get('held_out')}",
        "other samples": other.get("samples", "none"),
        "judged apart after": ", ".join(fitted.own_scores()) if fitted.experts else "nothing",
        "makes images again": "yes: it holds the whole generator, treat it as you treat the model"
        if fitted.reconstruction
        else "no",
        "false-rejection rate": f"{fitted.rate:.2%}",
        "threshold": f"{fitted.threshold:.6g}",
        "made": f"{card.get('made')}, morelli {card.get('morelli')}",
    }
    lines = [f"- {warning}" for warning in card.get("warnings", [])] or ["None."]
    return f"""
# Attributor

Says of a sample whether one certain model made it, with a p-value. It is read by Morelli
(`pip install morelli`).

{_use("attributor", 'report = morelli.attribute("suspects/", attributor)')}
{_table(rows)}
## What a verdict means

{promise(fitted)} {_population(fitted)} {LIMITS}

## Warnings

{chr(10).join(lines)}
"""


def _population(fitted: Attributor) -> str:
    if fitted.population is None:
        return "How often samples of other sources are attributed was not measured: no population is declared."
    found = fitted.population.about(fitted.rate)
    wrong = found["false_attribution"]
    return (
        f"Of samples of {wrong['sources']} other sources {wrong['rate']:.2%} were attributed ({found['level']:.0%} "
        f"interval {wrong['low']:.2%} to {wrong['high']:.2%}, {wrong['samples']} samples)."
    )


def _use(name: str, then: str) -> str:
    return f'```python\nimport morelli\n\n{name} = morelli.from_pretrained("path/of/this/folder")\n{then}\n```\n'


def _table(rows: Mapping[str, object]) -> str:
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _yes(so: bool) -> str:
    return "yes" if so else "no"
