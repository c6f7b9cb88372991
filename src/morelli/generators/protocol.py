"""What must be known about a model: only its owner needs one of these."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from morelli.numerics.head import Head


class Generator(Protocol):
    """Same `n` and `seed`: same draws, in the same order, in all three methods."""

    def head(self, n: int, seed: int) -> Head: ...
    def activations(self, n: int, seed: int) -> Tensor: ...
    def samples(self, n: int, seed: int) -> Tensor: ...
    def digest(self) -> str: ...
