"""What a likelihood ratio is about, the words for how much it says, and p-values as people read them."""

from __future__ import annotations

import math

PROPOSITIONS = ("made by this model", "made by another source of the declared population")
SCALE = ((1, "weak"), (2, "moderate"), (3, "moderately strong"), (4, "strong"), (6, "very strong"))
BEYOND = "extremely strong"
NEUTRAL = math.log10(2)


def support(log10_ratio: float) -> str:
    """The verbal scale of the ENFSI guideline for evaluative reporting (2015); below 2, neither is supported."""
    if abs(log10_ratio) < NEUTRAL:
        return "no support for either proposition"
    word = next((word for limit, word in SCALE if abs(log10_ratio) < limit), BEYOND)
    return f"{word} support for '{PROPOSITIONS[0] if log10_ratio > 0 else PROPOSITIONS[1]}'"


def sentence(log10_ratio: float) -> str:
    """The ratio and both propositions, in words."""
    if abs(log10_ratio) < NEUTRAL:
        return f"The score is about as probable if {PROPOSITIONS[0]} as if {PROPOSITIONS[1]}."
    first, second = PROPOSITIONS if log10_ratio > 0 else PROPOSITIONS[::-1]
    return (
        f"The score is {10 ** abs(log10_ratio):.3g} times more probable if {first} than if {second}: "
        f"{support(log10_ratio)}."
    )


def chance(p_value: float) -> str:
    """Four digits, of small ones the first two that count: no p-value is 0."""
    return f"{p_value:.4f}" if p_value >= 0.001 else f"{p_value:.2g}"
