"""Galleries: the right entry first, "none of these" for strangers, and the rate that was promised."""

from __future__ import annotations

import pytest
import torch
from prints import models, world

from morelli.attribution import gallery as module
from morelli.attribution.gallery import Entry, Gallery, check_name
from morelli.attribution.scoring import SCORINGS
from morelli.attribution.world import World
from morelli.errors import MismatchError, OutOfRange, TooFewSamples

KNOWN = world(models(60, 8, seed=0))


def gallery(values: torch.Tensor, world: World = KNOWN, rate: float = 0.05) -> Gallery:
    return Gallery(tuple(Entry(f"m{i}", x, "net") for i, x in enumerate(values)), world, rate)


def test_own_samples_are_identified() -> None:
    values = models(6, 30, seed=1, within=0.5)
    opened, right = gallery(values[:, :10]), 0
    for i, model in enumerate(values):
        for sample in model[10:]:
            right += opened.rank(sample[None]).identified == f"m{i}"
    assert right > 0.8 * 120
    ranking = opened.rank(values[2, 10:16])
    assert ranking.identified == "m2"
    scores = [candidate.score for candidate in ranking.candidates]
    assert scores == sorted(scores)
    assert {c.name for c in ranking.candidates} == {f"m{i}" for i in range(6)}
    assert [c.p_value is None for c in ranking.candidates] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("size", [1, 4])
def test_strangers_are_identified_no_more_often_than_promised(scoring: str, size: int) -> None:
    """Fresh models from where the world's strangers come from, in galleries of four entries."""
    rate, found, total = 0.1, 0, 0
    for seed in range(5):
        values = models(60 + 4 + 50, 8, seed=100 + seed, d=32)
        opened = gallery(values[60:64], world(values[:60], scoring), rate)
        answers = [opened.rank(one[:size]).identified for one in values[64:]]
        found, total = found + sum(answer is not None for answer in answers), total + len(answers)
    assert found / total < rate + 2.5 * (rate / total) ** 0.5
    assert found > 0


def test_each_stranger_counts_once_in_the_coding_that_is_nearest() -> None:
    values = models(24, 8, seed=9)
    near = values[4:, None] - values[4:, None] + values[0, 0]  # all strangers are the first entry itself, when recoded
    codings = torch.cat([values[4:, None], near], 1)
    plain = gallery(values[:4], World(values[4:], values[4:, None])).rank(values[0, :1])
    recoded = gallery(values[:4], World(values[4:], codings)).rank(values[0, :1])
    assert plain.p_value == pytest.approx(1 / 21)
    assert recoded.p_value == 1


def test_fresh_own_samples_are_as_usual_as_their_p_values_say() -> None:
    """Held out of the covariance too: with samples that taught it, every fresh one had the smallest p-value."""
    values = models(8, 40, seed=3)
    opened = gallery(values[:, :10])
    found = [
        opened._usual(i, opened._scores(sample[None, None])[0][0, i], 1)
        for i, own in enumerate(values)
        for sample in own[10:]
    ]
    unusual = sum(p <= 0.1 for p in found) / len(found)
    assert 0.04 < unusual < 0.2  # 0.117
    assert 0.4 < sum(found) / len(found) < 0.65


def test_one_entry_is_a_gallery() -> None:
    values = models(1, 12, seed=3, within=0.4)
    ranking = gallery(values[:, :10]).rank(values[0, 10:11])
    assert [c.name for c in ranking.candidates] == ["m0"]
    assert ranking.identified == "m0"
    assert gallery(values[:, :10]).rank(-values[0, 10:11]).identified is None


def test_more_samples_than_a_model_of_the_world_has() -> None:
    values = models(2, 60, seed=4, within=0.5)
    assert gallery(values[:, :10]).rank(values[1, 10:]).identified == "m1"


def test_the_order_of_samples_and_entries_does_not_count() -> None:
    values = models(5, 14, seed=5)
    first = gallery(values[:, :10]).rank(values[1, 10:])
    turned = Gallery(tuple(reversed(gallery(values[:, :10]).entries)), KNOWN, 0.05).rank(values[1, 10:].flip(0))
    assert [c.name for c in first.candidates] == [c.name for c in turned.candidates]
    assert first.p_value == pytest.approx(turned.p_value)
    assert [c.score for c in first.candidates] == pytest.approx([c.score for c in turned.candidates], abs=1e-4)


def test_a_shortlist_holds_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    values = models(12, 12, seed=6, within=0.5)
    whole = gallery(values[:, :10]).rank(values[7, 10:])
    monkeypatch.setattr(module, "SHORTLIST", 4)
    short = gallery(values[:, :10]).rank(values[7, 10:])
    assert len(short.candidates) == 4
    assert short.candidates[0] == whole.candidates[0]


def test_a_rate_that_cannot_be_resolved() -> None:
    values = models(2, 10, seed=1)
    with pytest.raises(TooFewSamples, match="ask for at least"):
        gallery(values, rate=0.001).rank(values[0, :1])
    for rate in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(OutOfRange, match="between 0 and 1"):
            gallery(values, rate=rate)


def test_entries_that_do_not_go_together() -> None:
    one, other = models(2, 10, seed=1)
    with pytest.raises(MismatchError, match="different fingerprint networks"):
        Gallery((Entry("a", one, "x"), Entry("b", other, "y")), KNOWN)
    with pytest.raises(MismatchError, match="one name"):
        Gallery((Entry("a", one, "x"), Entry("a", other, "x")), KNOWN)
    with pytest.raises(TooFewSamples, match="morelli enrol"):
        Gallery((), KNOWN)
    with pytest.raises(TooFewSamples, match="'a' has 4 samples"):
        Entry("a", one[:4], "x")


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "0" * 64])
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a b", "é", "a\n", "0" * 65, "..", "a\\b"])
def test_no_names(name: str) -> None:
    with pytest.raises(OutOfRange, match="cannot name a model"):
        check_name(name)


def test_an_entry_comes_back() -> None:
    entry = Entry("a", models(1, 6, seed=0)[0], "net", {"made": "today"})
    again = Entry.from_state(entry.state())
    assert (again.name, again.network, again.card) == ("a", "net", {"made": "today"})
    assert torch.equal(again.fingerprints, entry.fingerprints)


def test_entries_from_weights_are_candidates_only() -> None:
    """They stand apart, change nothing for the others, and none is identified however near."""
    values = models(4, 14, seed=8, within=0.4)
    plain = gallery(values[:3, :10])
    mixed = Gallery((*plain.entries, Entry("w", values[3, :10], "net", predicted=True)), KNOWN, 0.05)
    for sample in (values[1, 10:], values[3, 10:]):
        before, after = plain.rank(sample), mixed.rank(sample)
        assert (before.candidates, before.p_value) == (after.candidates, after.p_value)
        assert [(c.name, c.p_value) for c in after.predicted] == [("w", None)]
    near, far = (mixed.rank(values[i, 10:]).predicted[0].score for i in (3, 1))
    assert near < far
    alone = Gallery(mixed.entries[3:], KNOWN, 0.05).rank(values[3, 10:])
    assert (alone.candidates, alone.p_value, alone.identified) == ((), None, None)


def test_an_entry_from_weights_comes_back_as_one() -> None:
    entry = Entry("a", models(1, 6, seed=0)[0], "net", predicted=True)
    assert Entry.from_state(entry.state()).predicted
    assert "predicted" not in Entry("a", entry.fingerprints, "net").state().settings
