"""Lineage: the sign-flip test, Holm's correction, and the nearest entry against the others."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from prints import models, world

from morelli.attribution.gallery import Entry, Gallery
from morelli.attribution.lineage import holm, sign_flip, trace
from morelli.errors import TooFewSamples


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_small_samples_are_counted_exactly(n: int) -> None:
    values = torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    sums = [
        sum(s * float(v) for s, v in zip(signs, values, strict=True)) for signs in itertools.product((1, -1), repeat=n)
    ]
    assert sign_flip(values) == pytest.approx(sum(s >= sums[0] - 1e-9 for s in sums) / 2**n)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_surest_case_counts_itself_whatever_the_scale(scale: float) -> None:
    assert sign_flip(scale * torch.rand(8, generator=torch.Generator().manual_seed(0)) + scale) == 1 / 2**8
    assert sign_flip(scale * torch.full((20,), 0.1)) == pytest.approx(1 / 10_000)
    assert sign_flip(-scale * torch.ones(8)) == 1
    assert sign_flip(torch.zeros(8)) == sign_flip(torch.zeros(0)) == 1
    assert sign_flip(torch.full((8,), float("nan"))) == 1


@pytest.mark.parametrize("n", [7, 20])
def test_under_the_null_p_is_uniform(n: int) -> None:
    rng = torch.Generator().manual_seed(0)
    p = torch.tensor([sign_flip(torch.randn(n, generator=rng)) for _ in range(150)])
    for level in (0.1, 0.25, 0.5, 0.75):
        share = float((p <= level).double().mean())
        assert abs(share - level) < 3.3 * (level * (1 - level) / 150) ** 0.5


def test_many_flips_agree_with_all() -> None:
    """14 samples are drawn, 13 counted; one that is zero changes nothing."""
    values = torch.randn(13, generator=torch.Generator().manual_seed(5)) + 0.3
    assert sign_flip(torch.cat([values, torch.zeros(1)])) == pytest.approx(sign_flip(values), abs=0.02)


def test_holm_on_the_textbook_example() -> None:
    """Holm (1979) as on Wikipedia, "Holm-Bonferroni method"; adjusted values by R's p.adjust."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


VALUES = models(5, 40, seed=9, within=0.5)
GALLERY = Gallery(
    tuple(Entry(f"m{i}", x[:10], "net") for i, x in enumerate(VALUES[:4])), world(models(60, 8, seed=0)), 0.05
)


def test_the_base_is_found() -> None:
    found = trace(VALUES[2, 10:30], GALLERY)
    assert found.base == "m2"
    assert [r.name for r in found.relations] == [c.name for c in found.ranking.candidates[1:]]
    assert all(r.margin > 0 and r.p_value < 0.05 for r in found.relations)
    told = json.loads(json.dumps(found.to_dict()))
    assert (told["base"], told["nearest"], told["refused"]) == ("m2", "m2", [])
    assert "decoder" in told["limits"]


def test_a_stranger_and_a_tie_have_no_base() -> None:
    assert trace(-VALUES[2, 10:30], GALLERY).base is None
    twin = Entry("twin", VALUES[2, 30:], "net")  # the same decoder under two names
    tie = trace(VALUES[2, 10:30], Gallery((*GALLERY.entries, twin), GALLERY.world, 0.05))
    assert {tie.ranking.candidates[0].name, tie.relations[0].name} == {"m2", "twin"}
    assert (tie.base is None) == (tie.relations[0].p_value > 0.05)


def test_one_entry_needs_no_others() -> None:
    alone = Gallery(GALLERY.entries[2:3], GALLERY.world, 0.05)
    assert trace(VALUES[2, 10:30], alone).base == "m2"
    assert trace(VALUES[2, 10:30], alone).relations == ()


def test_too_few_samples() -> None:
    with pytest.raises(TooFewSamples, match="4 samples were given; a lineage needs 5"):
        trace(VALUES[2, :4], GALLERY)
