"""Stacked: blocks make one discriminant, what is unlike in any direction is rejected, nobody is flattered."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from morelli.attribution.kinds import detector_from_state
from morelli.detectors.stacked import Stacked, StackedRecipe
from morelli.errors import MismatchError, TooFewSamples
from morelli.numerics.calibration import p_values
from morelli.numerics.state import State

BLOCKS = (30, 20, 10)


def drawn(n: int, seed: int, moved: dict[int, float] | None = None) -> Tensor:
    values = torch.randn(n, sum(BLOCKS), generator=torch.Generator().manual_seed(seed))
    for place, by in (moved or {}).items():
        values[:, place] += by
    return values


FOREIGN = {0: 2.0, 31: 2.0, 52: 1.0}


@pytest.fixture(scope="module")
def stacked() -> Stacked:
    return StackedRecipe(BLOCKS).fit(drawn(150, 1), drawn(150, 2, FOREIGN), 0)


def test_known_others_are_rejected_by_every_block(stacked: Stacked) -> None:
    own, other = stacked.score(drawn(500, 3)), stacked.score(drawn(500, 4, FOREIGN))
    assert (other[:, None] > own).double().mean() > 0.93  # measured: 0.95
    assert 0.9 < stacked.separated < 1
    assert stacked.discriminant.direction.shape == (60,)
    assert all(part.abs().max() > 0 for part in stacked.discriminant.direction.split(BLOCKS))


@pytest.mark.parametrize("place", [50, 57])
@pytest.mark.parametrize("by", [-12.0, 12.0])
def test_what_is_unlike_in_any_direction_of_the_last_block_is_rejected(stacked: Stacked, place: int, by: float) -> None:
    own, strange = stacked.score(drawn(500, 3)), stacked.score(drawn(100, 5, {place: by}))
    assert (strange[:, None] > own).double().mean() > 0.99


def test_looking_more_like_own_samples_than_they_do_is_no_objection(stacked: Stacked) -> None:
    opposite = {place: -by for place, by in FOREIGN.items()}
    assert (stacked.score(drawn(200, 6, opposite)).median() - stacked.score(drawn(200, 6)).median()) < 0.5


def test_left_out_scores_are_as_fresh_ones_or_above() -> None:
    """At 5 % fresh own samples are rejected in 5.0 % (mean of 8), where training scores calibrate in 10 %."""
    rejected, naive = [], []
    for seed in range(8):
        own, other = drawn(100, 10 + seed), drawn(100, 30 + seed, FOREIGN)
        one, fresh = StackedRecipe(BLOCKS).fit(own, other, seed), drawn(1000, 50 + seed)
        rejected.append((p_values(one.left_out, one.score(fresh)) <= 0.05).double().mean())
        naive.append((p_values(one.score(own), one.score(fresh)) <= 0.05).double().mean())
    assert 0.03 < torch.stack(rejected).mean() < 0.065
    assert torch.stack(naive).mean() > 0.08


@pytest.mark.parametrize("n", [12, 25, 40, 60])
def test_few_samples_of_many_dimensions_keep_their_rate_and_their_gaussian(n: int) -> None:
    """A Gaussian with as many axes as samples would know no distance off them: all fresh samples were rejected."""
    rng, rate = torch.Generator().manual_seed(0), 1 / 12
    rejected, strange = [], []
    for seed in range(4):
        own, other, fresh = (torch.randn(m, 300, generator=rng) for m in (n, n, 300))
        one = StackedRecipe((200, 100)).fit(own, other + 0.3, seed)
        rejected.append((p_values(one.left_out, one.score(fresh)) <= rate).double().mean())
        strange.append((p_values(one.left_out, one.score(fresh * 3)) <= rate).double().mean())
    assert torch.stack(rejected).mean() < 2.2 * rate  # measured: 0.14, 0.08, 0.06, 0.04
    assert torch.stack(strange).mean() > 0.9


def test_state_goes_through_json_without_the_left_out_scores(stacked: Stacked) -> None:
    state, samples = stacked.state(), drawn(30, 7, {3: 2.0})
    again = detector_from_state(State.rebuild(json.loads(json.dumps(state.describe())), state.flatten()))
    assert isinstance(again, Stacked)
    assert torch.equal(again.score(samples), stacked.score(samples))
    assert again.separated == stacked.separated
    assert len(stacked.left_out) == 150
    assert len(again.left_out) == 0


def test_unsuitable_features() -> None:
    with pytest.raises(MismatchError, match=r"61 numbers; expected blocks of \[30, 20, 10\]"):
        StackedRecipe(BLOCKS).fit(torch.randn(20, 61), torch.randn(20, 61), 0)
    with pytest.raises(TooFewSamples, match="10 own and 10 other"):
        StackedRecipe(BLOCKS).fit(drawn(9, 0), drawn(20, 1), 0)
    assert StackedRecipe().fit(drawn(20, 0), drawn(20, 1, FOREIGN), 0).width == 60


def test_turning_the_direction_is_turning_the_samples(stacked: Stacked) -> None:
    rng = torch.Generator().manual_seed(0)
    head = torch.stack([torch.randperm(50, generator=rng) for _ in range(5)])
    tails = torch.stack([torch.arange(50, 60), torch.arange(59, 49, -1)])[[0, 1, 0, 0, 1]]
    turns, values = torch.cat([head, tails], 1), drawn(7, 9)
    one_by_one = torch.stack([stacked.score(values[:, turn]) for turn in turns])
    assert torch.allclose(stacked.score_turned(values, turns), one_by_one, atol=1e-4)
    assert not torch.allclose(stacked.score_turned(values, turns.flip(0)), one_by_one, atol=1e-1)


def test_scores_do_not_depend_on_the_batch() -> None:
    """To the last bit, alone and among 300, although sums are long."""
    own, other = (torch.randn(60, 5000, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    wide = StackedRecipe((4000, 1000)).fit(own, other + 0.05, 0)
    fresh = torch.randn(300, 5000, generator=torch.Generator().manual_seed(3))
    turns = torch.stack([torch.arange(5000), torch.arange(5000).flip(0)])
    alone = torch.cat([wide.score(each[None]) for each in fresh])
    assert torch.equal(alone, wide.score(fresh))
    turned = torch.cat([wide.score_turned(each[None], turns) for each in fresh], 1)
    assert torch.equal(turned, wide.score_turned(fresh, turns))


def test_an_imprint_of_an_earlier_version_scores_as_it_did(stacked: Stacked) -> None:
    """By the length of (discriminant, distance), each in units of own samples."""
    scales, values = torch.tensor([[-0.8, 0.4], [11.0, 14.0]]), drawn(50, 8, {51: 3.0})
    settings = {"type": "stacked", "width": 10, "separated": 0.9}
    old = Stacked.from_state(State(settings, {"scales": scales}, stacked.state().parts))
    both = torch.stack([stacked.discriminant.score(values), stacked.gaussian.score(values[:, -10:])], 1)
    units = (both - scales[:, 0]) / scales[:, 1]
    expected = units.clamp_min(0).norm(dim=1)
    above = (units > 0).all(1)
    assert above.sum() > 10
    assert torch.allclose(old.score(values)[above], expected[above], rtol=1e-5)
    again = Stacked.from_state(State.rebuild(json.loads(json.dumps(old.state().describe())), old.state().flatten()))
    assert torch.equal(again.score(values), old.score(values))


def test_one_own_sample_far_out_does_not_hide_a_sibling() -> None:
    """Where the distance counted as it is, its heaviest own sample outweighed what the discriminant said."""
    own, fresh, sibling = drawn(150, 1), drawn(400, 3), drawn(200, 4, {place: 2 * by for place, by in FOREIGN.items()})
    for some in (own, fresh):
        some[::100, 50:] *= 2.5
    now = StackedRecipe(BLOCKS).fit(own, drawn(150, 2, FOREIGN), 0)
    earlier = replace(now, earlier=True, usual=torch.tensor([10.0, 12.0]))
    hidden = [float((one.score(sibling) <= one.score(fresh).max()).double().mean()) for one in (now, earlier)]
    assert hidden[0] < hidden[1] - 0.3, hidden
