"""Experts: a detector for each thing that may have happened to a sample since it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from morelli.attribution.kinds import detector_from_state
from morelli.attribution.remainder import Remainder
from morelli.attribution.sizes import explaining, share_of
from morelli.attribution.turning import FREE, Turning
from morelli.detectors.protocol import Detector
from morelli.errors import MismatchError
from morelli.features.protocol import Facts, SampleSpec
from morelli.numerics.corruption import Corruptions
from morelli.numerics.file_form import LEVELS
from morelli.numerics.sound_history import SoundHistory
from morelli.numerics.state import State

PLAUSIBLE = 0.01  # posterior of a condition that is considered


@dataclass(frozen=True, eq=False)
class Expert:
    """A detector for samples in one condition, scores [n] of held-out own samples in it, and what turning costs.

    `remainder` objects to what the detector would let pass, where the attributor can make images again.
    """

    detector: Detector
    held_out: Tensor
    turning: Turning = FREE
    remainder: Remainder | None = None


@dataclass(frozen=True, eq=False)
class Experts:
    """Who judges a sample is decided by its file and its pixels, see `numerics.corruption`; of sound by its file alone.

    Attributes:
        corruptions: knows the own samples' look in every condition.
        of: condition → expert, in the order of `corruptions`.
    Raises:
        MismatchError: other conditions than those of `corruptions`, or not as many held-out scores in each.
    """

    corruptions: Corruptions | SoundHistory
    of: Mapping[str, Expert]

    def __post_init__(self) -> None:
        if tuple(self.of) != self.corruptions.conditions:
            known = ", ".join(self.corruptions.conditions)
            raise MismatchError(f"there are experts for {', '.join(self.of)}; expected one for each of {known}.")
        if len(counts := {len(expert.held_out) for expert in self.of.values()}) > 1:
            raise MismatchError(f"experts have {sorted(counts)} held-out scores; expected as many for each.")

    def plausible(self, samples: Tensor, spec: SampleSpec, facts: Sequence[Facts] | None) -> list[list[str]]:
        """Of each sample [n, *spec.shape] the conditions that it may be in, the likeliest first.

        The first of all, nothing, is always one where the file is lossless: own samples that look as if something had
        happened to them are then judged by those to which nothing did, and as often attributed as was promised.
        """
        if isinstance(self.corruptions, SoundHistory):
            known = [{}] * len(samples) if facts is None else facts
            return self.corruptions.plausible([str(each.get("coding", "none")) for each in known])
        levels = spec.form.levels
        if levels > LEVELS:
            raise MismatchError(f"samples have {levels} levels; what happened to them is told from 8 bits alone.")
        pixels = spec.grey_steps(samples).round().clamp(0, 255).to(torch.uint8)
        codings = [str(each.get("coding", "none")) for each in facts] if facts is not None else None
        likeliest, posterior = self.corruptions.condition_of(pixels, codings)
        for place, coding in enumerate(codings or ("none",) * len(samples)):
            if coding == "none":
                posterior[place, 0] = 1.0
        found = [
            [first, *(c for c, p in zip(self.of, chances, strict=True) if p >= PLAUSIBLE and c != first)]
            for first, chances in zip(likeliest, posterior.tolist(), strict=True)
        ]
        for place, about in enumerate(facts or ()):  # a size says what may have happened
            if (share := share_of(about, spec.shape)) is not None and (named := explaining(self.of, share)):
                chances = dict(zip(self.of, posterior[place].tolist(), strict=True))
                found[place] = sorted(named, key=chances.__getitem__, reverse=True)
        return found

    def doubts(self, facts: Sequence[Facts], spec: SampleSpec) -> list[str]:
        """Of each sample, why no expert can judge it; else empty."""
        return [self._doubt(str(each.get("coding", "none")), share_of(each, spec.shape)) for each in facts]

    def _doubt(self, coding: str, share: float | None) -> str:
        if not self.corruptions.learned(coding):
            return (
                f"the file is coded as {coding}, and this attributor knows {', '.join(self.of)}. Train it with "
                f"`--perturb {coding}` too, or give the file as it was made."
            )
        if share is not None and not explaining(self.of, share):
            return (
                f"the file is {share:.2f} times as large as the model's pictures, and this attributor knows "
                f"{', '.join(self.of)}, which do not explain it. Give the file as it was made."
            )
        if share is not None and coding != "none":
            return (
                f"the file is coded as {coding} and of another size than the model's, and no expert knows both "
                "together. Give the file as it was made."
            )
        return ""

    def state(self, usual: Expert) -> State:
        """`usual` is stored elsewhere, and so not here again."""
        parts = {"corruptions": self.corruptions.state()}
        tensors: dict[str, Tensor] = {}
        for i, expert in enumerate(self.of.values()):
            if expert.detector is not usual.detector or expert.held_out is not usual.held_out:
                parts[f"detector_{i}"] = expert.detector.state()
                tensors |= {f"held_out_{i}": expert.held_out} | expert.turning.tensors(f"_{i}")
                if expert.remainder is not None:
                    parts[f"remainder_{i}"] = expert.remainder.state()
        turning = [expert.turning.settings() for expert in self.of.values()]
        return State({"conditions": list(self.of), "turning": turning}, tensors, parts)

    @staticmethod
    def from_state(state: State, usual: Expert) -> Experts:
        """`usual` judges in the condition that has no expert stored."""
        of, names = {}, state.settings["conditions"]
        turning = state.settings.get("turning", [{}] * len(names))
        for i, name in enumerate(names):
            of[name] = usual
            if f"detector_{i}" in state.parts:
                detector = detector_from_state(state.parts[f"detector_{i}"])
                paid = Turning.from_stored(turning[i], state.tensors, f"_{i}")
                rest = Remainder.from_state(state.parts[f"remainder_{i}"]) if f"remainder_{i}" in state.parts else None
                of[name] = Expert(detector, state.tensors[f"held_out_{i}"], paid, rest)
        history = state.parts["corruptions"]
        sound = history.settings["type"] == "sound_history"
        return Experts(SoundHistory.from_state(history) if sound else Corruptions.from_state(history), of)
