"""Imprint: features of a turned image are those of the upright one in another order, by definition and exactly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morelli import SampleSpec
from morelli.errors import MismatchError
from morelli.features.imprint import FRAME, SQUARE, Imprint, orientations
from morelli.features.protocol import Turnable


def images(*shape: int, n: int = 3, seed: int = 0) -> Tensor:
    """In [−1, 1], in few steps."""
    values = torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))
    return (values / 3).clamp(-1, 1).mul(127).round() / 127


def agree(found: Tensor, expected: Tensor) -> None:
    """The logarithm magnifies rounding by up to 1/FLOOR."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("frame", [(16, 16), (16, 24), (128, 128), (160, 64), (64, 100)], ids=str)
def test_turned_features_are_those_of_the_turned_image(frame: tuple[int, int], stride: int, channels: int) -> None:
    """The last three are averaged over tiles, which lie in the middle where they do not fill an axis."""
    samples = images(channels, *frame)
    one = Imprint(SampleSpec((channels, *frame)), stride)
    upright = one.extract(samples).values
    every = orientations(samples, frame[0] == frame[1])
    assert isinstance(one, Turnable)
    assert len(every) == len(one.turns) == len(one.orientations) == (8 if frame[0] == frame[1] else 4)
    assert torch.equal(one.turns[0], torch.arange(upright.shape[1]))
    for turn, turned in zip(one.turns, every, strict=True):
        assert torch.equal(turn.sort().values, one.turns[0])
        agree(upright[:, turn], one.extract(turned).values)


def test_orientations_are_named_for_what_they_do() -> None:
    corner = torch.tensor([[1, 2], [3, 4]])
    found = {name: turned.flatten().tolist() for name, turned in zip(SQUARE, orientations(corner, True), strict=True)}
    assert found == {
        "as it is": [1, 2, 3, 4],
        "turned left": [2, 4, 1, 3],
        "turned by half": [4, 3, 2, 1],
        "turned right": [3, 1, 4, 2],
        "transposed": [1, 3, 2, 4],
        "upside down": [3, 4, 1, 2],
        "transposed the other way": [4, 2, 3, 1],
        "mirrored": [2, 1, 4, 3],
    }
    for name, turned in zip(FRAME, orientations(corner, False), strict=True):
        assert turned.flatten().tolist() == found[name]


def test_blocks_are_what_they_say() -> None:
    samples = images(3, 12, 20)
    one = Imprint(SampleSpec((3, 12, 20)), stride=2)
    fine, coarse, broad, neighbours = one.extract(samples).values.double().split(one.blocks, 1)
    steps = (samples.double() + 1) * 127.5
    at = (1, 2, 5, 9)
    residual = steps[at] - steps[1, 2, 4:7, 8:11].mean()
    around = torch.nn.functional.pad(steps, (1, 1, 1, 1), mode="reflect")
    mean = around.unfold(2, 3, 1).unfold(3, 3, 1).mean((4, 5))
    whole = (steps - mean) / ((steps - mean).abs().mean((1, 2, 3), keepdim=True) + 0.25)
    assert float(fine.reshape(3, 3, 12, 20)[at] / residual) == pytest.approx(float(whole[at] / residual), rel=1e-4)
    difference = float(steps[at] - steps[1, 2, 3:8, 7:12].mean()) / 16
    assert float(coarse.reshape(3, 3, 12, 20)[at]) == pytest.approx(max(-4, min(4, difference)), rel=1e-4)
    level = float(steps[at] - steps[1].mean()) / 16
    assert float(broad.reshape(3, 3, 12, 20)[at]) == pytest.approx(max(-2, min(2, level)), rel=1e-4)
    clipped = whole.clamp(-3, 3)
    patches = [clipped[1, :, r : r + 4, c : c + 4].flatten() for r in range(0, 9, 2) for c in range(0, 17, 2)]
    values, axes = torch.linalg.eigh(torch.cov(torch.stack(patches).T, correction=0))
    expected = axes @ (values + 0.01 * values.mean()).log().diag() @ axes.T
    found = torch.zeros(48, 48, dtype=torch.float64)
    rows, columns = torch.triu_indices(48, 48)
    found[rows, columns] = neighbours[1]
    torch.testing.assert_close(found, expected.triu(), rtol=1e-3, atol=1e-3)


def test_large_images_are_averaged_over_tiles() -> None:
    tile = images(3, 64, 64, n=2)
    small, large = (Imprint(SampleSpec((3, side, side))) for side in (64, 192))
    assert large.map_shape == (3, 64, 64)
    assert large.blocks == small.blocks
    fine = large.extract(tile.repeat(1, 1, 3, 3)).values[:, : small.blocks[0]].reshape(2, 3, 64, 64)
    inner = small.extract(tile).values[:, : small.blocks[0]].reshape(2, 3, 64, 64)
    ratio = fine[..., 1:-1, 1:-1] / inner[..., 1:-1, 1:-1]
    assert float(ratio.nanmedian()) == pytest.approx(1, abs=0.02)


def test_a_batch_is_invisible_however_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, one = images(3, 16, 16, n=9), Imprint(SampleSpec((3, 16, 16)))
    whole = one.extract(samples).values
    monkeypatch.setattr("morelli.features.imprint.AT_ONCE", 2 * 3 * 16 * 16)
    told: list[int] = []
    assert torch.equal(one.extract(samples, told.append).values[:, : one.blocks[0]], whole[:, : one.blocks[0]])
    agree(one.extract(samples).values, whole)
    assert told == [2, 2, 2, 2, 1]


def test_flat_images_and_numbers_that_are_none_leave_their_batch_alone() -> None:
    samples, one = images(1, 16, 16), Imprint(SampleSpec((1, 16, 16)))
    sound = one.extract(samples[2:])
    samples[0] = 0.3
    samples[1, 0, 2, 2] = math.nan
    found = one.extract(samples)
    assert found.values.isfinite().all()
    assert [bool(reason) for reason in found.reasons] == [False, True, False]
    assert "NaN" in found.reasons[1]
    agree(found.values[2:], sound.values)
    samples[1, 0, 2, 2] = math.inf
    assert "infinite" in one.extract(samples).reasons[1]
    assert "outside the range" in one.extract(samples * 255).reasons[2]


@pytest.mark.parametrize(
    "spec",
    [
        SampleSpec((6,), -math.inf, math.inf),
        SampleSpec((1, 64)),
        SampleSpec((3, 7, 16)),
        SampleSpec((4, 32, 32)),
        SampleSpec((3, 32, 32), -math.inf, math.inf),
        SampleSpec((3, 32, 32), -math.inf, 1.0),
    ],
    ids=str,
)
def test_what_leaves_no_imprint_is_refused(spec: SampleSpec) -> None:
    with pytest.raises(MismatchError, match=r"8 pixels a side or more.*use method 'flipad'"):
        Imprint(spec)


def test_a_stride_is_positive() -> None:
    with pytest.raises(MismatchError, match="expected 1 or more"):
        Imprint(SampleSpec((3, 16, 16)), 0)


def test_bundles_of_earlier_versions_have_a_block_less() -> None:
    now = Imprint(SampleSpec((3, 16, 16)))
    state = now.state()
    assert Imprint.from_state(state).whole
    del state.settings["whole"]
    samples = images(3, 16, 16)
    fine, coarse, _, neighbours = now.extract(samples).values.split(now.blocks, 1)
    assert torch.equal(Imprint.from_state(state).extract(samples).values, torch.cat([fine, coarse, neighbours], 1))
