"""Storage that might explain a verdict: what is compared, when it is a warning, and when it is not."""

from __future__ import annotations

import pytest

from morelli.attribution.confounds import compared, confounds, counted, split_by_storage, stored_as

PNG = {"format": "PNG", "coding": "none", "mode": "RGB", "bits": 8, "size": [64, 64]}
JPEG = PNG | {"format": "JPEG", "coding": "jpeg:80"}
GREY = PNG | {"mode": "L"}
SOUND = {"format": "WAV", "coding": "none", "bits": 16, "rate": 16_000, "channels": 1, "size": [16_000, 1]}
OWN = counted([PNG] * 9)


def test_what_is_counted() -> None:
    assert counted([PNG, PNG, JPEG]) == {
        "coding": {"jpeg": 1, "none": 2},
        "mode": {"RGB": 3},
        "bits": {"8": 3},
        "size": {"64×64": 3},
    }
    assert stored_as(PNG | {"mode": "RGBA"}) == stored_as(PNG | {"format": "BMP"}) == stored_as(PNG)
    assert stored_as({"format": "CSV", "mode": "text", "size": [6, 100]}) == {}
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
    judged = [(f"{i}.png", "attributed", PNG) for i in range(4)]
    judged += [(f"{i}.jpg", "not attributed", JPEG) for i in range(4)] + [("0", "inconclusive", PNG)]
    (found,) = split_by_storage(judged)
    assert (found["fact"], found["attributed"], found["others"]) == ("coding", ["none"], ["jpeg"])
    assert split_by_storage([*judged, ("b", "not attributed", PNG)]) == []
    assert split_by_storage(judged[2:]) == []  # two are too few
    nothing = [(f"{i}", outcome, {}) for i in range(5) for outcome in ("attributed", "not attributed")]
    assert split_by_storage(nothing) == []


def test_a_file_of_many_windows_is_one_file() -> None:
    windows = [("a.wav", "attributed", SOUND)] * 9 + [("b.wav", "not attributed", SOUND | {"bits": 24})] * 9
    assert split_by_storage(windows) == []
    clips = [(f"{i}-{file}", *rest) for i in range(3) for file, *rest in windows]
    assert [found["fact"] for found in split_by_storage(clips)] == ["bits"]


def test_only_pictures_have_a_size() -> None:
    assert stored_as(SOUND) == {"coding": "none", "bits": "16"}
    assert confounds(SOUND | {"size": [9, 1]}, "not attributed", counted([SOUND]) | {"size": {"16000×1": 9}}) == []
    for deep in (GREY | {"mode": "I;16", "bits": 16}, GREY | {"format": "DICOM", "mode": "MONOCHROME2", "bits": 12}):
        assert stored_as(deep)["size"] == "64×64"
        found = confounds(deep | {"size": [9, 9]}, "not attributed", counted([deep]))
        assert [(each["fact"], each["explains"]) for each in found] == [("size", True)]


def test_what_is_compared_is_named() -> None:
    assert compared(PNG, OWN) == ["coding", "colour mode", "depth", "size"]
    assert compared(PNG, {"size": {"64×64": 9}}) == ["size"]
    assert compared(PNG, None) == compared({"format": "CSV", "mode": "text", "size": [2, 9]}, OWN) == []


def test_what_is_inconclusive_was_not_judged_by_anything() -> None:
    (found,) = confounds(JPEG, "inconclusive", OWN, conditions=("none", "jpeg:90"))
    assert found["text"] == "The file is JPEG; own samples are stored without loss."
