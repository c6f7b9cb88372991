"""A StyleGAN2 through the public calls: head, imprint, inversion of the sum, bundles."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toys import LATENT, initialised_style

import morelli
from morelli import Head
from morelli.numerics.sums import LinearSum

SPEC = morelli.SampleSpec((3, 32, 32))


@cache
def generator(seed: int = 0) -> morelli.TorchGenerator:
    return morelli.TorchGenerator(initialised_style(seed), (LATENT, 1, 1), announce=lambda line: None)


@cache
def head() -> Head:
    return generator().head(100)


def samples(n: int, seed: int, weights: int = 0) -> Tensor:
    """Through 8 bits."""
    return ((generator(weights).samples(n, seed) + 1) * 127.5).round() / 127.5 - 1


def test_a_head_bundle(tmp_path: Path) -> None:
    digest = morelli.save(head(), tmp_path / "style.head")
    again = morelli.load(tmp_path / "style.head")
    assert isinstance(again.map, LinearSum)
    z = generator().activations(2, 4)
    assert torch.equal(again.forward(z), head().forward(z))
    assert morelli.save(again, tmp_path / "again.head") == digest


def test_an_imprint_lies_on_the_grid_of_the_up_sampling() -> None:
    attributor = morelli.train(head(), samples(60, 1), rate=0.05, perturb=("none",))
    assert (attributor.card["method"], attributor.extractor.stride) == ("imprint", 2)
    assert sum(v.outcome.value == "attributed" for v in attributor.judge(samples(20, 2))) >= 16


@pytest.mark.parametrize("inversion", ["closed-form", "gaussian", "steps"])
def test_the_sum_is_inverted(inversion: str, tmp_path: Path) -> None:
    options = {"method": "flipad", "detector": "lda", "inversion": inversion, "rate": 0.05, "out": tmp_path / "a"}
    attributor = morelli.train(head(), samples(60, 1), samples(40, 1, weights=1), **options)
    own = samples(8, 3)
    assert morelli.load(tmp_path / "a").judge(own) == attributor.judge(own)


def test_the_closed_form_reaches_the_sample() -> None:
    attributor = morelli.train(
        head(),
        samples(40, 1),
        samples(40, 1, weights=1),
        method="flipad",
        detector="lda",
        inversion="closed-form",
        rate=0.05,
    )
    z = attributor.extractor.extract(samples(4, 3)).values + head().anchor
    torch.testing.assert_close(head().forward(z), samples(4, 3), rtol=0, atol=1e-3)
