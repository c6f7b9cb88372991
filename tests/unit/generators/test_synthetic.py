"""Synthetic generators: every option builds, keeps the shape, and leaves samples alone."""

from __future__ import annotations

import pytest
import torch

from morelli.errors import OutOfRange
from morelli.generators.synthetic import (
    ACTIVATIONS,
    BEYOND,
    MODULATED,
    NORMALISATIONS,
    PAPER,
    PATCH,
    UPSAMPLINGS,
    Blueprint,
    Blur,
    Modulated,
    build,
)

PLAIN = Blueprint(1, 1, "nearest", "relu", "batch", "after")
IMAGES = torch.rand(3, 3, 16, 32, generator=torch.Generator().manual_seed(0))
SAMPLE = [*PAPER[:: len(PAPER) // 24], *BEYOND[::4]]


def test_the_papers_288_are_distinct_and_ours_are_others() -> None:
    assert len(PAPER) == 288
    assert len({b.name for b in (*PAPER, *BEYOND)}) == len(set(PAPER) | set(BEYOND)) == len(PAPER) + len(BEYOND)


def test_the_lists_use_every_option() -> None:
    both = [*PAPER, *BEYOND]
    assert {b.upsampling for b in both} == {*UPSAMPLINGS, PATCH}
    assert {b.normalisation for b in both} == {*NORMALISATIONS, MODULATED}
    assert {b.activation for b in both} == set(ACTIVATIONS)


@pytest.mark.parametrize("blueprint", [*PAPER, *BEYOND], ids=lambda b: b.name)
def test_every_blueprint_builds_and_keeps_the_shape(blueprint: Blueprint) -> None:
    with torch.no_grad():
        assert build(blueprint, 0)(IMAGES[:2]).shape == (2, 3, 16, 32)


@pytest.mark.parametrize("blueprint", SAMPLE, ids=lambda b: b.name)
def test_in_evaluation_samples_do_not_see_each_other(blueprint: Blueprint) -> None:
    module = build(blueprint, 3)
    module(IMAGES)  # statistics that are not those of a fresh module
    module.eval()
    with torch.no_grad():
        together, alone = module(IMAGES), torch.cat([module(image[None]) for image in IMAGES])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert together.std() > 0


def test_the_seed_decides_and_nothing_else_changes() -> None:
    before = torch.random.get_rng_state()
    first, second, other = build(PLAIN, 1), build(PLAIN, 1), build(PLAIN, 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.layers[0][1].weight, other.layers[0][1].weight)


@pytest.mark.parametrize(
    "settings",
    [
        (5, 1, "nearest", "relu", "batch", "after"),
        (1, 3, "nearest", "relu", "batch", "after"),
        (1, 1, "cubic", "relu", "batch", "after"),
        (1, 1, "nearest", "gelu", "batch", "after"),
        (1, 1, "nearest", "relu", "layer", "after"),
        (1, 1, "nearest", "relu", "batch", "between"),
        (1, 1, "nearest", "relu", "batch", "after", False, 65),
        (1, 1, PATCH, "relu", "none", "after"),
        (1, 1, PATCH, "relu", "none", "before", True),
        (1, 1, PATCH, "relu", MODULATED, "before"),
        (1, 1, "nearest", "relu", MODULATED, "before"),
        (1, 1, "transposed", "relu", MODULATED, "after"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: tuple[object, ...]) -> None:
    with pytest.raises(OutOfRange, match=r"a blueprint's|un-embedding|modulation"):
        Blueprint(*settings)  # type: ignore[arg-type]


def test_blur_keeps_what_is_flat_and_halves_a_checkerboard_to_nothing() -> None:
    flat = torch.full((1, 2, 5, 5), 0.3)
    torch.testing.assert_close(Blur()(flat), flat)
    board = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float()[None, None]
    torch.testing.assert_close(Blur()(board)[..., 1:-1, 1:-1], torch.full((1, 1, 6, 6), 0.5))


def test_modulation_does_not_depend_on_the_scale_of_the_style() -> None:
    """What the second half of the layer is for: with a style c times as large, c cancels."""
    layer = Modulated(4, 5)
    x = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.style.weight.zero_()
        layer.style.bias.zero_()
        once = layer(x)
        layer.style.bias.fill_(6.0)
        torch.testing.assert_close(layer(x), once, rtol=1e-4, atol=1e-5)
        layer.style.bias.copy_(torch.arange(4.0))
        assert not torch.allclose(layer(x), once, atol=1e-2)
