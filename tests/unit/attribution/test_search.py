"""Nearest prototypes, against sorting everything."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from prints import models

from morelli.attribution import search
from morelli.attribution.search import nearest
from morelli.errors import MorelliError

PROTOTYPES, QUERIES = models(300, 1, seed=0)[:, 0], models(7, 1, seed=1)[:, 0]


@pytest.mark.parametrize("k", [1, 5, 300])
def test_exact_search_is_sorting(k: int) -> None:
    expected = (QUERIES[:, None] - PROTOTYPES).square().sum(2).sort(1).indices[:, :k]
    assert torch.equal(nearest(PROTOTYPES, QUERIES, k), expected)


def test_no_more_than_there_are() -> None:
    assert nearest(PROTOTYPES[:3], QUERIES, 50).shape == (7, 3)
    assert nearest(PROTOTYPES, QUERIES[:0], 2).shape == (0, 2)


@pytest.mark.skipif(importlib.util.find_spec("faiss") is not None, reason="FAISS is installed")
def test_too_many_without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MANY", 299)
    with pytest.raises(MorelliError, match=r"300 entries .* pip install 'morelli\[faiss\]'"):
        nearest(PROTOTYPES, QUERIES, 3)


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="needs FAISS")
def test_approximate_search_finds_nearly_all() -> None:
    many, queries = models(20_000, 1, seed=2)[:, 0], models(50, 1, seed=3)[:, 0]
    exact = nearest(many, queries, 10)
    found = search._approximate(many, queries, 10, lists=32, probed=16)
    shared = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert sum(shared) > 0.9 * 500
