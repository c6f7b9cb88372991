"""A slice of `run.py`, and proof that it sees what it is there to see."""

from __future__ import annotations

import sys

import pytest
from fuzz.pool import judge_all
from fuzz.run import inputs, table
from fuzz.seeds import SEEDS
from fuzz.worker import generated

for needed in ("pydicom", "soundfile", "onnx", "onnxruntime"):
    pytest.importorskip(needed, reason="the slice has every reader")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and peaks are read from /proc")
SLOW = ("fingerprint network", "ONNX")  # to make a sound one, or to read one


def test_six_hundred_malformed_inputs_end_in_one_line_or_are_read() -> None:
    found = list(judge_all(inputs(600, [name for name in SEEDS if name not in SLOW])))
    assert [f"{each.reader} {each.number}: {each.said}" for each in found if each.kind == "defect"] == []
    assert {each.kind for each in found} == {"read", "refused"}
    assert len(found) == 600
    assert "| all | 600 |" in table(found)


def test_an_input_is_known_by_its_number() -> None:
    assert generated("PNG", 3) == generated("PNG", 3) != generated("PNG", 4)


def test_a_crash_a_hang_and_greed_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.pool.HANG", 3.0)
    found = {each.reader: each.said for each in judge_all((name, 0) for name in ("noise", "greed", "crash", "hang"))}
    assert found["crash"] == "crash: SIGSEGV"
    assert "hang" in found["hang"]
    assert "MemoryError" in found["greed"]
    assert "printed b'native" in found["noise"]
