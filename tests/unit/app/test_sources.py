"""What is done to samples before training."""

from __future__ import annotations

import pytest
import torch

from morelli.app.sources import Samples, perturbed, turned_images
from morelli.errors import MismatchError, OutOfRange
from morelli.features.protocol import SampleSpec

SPEC = SampleSpec((3, 8, 8))


def samples(n: int = 6) -> Samples:
    values = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Samples(values, [{"format": "PNG"}] * n, {"samples": n})


def test_perturbations_take_turns() -> None:
    before = samples()
    after = perturbed(before, SPEC, ["none", "gamma:0.5"], 0)
    change = (after.values - before.values).abs().flatten(1).amax(1)
    assert (change[::2] <= 1 / 255 + 1e-6).all()  # 8-bit rounding alone
    assert (change[1::2] > 0.1).all()
    assert after.facts == [{}] * 6


def test_perturbations_need_images_and_names() -> None:
    with pytest.raises(OutOfRange, match="Write it like"):
        perturbed(samples(), SPEC, ["sepia:1"], 0)
    table = Samples(torch.zeros(4, 6), [{}] * 4, {})
    with pytest.raises(MismatchError, match="no images"):
        perturbed(table, SampleSpec((6,)), ["none"], 0)


@pytest.mark.parametrize("shape", [(8, 3, 6, 6), (8, 1, 4, 6)], ids=str)
def test_turned_images_hold_the_same_values_elsewhere(shape: tuple[int, ...]) -> None:
    images = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    turned = turned_images(images)
    assert turned.shape == images.shape
    assert torch.equal(turned.flatten(1).sort(1).values, images.flatten(1).sort(1).values)
    assert not (turned == images).flatten(1).all(1).any()


def test_tables_cannot_be_turned() -> None:
    with pytest.raises(MismatchError, match="cannot be turned"):
        turned_images(torch.zeros(4, 6))
