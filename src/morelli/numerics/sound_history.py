"""What may have happened to sound since it was made, as far as its file tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from morelli.errors import MismatchError
from morelli.numerics.sound_perturbations import CODECS, parse_sound
from morelli.numerics.state import State

CLOSE = 1.5  # ratio of kilobits that are still alike


@dataclass(frozen=True)
class SoundHistory:
    """A lossy file says what happened to it. One without loss may have been anything before, so all is plausible.

    Attributes:
        conditions: in the words of `parse_sound`; the first is the one that samples are made in.
    Raises:
        MismatchError: none, or one twice.
    """

    conditions: tuple[str, ...]

    def __post_init__(self) -> None:
        for condition in self.conditions:
            parse_sound(condition)
        if not self.conditions or len(set(self.conditions)) < len(self.conditions):
            raise MismatchError(f"conditions are {', '.join(self.conditions) or 'none at all'}; give each once.")

    def plausible(self, codings: Sequence[str]) -> list[list[str]]:
        """Of each file the conditions that it may be in, by its coding ("none", "mp3:131"). A lossy one that none is
        near gets the first, and is not `learned`."""
        found = []
        for coding in codings:
            near = self._near(coding)
            found.append([near or self.conditions[0]] if coding != "none" else list(self.conditions))
        return found

    def learned(self, coding: str) -> bool:
        """Whether a file that is coded so is in one of the conditions."""
        return coding == "none" or self._near(coding) is not None

    def _near(self, coding: str) -> str | None:
        name, _, number = coding.partition(":")
        away = {}
        for condition in self.conditions:
            known, _, kilobits = condition.partition(":")
            if known == name and name in CODECS and number:
                ratio = float(number) / float(kilobits)
                away[condition] = max(ratio, 1 / ratio)
        best = min(away, key=away.__getitem__) if away else None
        return best if best is not None and away[best] <= CLOSE else None

    def state(self) -> State:
        return State({"type": "sound_history", "conditions": list(self.conditions)})

    @staticmethod
    def from_state(state: State) -> SoundHistory:
        return SoundHistory(tuple(state.settings["conditions"]))
