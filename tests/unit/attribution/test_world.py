"""The world: what varies within a model is learned from its models, and from a gallery's where there is one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from prints import models, world

from morelli.attribution.scoring import SCORINGS
from morelli.attribution.world import World, groups
from morelli.errors import MismatchError, TooFewSamples

KNOWN = models(80, 10, seed=0)


def test_groups() -> None:
    values = torch.arange(2 * 5 * 1.0).reshape(2, 5, 1)
    assert groups(values, 2)[..., 0].tolist() == [[0, 1], [2, 3], [5, 6], [7, 8]]
    assert groups(values, 5).shape == groups(values, 99).shape == (2, 5, 1)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_own_samples_score_lower(scoring: str) -> None:
    here, test = world(KNOWN, scoring), models(30, 10, seed=1)
    own = torch.cat([here.score(one[1:], one[None, :1]) for one in test])
    other = torch.cat([here.score(one[1:], two[None, :1]) for one, two in zip(test, test.roll(1, 0), strict=True)])
    assert own.mean() < other.mean() - other.std()


def test_strangers_teach_nothing() -> None:
    here = world(KNOWN)
    changed = replace(here, strangers=here.strangers.flip(3))
    one, other = models(2, 10, seed=1)
    assert torch.equal(here.score(one, other[None]), changed.score(one, other[None]))


def test_what_a_codec_adds_is_taken_away() -> None:
    shifts = {"jpeg:90": torch.full((16,), 9.0), "jpeg:50": torch.full((16,), 5.0), "webp:80": torch.full((16,), 8.0)}
    here = World.from_state(replace(world(KNOWN), shifts=shifts).state())
    values = models(1, 3, seed=4)[0]
    for coding, shift in (("jpeg:97", 9), ("jpeg:72", 9), ("jpeg:12", 5), ("webp:80", 8), ("none", 0), ("avif:3", 0)):
        assert torch.equal(here.recentred(values, coding), values - shift)
    assert torch.equal(world(KNOWN).recentred(values, "jpeg:90"), values)


def test_a_gallery_teaches_what_varies_within_a_model() -> None:
    """One value varies with every image, here and not in the world: it should count for little."""
    here, gallery = world(KNOWN), models(6, 20, seed=2)
    gallery[..., 3] += 20 * torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    adapted = replace(here, known=tuple(gallery[:, :10]))

    def right(judge: World) -> float:
        scores = torch.stack([judge.score(one[:10], gallery[:, 10:].reshape(-1, 1, 16)) for one in gallery])
        return float((scores.argmin(0) == torch.arange(6).repeat_interleave(10)).double().mean())

    assert right(adapted) > right(here) + 0.2


def test_a_world_that_is_none() -> None:
    with pytest.raises(MismatchError, match="cosine, neighbours, plda"):
        world(KNOWN, "manhattan")
    for few, strangers in (
        (KNOWN[:1], KNOWN[:, None]),
        (KNOWN[:, :1], KNOWN[:, None]),
        (KNOWN[0], KNOWN[:, None]),
        (KNOWN, KNOWN),
        (KNOWN, KNOWN[:1, None]),
        (KNOWN, KNOWN[:, None, :1]),
        (KNOWN, KNOWN[:, :0, None]),
    ):
        with pytest.raises(TooFewSamples, match="two models and strangers or more"):
            World(few, strangers)


def test_it_comes_back() -> None:
    found = World.from_state(world(KNOWN, "plda").state())
    assert found.scoring == "plda"
    assert torch.equal(found.models, KNOWN[:40])
    assert torch.equal(found.strangers, KNOWN[40:, None])
