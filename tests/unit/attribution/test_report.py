from __future__ import annotations

import json

from morelli import Outcome, Report, Verdict
from morelli.attribution.report import JudgedFile, RefusedFile


def report() -> Report:
    sound = Verdict(Outcome.ATTRIBUTED, 0.5, 0.25, "", {"gap": 0.1})
    vague = Verdict(Outcome.INCONCLUSIVE, reason="too small")
    judged = (JudgedFile("a.png", sound, {"format": "PNG"}), JudgedFile("t.csv", vague, {}, row=3))
    return Report({"name": "dcgan"}, judged, (RefusedFile("b.txt", "no image"),))


def test_counts_name_every_outcome() -> None:
    assert report().counts() == {"attributed": 1, "not attributed": 0, "inconclusive": 1, "refused": 1}


def test_to_dict_is_json_and_holds_everything() -> None:
    told = json.loads(json.dumps(report().to_dict(), allow_nan=False))
    assert told["schema"] == 3
    assert told["summary"] == report().counts()
    first, second = told["verdicts"]
    assert (first["file"], first["outcome"], first["score"], first["p_value"]) == ("a.png", "attributed", 0.5, 0.25)
    assert (second["outcome"], second["score"], second["reason"]) == ("inconclusive", None, "too small")
    assert (first["row"], second["row"]) == (None, 3)
    assert [refused["file"] for refused in told["refused"]] == ["b.txt"]
