"""Folds: the cross-conformal p-value by its definition, who is scored by whom, and the promised rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from morelli.attribution.kinds import detector_from_state
from morelli.detectors.deep_sad import DeepSadRecipe
from morelli.detectors.folds import Folds, FoldsRecipe
from morelli.detectors.lda import LdaRecipe
from morelli.detectors.protocol import Progress
from morelli.errors import OutOfRange, TooFewSamples
from morelli.numerics.calibration import p_values, threshold
from morelli.numerics.state import State


@dataclass
class Column:
    index: int

    def score(self, features: Tensor) -> Tensor:
        return features[:, self.index]


@dataclass
class Memory:
    own: Tensor
    other: Tensor | None
    seed: int

    def score(self, features: Tensor) -> Tensor:
        """0 for exactly the samples it was fitted on."""
        return (features - self.own.T).abs().min(1).values


class MemoryRecipe:
    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> Memory:
        return Memory(own, other, seed)

    def steps(self, own: int, other: int) -> int:
        return 1_000 * own + other


def drawn(n: int, seed: int, width: int = 10) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sizes", [(1, 1), (3, 4, 4), (49, 50), (7,) * 7, (333, 334, 333)], ids=str)
@pytest.mark.parametrize("scale", [1.0, 1 / 3, 1e30, 1e-12], ids=str)
def test_the_p_value_is_its_definition(sizes: tuple[int, ...], scale: float) -> None:
    """Few distinct values: ties within a fold, across folds and with the samples. 1e-12 needs double precision."""
    rng = torch.Generator().manual_seed(sum(sizes))
    held_out = tuple((1 + torch.randint(40, (m,), generator=rng).double() * scale).sort().values for m in sizes)
    samples = 1 + torch.randint(-3, 44, (300, len(sizes)), generator=rng).double() * scale
    samples = torch.cat([samples, samples[:, :1].expand_as(samples), torch.full_like(samples[:2], math.inf)])
    folds = Folds(tuple(map(Column, range(len(sizes)))), held_out)
    n, expected = sum(sizes), []
    for sample in samples.tolist():
        at_least = sum(h >= s for scores, s in zip(held_out, sample, strict=True) for h in scores.tolist())
        expected.append((1 + at_least) / (n + 1))
    assert p_values(folds.grid, folds.score(samples)).tolist() == expected
    assert {min(expected), max(expected)} == {1 / (n + 1), 1.0}
    assert torch.equal(folds.score(samples) <= threshold(folds.grid, 0.4), torch.tensor(expected) > 0.4)


def test_samples_beyond_all_held_out_ones_keep_their_order_and_nan_is_the_least_likely() -> None:
    folds = Folds((Column(0), Column(1)), (torch.tensor([0.0, 4.0]), torch.tensor([3.0, 3.0])))
    samples = torch.tensor([[4, 9], [5, 3], [6, 4], [8, 5], [math.nan, 0], [9, math.nan]])
    score = folds.score(samples)
    assert score[:4].tolist() == [0.75, 0.5, 1 + (2 / 2 + 1) / 2, 1 + (4 / 2 + 2) / 2]
    assert p_values(folds.grid, score)[2:].tolist() == [0.2] * 4
    assert score[4:].isnan().all()


def test_every_own_sample_is_scored_once_by_the_detector_that_has_not_seen_it() -> None:
    own, other = 2.0 ** torch.arange(23)[:, None], torch.zeros(2, 1)
    folds = FoldsRecipe(MemoryRecipe(), 5).fit(own, other, seed=3)
    assert sorted(len(scores) for scores in folds.held_out) == [4, 4, 5, 5, 5]
    left_out = [own[~torch.isin(own, detector.own).flatten()] for detector in folds.detectors]
    assert torch.equal(torch.cat(left_out).sort(0).values, own)
    assert not torch.equal(torch.cat(left_out), own)
    for detector, scores, fold in zip(folds.detectors, folds.held_out, left_out, strict=True):
        assert len(detector.own) + len(fold) == 23 and detector.other is other
        assert torch.equal(scores, detector.score(fold).sort().values.double())
    assert len({detector.seed for detector in folds.detectors}) == 5
    assert FoldsRecipe(MemoryRecipe(), 5).steps(23, 2) == 1_000 * 4 * 23 + 5 * 2


def test_own_samples_are_rejected_about_as_often_as_asked_for() -> None:
    """At 5 %, measured: 3.7 %. Calibrating one detector on its own training samples rejects 16 %."""
    rejected, naive = [], []
    for seed in range(8):
        own, other, fresh = drawn(200, seed, 60), drawn(200, 50 + seed, 60), drawn(1_000, 100 + seed, 60)
        folds, one = FoldsRecipe(LdaRecipe()).fit(own, other, seed), LdaRecipe().fit(own, other, seed)
        rejected.append(p_values(folds.grid, folds.score(fresh)) <= 0.05)
        naive.append(p_values(one.score(own), one.score(fresh)) <= 0.05)
    assert 0.01 <= torch.cat(rejected).double().mean() <= 0.1 < torch.cat(naive).double().mean()


@pytest.mark.parametrize("inner", [LdaRecipe(), DeepSadRecipe(epochs=1)], ids=["lda", "deep_sad"])
def test_state_seeds_batches_and_progress(inner: LdaRecipe | DeepSadRecipe) -> None:
    recipe = FoldsRecipe(inner, 11)  # "detector1" also begins "detector10"
    own, other, samples = drawn(60, 0), drawn(50, 1) + 1, drawn(40, 2) * 2
    folds = recipe.fit(own, other, 4, (told := []).append)
    score, state = folds.score(samples), folds.state()
    assert sum(told) == recipe.steps(60, 50)
    revived = Folds.from_state(State.rebuild(state.describe(), state.flatten()), detector_from_state)
    assert torch.equal(revived.score(samples), score) and torch.equal(revived.grid, folds.grid)
    assert torch.equal(recipe.fit(own, other, 4).score(samples), score)
    assert not torch.equal(recipe.fit(own, other, 5).score(samples), score)
    alone = torch.cat([folds.score(sample[None]) for sample in samples[:9]])
    torch.testing.assert_close(alone, score[:9], rtol=1e-4, atol=1e-4)
    assert folds.score(samples[:0]).shape == (0,)
    assert recipe.settings() == {"type": "folds", "folds": 11, "recipe": inner.settings()}


def test_too_few_folds_or_samples_and_scores_without_a_value_are_refused() -> None:
    with pytest.raises(OutOfRange, match="at least 2"):
        FoldsRecipe(MemoryRecipe(), 1)
    FoldsRecipe(MemoryRecipe(), 5).fit(drawn(10, 0, 1), None, 0)
    with pytest.raises(TooFewSamples, match="at least 10 samples"):
        FoldsRecipe(MemoryRecipe(), 5).fit(drawn(9, 0, 1), None, 0)
    with pytest.raises(OutOfRange, match="not finite"):
        Folds((Column(0),), (torch.tensor([0.0, math.nan]),))
