"""A defence: the features of an imprint are seen through a secret random matrix, or at secret places alone.

Is an attacker who has the weights, the own images and the code, but not the key, worse off than one who has the key?
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from blind import FORGE, HIDE
from informed import ascended, score_loss
from judging import LETTERS
from material import OWN, attributor, made, p, ranged, tested
from strength import brought_to
from torch import Tensor

from morelli.app.imprinting import misplaced
from morelli.attribution.attributor import Attributor, fit_attributor
from morelli.detectors.stacked import StackedRecipe
from morelli.features.imprint import Imprint
from morelli.features.protocol import Facts, Features, Progress
from morelli.numerics.state import State

SIZES = 512, 512, 256  # of the three blocks, after the key
KINDS = ("projection", "places")
KEYS = 1, 2
STRENGTHS, LEARNT, STEPS = (50.0, 45.0, 40.0, 35.0), 35.0, 20


@dataclass(frozen=True, eq=False)
class Keyed:
    """An imprint's features, block by block, times a matrix that follows from kind and key alone."""

    base: Imprint
    kind: str
    key: int

    @property
    def spec(self) -> p.morelli.SampleSpec:
        return self.base.spec

    def extract(
        self, samples: Tensor, progress: Progress | None = None, facts: Sequence[Facts] | None = None
    ) -> Features:
        found = self.base.extract(samples, progress, facts)
        return Features(self.seen(found.values), found.notes, found.reasons)

    def seen(self, values: Tensor) -> Tensor:
        parts = values.split(list(self.base.blocks), 1)
        if self.kind == "places":
            places = _places(self.key, self.base.blocks)
            return torch.cat([part[:, at] for part, at in zip(parts, places, strict=True)], 1)
        matrices = _matrices(self.key, self.base.blocks)
        return torch.cat([part @ matrix for part, matrix in zip(parts, matrices, strict=True)], 1)

    def state(self) -> State:
        raise NotImplementedError("an experiment's extractor is not saved")


@lru_cache(maxsize=2)
def _matrices(key: int, blocks: tuple[int, ...]) -> list[Tensor]:
    rng = torch.Generator().manual_seed(key)
    return [torch.randn(d, k, generator=rng) / d**0.5 for d, k in zip(blocks, SIZES, strict=True)]


@lru_cache(maxsize=2)
def _places(key: int, blocks: tuple[int, ...]) -> list[Tensor]:
    rng = torch.Generator().manual_seed(key)
    return [torch.randperm(d, generator=rng)[:k] for d, k in zip(blocks, SIZES, strict=True)]


def owners(target: str, seed: int) -> dict[str, Attributor]:
    """One for each kind and key, and one of all features, fitted to the same images in the same way."""
    base = attributor("imprint", target, seed).extractor
    assert isinstance(base, Imprint)
    own = ranged(made(target, OWN, 100 + seed))
    parts = own[OWN // 4 :], misplaced(own[OWN // 4 :], torch.Generator().manual_seed(seed)), own[: OWN // 4]
    features = [base.extract(some) for some in parts]
    found = {"no key": fit_attributor(base, StackedRecipe(base.blocks), *features, rate=p.RATE, seed=seed)}
    for kind in KINDS:
        for key in KEYS:
            extractor = Keyed(base, kind, key)
            seen = [Features(extractor.seen(f.values), f.notes, f.reasons) for f in features]
            fitted = fit_attributor(extractor, StackedRecipe(SIZES), *seen, rate=p.RATE, seed=seed)
            found[f"{kind}, key {key}"] = fitted
    return found


def keyed(target: str, seed: int, run: p.Run) -> None:
    """Cells: gradients of the attributor without a key, and of the first key of each kind, before all of them."""

    @lru_cache(maxsize=1)
    def ready() -> dict[str, Attributor]:
        return owners(target, seed)

    sources = {"own": HIDE, "photographs": FORGE, "gan": FORGE}
    images = tested(target, seed)
    run.cell(f"{target}/{seed}/keyed/clean", lambda: {s: judged(ready(), images[s]) for s in sources})
    for known in ("no key", *(f"{kind}, key {KEYS[0]}" for kind in KINDS)):

        def attacked(known: str = known) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for source in ("own", "photographs"):
                loss = score_loss(ready()[known], sources[source])
                made = ascended(images[source], loss, LEARNT, STEPS)
                for decibels in STRENGTHS:
                    changed = brought_to(images[source], made, decibels)
                    found.setdefault(f"{decibels:.0f}", {})[source] = judged(ready(), changed)
            return found

        run.cell(f"{target}/{seed}/keyed/gradient of {known}", attacked)


def judged(attributors: dict[str, Attributor], images: Tensor) -> dict[str, str]:
    return {
        name: "".join(LETTERS[verdict.outcome.value] for verdict in each.judge(ranged(images)))
        for name, each in attributors.items()
    }
