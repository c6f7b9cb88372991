"""The world: scores in standard deviations of unrelated models', from models that calibrate nothing."""

from __future__ import annotations

import pytest
import torch
from prints import models

from morelli.attribution.scoring import SCORINGS
from morelli.attribution.world import World, groups
from morelli.errors import MismatchError, TooFewSamples

KNOWN = models(80, 10, seed=0)


def test_groups() -> None:
    values = torch.arange(2 * 5 * 1.0).reshape(2, 5, 1)
    assert groups(values, 2)[..., 0].tolist() == [[0, 1], [2, 3], [5, 6], [7, 8]]
    assert groups(values, 5).shape == groups(values, 99).shape == (2, 5, 1)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_unrelated_models_score_zero_give_or_take_one(scoring: str) -> None:
    world, others = World(KNOWN, scoring), models(60, 10, seed=1)
    found = torch.cat([world.score(one, others[30:, :1]) for one in others[:30]])
    assert abs(float(found.mean())) < 0.25
    assert 0.6 < float(found.std()) < 1.5
    own = torch.cat([world.score(one[1:], one[None, :1]) for one in others])
    assert own.mean() < -1


def test_the_score_is_what_it_says() -> None:
    world, (one, other) = World(KNOWN), models(2, 10, seed=1)
    raw = SCORINGS["cosine"](KNOWN)
    theirs = raw.score(one, KNOWN[:40].reshape(-1, 2, 16))
    ours = torch.stack([raw.score(model, other[None, :2])[0] for model in KNOWN[:40]])
    here = raw.score(one, other[None, :2])[0]
    expected = ((here - theirs.mean()) / theirs.std() + (here - ours.mean()) / ours.std()) / 2
    torch.testing.assert_close(world.score(one, other[None, :2])[0], expected)


def test_strangers_are_not_in_the_cohort() -> None:
    world = World(KNOWN)
    assert len(world.cohort) + len(world.strangers) == len(KNOWN)
    changed = World(torch.cat([world.cohort, world.strangers.flip(2)]))
    one, other = models(2, 10, seed=1)
    assert torch.equal(world.score(one, other[None]), changed.score(one, other[None]))


def test_a_world_that_is_none() -> None:
    with pytest.raises(MismatchError, match="cosine, neighbours, plda"):
        World(KNOWN, "manhattan")
    for few in (KNOWN[:3], KNOWN[:, :1], KNOWN[0]):
        with pytest.raises(TooFewSamples, match="four models or more"):
            World(few)


def test_half_precision_keeps_lengths_of_one() -> None:
    state = World(KNOWN.half().float(), "plda").state()
    found = World.from_state(state)
    assert found.scoring == "plda"
    torch.testing.assert_close(found.models.norm(dim=-1), torch.ones(80, 10), rtol=0, atol=1e-6)
    assert (state.tensors["models"].norm(dim=-1) - 1).abs().max() > 1e-5
