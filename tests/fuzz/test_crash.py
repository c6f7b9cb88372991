"""A slice of `crash.py`: the command whose journal grows while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked, and limited as Linux does")
def test_attribute_is_killed_starved_and_refused_at_every_moment() -> None:
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.crash", "attribute", "--every", "5"],
        env=variables | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "| attribute | 2 | 2 | 2 | 2 | 2 | 0 |" in done.stdout
