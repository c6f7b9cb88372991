"""What happened to a picture is found again: each estimate against what was done, on noise like pictures."""

from __future__ import annotations

import json

import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from morelli.errors import MismatchError, OutOfRange, TooFewSamples
from morelli.numerics.corruption import CONDITIONS, Corruptions
from morelli.numerics.discriminant import Discriminant
from morelli.numerics.jpeg_history import jpeg_history, steps_of, zeros
from morelli.numerics.noise_level import noise_level
from morelli.numerics.perturbations import Blur, Gamma, parse
from morelli.numerics.resampling import blur_and_resampling, emptiness, leaves_empty
from morelli.numerics.state import State
from morelli.numerics.traces import traces
from morelli.storage.codings import _tables

OTHERS = ("jpeg:80", "webp:80", "crop:55", "none")


def pictures(
    n: int = 6, channels: int = 3, height: int = 64, width: int = 64, *, seed: int = 0, fall: float = 1.6
) -> Tensor:
    """uint8 [n, channels, height, width], noise whose amplitude falls like frequency^−fall; channels are related."""
    rng = torch.Generator().manual_seed(seed)
    rows, columns = torch.fft.fftfreq(height) * height, torch.fft.fftfreq(width) * width
    amplitude = 1 / (1 + rows[:, None].square() + columns.square()) ** (fall / 2)
    noise = torch.randn(n, channels, height, width, generator=rng)
    noise = noise + noise[:, :1]
    image = torch.fft.ifft2(torch.fft.fft2(noise) * amplitude).real
    image = 35 * image / image.std((1, 2, 3), keepdim=True) + 128
    return image.round().clamp(0, 255).to(torch.uint8)


def changed(images: Tensor, text: str, seed: int = 3) -> Tensor:
    return parse(text).apply(images, torch.Generator().manual_seed(seed))


# JPEG


@pytest.mark.parametrize("quality", [60, 75, 88, 95])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_former_jpeg_has_its_grid_and_quality(quality: int, channels: int) -> None:
    images = changed(pictures(channels=channels, height=72, width=96), f"jpeg:{quality}")
    for top, left in ((0, 0), (3, 6)):
        found = jpeg_history(images[..., (8 - top) % 8 :, (8 - left) % 8 :])
        assert found.top.tolist() == [top] * 6
        assert found.left.tolist() == [left] * 6
        assert (found.quality - quality).abs().max() <= 5  # measured: 0
        assert found.confidence.min() > 1


@pytest.mark.parametrize("text", ["none", "webp:80", "noise:0.02", "crop:55", "blur:3"])
def test_without_a_jpeg_there_is_no_confidence(text: str) -> None:
    assert jpeg_history(changed(pictures(), text)).confidence.max() < 0.6


def test_steps_are_pillows() -> None:
    """Of every quality. Pillow's tables are in the same order."""
    for quality in range(1, 101):
        assert steps_of(quality).flatten().tolist() == _tables()[quality - 1].tolist()


def test_zeros_are_those_of_scipys_blocks() -> None:
    grey = pictures(1, 1, 33, 40)[:, 0].float()
    found = zeros(grey)[0, 2, 5]
    blocks = [dctn(grey[0, r : r + 8, c : c + 8].numpy(), norm="ortho") for r in (2, 10, 18) for c in (5, 13, 21, 29)]
    share = sum((abs(block) < 0.5).sum() - (abs(block[0, 0]) < 0.5) for block in blocks) / (63 * len(blocks))
    assert float(found) == pytest.approx(share, abs=1e-3)


# noise


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_measured(share: float, channels: int) -> None:
    images = changed(pictures(channels=channels, fall=2.2), f"noise:{share}")
    assert noise_level(images).tolist() == pytest.approx([255 * share] * 6, rel=0.15)


def test_edges_flat_and_clipped_places_are_no_noise() -> None:
    images = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    images[..., 20:] = 180
    assert noise_level(images).tolist() == [0]
    half_white = changed(images.where(torch.arange(64) < 20, 255), "noise:0.05")
    assert float(noise_level(half_white)) == pytest.approx(12.75, rel=0.15)
    assert noise_level(torch.full_like(images, 255)).tolist() == [0]


# resampling


@pytest.mark.parametrize(("text", "factor"), [("crop:60", 60 / 64), ("crop:55", 55 / 64), ("resize:0.75", 0.75)])
@pytest.mark.parametrize(("channels", "side"), [(3, 64), (1, 64), (3, 192)])
def test_the_factor_of_resampling_is_found(text: str, factor: float, channels: int, side: int) -> None:
    found = blur_and_resampling(changed(pictures(channels=channels, height=side, width=side), text))
    torch.testing.assert_close(found.factor, torch.full((6, 2), round(factor * side) / side))
    assert found.confidence.min() > 0.5


def test_each_direction_has_its_own_factor() -> None:
    found = blur_and_resampling(changed(pictures(height=48, width=80), "crop:55"))
    torch.testing.assert_close(found.factor, torch.tensor([[41 / 48, 69 / 80]]).expand(6, 2))


@pytest.mark.parametrize("text", ["none", "jpeg:80", "noise:0.02"])
def test_nothing_else_was_enlarged(text: str) -> None:
    assert (blur_and_resampling(changed(pictures(), text)).factor == 1).all()


@pytest.mark.parametrize("sigma", [0.8, 1.2])
def test_blur_is_measured(sigma: float) -> None:
    """The toy falls like 1/f in amplitude, as the estimate takes for granted."""
    images = pictures(20, height=128, width=128, fall=1.0)
    assert blur_and_resampling(images).blur.mean() < 0.2
    blurred = Blur(2 * round(4 * sigma) + 1, sigma).apply(images, torch.Generator())
    assert float(blur_and_resampling(blurred).blur.mean()) == pytest.approx(sigma, rel=0.15)


def test_a_linear_perturbation_leaves_its_void_and_no_other_does() -> None:
    names = ("blur:3", "crop:55", "resize:0.75")
    perturbations = [parse(name) for name in names]
    assert [leaves_empty(p) for p in (*perturbations, Gamma(0.8), parse("crop:64"), parse("none"))] == [True] * 3 + [
        False
    ] * 3
    power = torch.stack([emptiness(changed(pictures(), n)[:, 1].float(), perturbations).mean(0) for n in names])
    assert emptiness(pictures(2, 1, 256, 256)[:, 0].float(), [parse("crop:63")]).isfinite().all()
    assert (power.diagonal() < 0.25 * (power + 1e9 * torch.eye(3)).amin(0)).all()


# all together


@pytest.mark.parametrize("channels", [1, 3])
def test_conditions_are_recognised(channels: int) -> None:
    corruptions = Corruptions.fit(pictures(100, channels, seed=1), seed=0)
    test = pictures(20, channels, seed=2)
    right = 0.0
    for condition in CONDITIONS:
        found, posterior = corruptions.condition_of(changed(test, condition))
        assert posterior.shape == (20, 13)
        torch.testing.assert_close(posterior.sum(1), torch.ones(20, dtype=torch.float64))
        right += sum(name == condition for name in found) / 20 / len(CONDITIONS)
    assert right > (0.85 if channels == 1 else 0.95)


@pytest.fixture(scope="module")
def corruptions() -> Corruptions:
    return Corruptions.fit(pictures(40, height=40, width=48, seed=1), ("jpeg:90", "jpeg:70", *OTHERS[1:]), seed=0)


def test_a_lossy_file_is_a_fact(corruptions: Corruptions) -> None:
    images = changed(pictures(4, height=40, width=48), "crop:55")
    found, posterior = corruptions.condition_of(images, ["jpeg:83", "jpeg:60", "webp:80", "none"])
    assert found == ("jpeg:90", "jpeg:70", "webp:80", "crop:55")
    assert posterior[:3].amax(1).tolist() == [1] * 3
    without = Corruptions.fit(pictures(20, seed=1), ("none", "noise:0.1"), seed=0)
    assert without.condition_of(pictures(1), ["jpeg:80"])[0] == ("none",)


def test_a_former_jpeg_goes_to_the_nearest_quality(corruptions: Corruptions) -> None:
    images = pictures(4, height=40, width=48)
    for quality, nearest in ((86, "jpeg:90"), (75, "jpeg:70")):
        found, posterior = corruptions.condition_of(changed(images, f"jpeg:{quality}"))
        assert found == (nearest,) * 4
        torch.testing.assert_close(posterior.sum(1), torch.ones(4, dtype=torch.float64))


def test_the_state_says_it_all(corruptions: Corruptions) -> None:
    state = corruptions.state()
    rebuilt = State.rebuild(json.loads(json.dumps(state.describe())), state.flatten())
    again, images = Corruptions.from_state(rebuilt), pictures(5, height=40, width=48)
    assert again.conditions == corruptions.conditions
    assert torch.equal(again.condition_of(images)[1], corruptions.condition_of(images)[1])


def test_an_estimate_gathers_them_all(corruptions: Corruptions) -> None:
    images = changed(pictures(3, height=40, width=48), "jpeg:70")
    found = corruptions.estimate(images)
    assert found.condition == ("jpeg:70",) * 3
    assert found.jpeg.quality.tolist() == [70] * 3
    assert torch.equal(found.noise, noise_level(images))
    assert (found.resampling.factor == 1).all()
    assert found.posterior.shape == (3, 5)


def test_a_batch_is_invisible_and_may_be_empty(corruptions: Corruptions) -> None:
    images = pictures(5, height=40, width=48)
    apart = torch.cat([corruptions.condition_of(some)[1] for some in images.split([1, 4])])
    torch.testing.assert_close(apart, corruptions.condition_of(images)[1], rtol=1e-3, atol=1e-6)
    assert corruptions.condition_of(images[:0])[0] == ()
    assert corruptions.estimate(images[:0]).jpeg.quality.shape == (0,)


@pytest.mark.parametrize("value", [0, 90, 255])
def test_flat_images_have_finite_traces(value: int) -> None:
    flat = torch.full((2, 3, 64, 64), value, dtype=torch.uint8)
    assert traces(flat, [parse(condition) for condition in CONDITIONS]).isfinite().all()
    assert (blur_and_resampling(flat).factor == 1).all()
    assert blur_and_resampling(flat).blur.tolist() == [0, 0]


@pytest.mark.parametrize("estimate", [jpeg_history, noise_level, blur_and_resampling, lambda x: traces(x, [])])
def test_other_images_are_refused(estimate) -> None:
    for wrong in (pictures().float(), pictures()[0], pictures(channels=2)):
        with pytest.raises(MismatchError, match="expected uint8"):
            estimate(wrong)
    with pytest.raises(MismatchError, match="at least 32 pixels"):
        estimate(pictures(height=31))


def test_what_cannot_be_learned_or_judged_is_refused(corruptions: Corruptions) -> None:
    with pytest.raises(TooFewSamples, match="at least 10"):
        Corruptions.fit(pictures(9), ("none", "blur:3"), seed=0)
    with pytest.raises(TooFewSamples, match="no class"):
        Discriminant.fit([], 0.1)
    for conditions in ((), ("none", "none")):
        with pytest.raises(MismatchError, match="give each once"):
            Corruptions.fit(pictures(), conditions, seed=0)
    with pytest.raises(OutOfRange, match="is no perturbation"):
        Corruptions.fit(pictures(), ("sepia:3",), seed=0)
    with pytest.raises(MismatchError, match="learned on"):
        corruptions.condition_of(pictures())
    with pytest.raises(MismatchError, match="2 codings for 1 images"):
        corruptions.condition_of(pictures(1, height=40, width=48), ["none", "none"])


def test_ranges_are_told_apart_and_files_fall_into_them() -> None:
    conditions = ("none", "jpeg:70..86", "jpeg:86..98", "noise:0.02..0.06")
    known = Corruptions.fit(pictures(60), conditions, seed=0)
    fresh = pictures(10, seed=5)
    for text, expected in (("none", 0), ("jpeg:79", 1), ("jpeg:93", 2), ("noise:0.03", 3)):
        assert known.condition_of(changed(fresh, text))[0] == (conditions[expected],) * 10
    codings = ["jpeg:71", "jpeg:90", "none", "jpeg:20", "webp:80"]
    found = known.condition_of(fresh[:5], codings)[0]
    assert found[:2] == ("jpeg:70..86", "jpeg:86..98")
    assert [known.learned(coding) for coding in codings] == [True, True, True, False, False]
    assert known.learned("jpeg:68")
