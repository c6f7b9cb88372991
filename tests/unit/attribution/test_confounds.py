"""Storage that might explain a verdict: what is compared, when it is a warning, and when it is not."""

from __future__ import annotations

import pytest

from morelli.attribution.confounds import confounds, counted, split_by_storage, stored_as

PNG = {"format": "PNG", "coding": "none", "mode": "RGB", "bits": 8, "size": [64, 64]}
JPEG = PNG | {"format": "JPEG", "coding": "jpeg:80"}
GREY = PNG | {"mode": "L"}
OWN = counted([PNG] * 9)


def test_what_is_counted() -> None:
    assert counted([PNG, PNG, JPEG]) == {
        "coding": {"jpeg": 1, "none": 2},
        "mode": {"RGB": 3},
        "bits": {"8": 3},
        "size": {"64×64": 3},
    }
    assert stored_as(PNG | {"mode": "RGBA"}) == stored_as(PNG | {"format": "BMP"}) == stored_as(PNG)
    assert stored_as({"format": "CSV", "size": [6, 100]}) == {}
    assert counted([]) == counted([{}]) == {}


def test_like_own_samples_nothing_is_said() -> None:
    for outcome in ("attributed", "not attributed", "inconclusive"):
        assert confounds(PNG, outcome, OWN, population=OWN) == []
        assert confounds(JPEG, outcome, None) == []  # of own samples nothing is known


@pytest.mark.parametrize(("facts", "fact"), [(JPEG, "coding"), (GREY, "mode"), (PNG | {"bits": 16}, "bits")])
def test_unlike_own_samples_a_rejection_may_be_explained(facts: dict, fact: str) -> None:
    (found,) = confounds(facts, "not attributed", OWN)
    assert (found["fact"], found["explains"]) == (fact, True)
    assert "might be the reason for this verdict" in found["text"]
    (found,) = confounds(facts, "attributed", OWN)  # it was attributed all the same
    assert not found["explains"]


def test_not_where_the_condition_was_learned() -> None:
    (found,) = confounds(JPEG, "not attributed", OWN, conditions=("none", "jpeg:70..86"))
    assert not found["explains"]
    assert "judged by what the same did to own samples" in found["text"]
    (found,) = confounds(GREY, "not attributed", OWN, conditions=("none", "jpeg:70..86"))
    assert found["explains"]


def test_own_samples_and_the_file_alone_share_what_the_population_lacks() -> None:
    own, population = counted([JPEG] * 5), counted([PNG] * 50)
    (found,) = confounds(JPEG, "attributed", own, population=population)
    assert found["explains"] and found["fact"] == "coding"
    assert "no sample of the population is" in found["text"]
    assert confounds(JPEG, "attributed", counted([JPEG, PNG]), population=population) == []
    assert confounds(JPEG, "attributed", own, population=counted([PNG, JPEG])) == []


def test_a_run_that_storage_alone_splits() -> None:
    judged = [("attributed", PNG)] * 4 + [("not attributed", JPEG)] * 4 + [("inconclusive", PNG)]
    (found,) = split_by_storage(judged)
    assert (found["fact"], found["attributed"], found["others"]) == ("coding", ["none"], ["jpeg"])
    assert split_by_storage([*judged, ("not attributed", PNG)]) == []
    assert split_by_storage(judged[2:]) == []  # two are too few
    assert split_by_storage([("attributed", {}), ("not attributed", {})] * 5) == []
