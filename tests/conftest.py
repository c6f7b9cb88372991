"""For every test: one thread, since toys are too small for two, and a Hypothesis that repeats itself."""

from __future__ import annotations

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("suite", deadline=None, max_examples=40, derandomize=True, database=None)
settings.load_profile("suite")
