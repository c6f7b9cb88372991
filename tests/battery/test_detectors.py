"""Contract of a detector: the sign of its score, two Gaussians told apart, state rebuilt, order irrelevant."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from battery.cases import DETECTORS
from torch import Tensor, nn

from morelli.attribution.kinds import RECIPES, detector_from_state
from morelli.detectors.deep_sad import DeepSadRecipe, _centre
from morelli.detectors.deep_sad_network import build_network
from morelli.detectors.mahalanobis import MahalanobisRecipe
from morelli.detectors.principal import principal_axes
from morelli.detectors.protocol import Detector
from morelli.errors import MismatchError, MorelliError, OutOfRange, TooFewSamples
from morelli.numerics.metrics import auroc

ROWS = pytest.mark.parametrize("name", DETECTORS)
LEARNING = pytest.mark.parametrize("name", [name for name in DETECTORS if name != "distance"])  # which sees nothing
SHAPES = pytest.mark.parametrize("shape", [(10,), (3, 8, 8), (2, 20)], ids=str)


def gaussians(shape: tuple[int, ...], shift: float = 2.0, n: int = 120, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Other around 0, own moved by −`shift` in half of the coordinates."""
    rng = torch.Generator().manual_seed(seed)
    own, other = (torch.randn(n, *shape, generator=rng) for _ in range(2))
    moved = (torch.arange(math.prod(shape)) % 2 * shift).reshape(shape)
    return own - moved, other


@cache
def fitted(name: str, shape: tuple[int, ...]) -> Detector:
    return DETECTORS[name].fit(*gaussians(shape), seed=0)


@ROWS
@SHAPES
def test_higher_is_less_like_the_model(name: str, shape: tuple[int, ...]) -> None:
    """Measured AUROC on fresh samples: at least 0.95 (a Gaussian in 10 dimensions), mostly 1.0.

    The conditional one, which looks at eight features given all others: 0.97, 0.73 (with 184 others), 0.84.
    """
    own, other = gaussians(shape, seed=1)
    detector = fitted(name, shape)
    assert detector.score(own).shape == (120,)
    assert auroc(detector.score(own), detector.score(other)) > (0.7 if name == "conditional" else 0.9)


@ROWS
def test_the_same_distribution_is_not_told_apart(name: str) -> None:
    detector = DETECTORS[name].fit(*gaussians((10,), shift=0.0), seed=0)
    own, other = gaussians((10,), shift=0.0, seed=1)
    assert abs(auroc(detector.score(own), detector.score(other)) - 0.5) < 0.12


@ROWS
@SHAPES
def test_state_round_trip(name: str, shape: tuple[int, ...]) -> None:
    detector = fitted(name, shape)
    samples = torch.cat(gaussians(shape, seed=2))
    assert torch.equal(detector_from_state(detector.state()).score(samples), detector.score(samples))


@ROWS
@SHAPES
def test_a_batch_is_its_samples_one_by_one(name: str, shape: tuple[int, ...]) -> None:
    detector = fitted(name, shape)
    samples = torch.cat(gaussians(shape, n=150, seed=3))  # more than one scoring batch
    together = detector.score(samples)
    for i in (0, 7, 255, 256, 299):
        torch.testing.assert_close(detector.score(samples[i : i + 1])[0], together[i], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(detector.score(samples.flip(0)).flip(0), together, rtol=1e-4, atol=1e-4)
    assert detector.score(samples[:0]).shape == (0,)


@ROWS
def test_the_same_seed_gives_the_same_detector(name: str) -> None:
    samples = torch.cat(gaussians((3, 8, 8), seed=2))
    torch.manual_seed(1)
    first = DETECTORS[name].fit(*gaussians((3, 8, 8)), seed=0).score(samples)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(DETECTORS[name].fit(*gaussians((3, 8, 8)), seed=0).score(samples), first)
    assert torch.equal(torch.get_rng_state(), before)


@ROWS
def test_progress_is_told_as_often_as_promised(name: str) -> None:
    own, other = gaussians((10,), n=50)
    usual = RECIPES[name]() if name in RECIPES else DETECTORS[name]
    for recipe in (DETECTORS[name], replace(usual, folds=2) if name == "folds" else usual):
        if hasattr(recipe, "epochs"):
            recipe = replace(recipe, epochs=2)
        for n in (14, 16, 33, 50):
            told: list[int] = []
            recipe.fit(own[:n], other[: n + 1], 0, told.append)
            assert sum(told) == recipe.steps(n, n + 1)


@ROWS
def test_settings_hold_the_type_and_every_field(name: str) -> None:
    recipe = DETECTORS[name]
    fields = {field: getattr(recipe, field) for field in recipe.__dict__}
    inner = {"recipe": recipe.recipe.settings()} if name == "folds" else {}
    assert recipe.settings() == {"type": name} | fields | inner


@LEARNING
def test_features_that_are_not_finite_are_refused(name: str) -> None:
    own, other = gaussians((10,))
    own[3, 2] = math.nan
    with pytest.raises(OutOfRange, match="not finite"):
        DETECTORS[name].fit(own, other, 0)


@LEARNING
def test_features_that_are_all_the_same_are_refused(name: str) -> None:
    with pytest.raises(MorelliError, match="the same"):
        DETECTORS[name].fit(torch.ones(20, 10), torch.ones(20, 10), 0)


def test_a_discriminant_needs_others_and_a_gaussian_does_not() -> None:
    own, other = gaussians((10,))
    for missing in (None, other[:1]):
        for name in ("lda", "ridge"):
            with pytest.raises(TooFewSamples, match="mahalanobis"):
                DETECTORS[name].fit(own, missing, 0)
        with pytest.raises(TooFewSamples, match="10 other samples or more"):
            DETECTORS["stacked"].fit(own, missing, 0)
    with pytest.raises(TooFewSamples, match="at least 3"):
        DETECTORS["mahalanobis"].fit(own[:2], None, 0)
    alone = DETECTORS["mahalanobis"].fit(own, None, 0)
    assert torch.equal(alone.score(other), fitted("mahalanobis", (10,)).score(other))
    assert DETECTORS["deep_sad"].fit(own, None, 0).score(other).isfinite().all()


def test_mahalanobis_of_many_samples_is_the_textbook_distance() -> None:
    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(5, 5, generator=rng).double()
    own = torch.randn(5_000, 5, generator=rng).double() @ mixing + 3.0
    detector = MahalanobisRecipe().fit(own, None, 0)
    samples = own[:50] * 1.3
    centred = samples - own.mean(0)
    scaled = centred / (own.std(0, correction=0) + 0.05)
    covariance = torch.cov(((own - own.mean(0)) / (own.std(0, correction=0) + 0.05)).T, correction=0)
    expected = (scaled @ torch.linalg.inv(covariance) * scaled).sum(1)
    torch.testing.assert_close(detector.score(samples), expected, rtol=0.05, atol=0.05)


def test_mahalanobis_is_exact_where_its_axes_span_everything() -> None:
    """A part "off the axes" that is only rounding must not count. It did once, and varied with the batch."""
    own, _ = gaussians((10,), n=400)
    scores = MahalanobisRecipe().fit(own, None, 0).score(own)
    exact = MahalanobisRecipe().fit(own.double(), None, 0).score(own.double())
    torch.testing.assert_close(scores.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n", "d"), [(30, 8), (8, 30), (12, 12)])
def test_principal_axes_are_those_of_the_singular_value_decomposition(n: int, d: int) -> None:
    data = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    data -= data.mean(0)
    axes, coordinates = principal_axes(data, 5)
    _, values, rows = torch.linalg.svd(data, full_matrices=False)
    torch.testing.assert_close((axes @ rows[:5].T).abs(), torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-7)
    torch.testing.assert_close(coordinates, data @ axes.T)
    torch.testing.assert_close(coordinates.square().sum(0).sqrt(), values[:5])
    assert len(principal_axes(data, 99)[0]) == min(n - 1, d)


def test_lda_is_positive_where_other_is_likelier() -> None:
    own, other = gaussians((10,), shift=3.0, seed=1)
    detector = DETECTORS["lda"].fit(*gaussians((10,), shift=3.0), seed=0)
    assert (detector.score(own) < 0).double().mean() > 0.95
    assert (detector.score(other) > 0).double().mean() > 0.95


def test_lda_keeps_working_with_more_dimensions_than_axes() -> None:
    own, other = gaussians((3, 8, 8), seed=1)
    detector = replace(DETECTORS["lda"], axes=20).fit(*gaussians((3, 8, 8)), seed=0)
    assert auroc(detector.score(own), detector.score(other)) > 0.9


# Deep SAD: the networks and settings of the paper.


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ((3, 32, 32), 520_544),
        ((64, 32, 32), 2_105_344),
        ((64, 64, 64), 2_170_880),
        ((3, 128, 128), 987_488),
        ((1, 128, 128), 50_368),
        ((11,), (11 + 1024) * 512 + 1024 * 512 + 512 * 256 + 256 * 128 + 128 * 32),
    ],
    ids=str,
)
def test_deep_sad_has_the_papers_parameters(shape: tuple[int, ...], parameters: int) -> None:
    network = build_network(shape)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert not [name for name, _ in network.named_parameters() if "bias" in name]
    assert all(not layer.affine and layer.eps == 1e-4 for layer in network.modules() if isinstance(layer, _NORMS))
    codes = network.eval()(torch.zeros(1, *shape))
    assert codes.shape == (1, 32 if len(shape) == 1 else 128)
    assert not codes.any()  # no biases: the zero input stays at zero


_NORMS = nn.BatchNorm1d | nn.BatchNorm2d


def test_deep_sad_refuses_images_too_small_to_pool() -> None:
    with pytest.raises(MismatchError, match="too often"):
        build_network((3, 4, 4))


def test_deep_sad_keeps_its_centre_away_from_zero() -> None:
    network = build_network((10,))
    data = gaussians((10,))[0]
    centre = _centre(network, data)
    with torch.no_grad():
        mean = network.eval()(data).mean(0)
    assert (centre.abs() >= 0.1 - 1e-7).all()
    assert (centre[mean < -1e-6] < 0).all()
    large = mean.abs() >= 0.1
    torch.testing.assert_close(centre[large], mean[large])
    assert _centre(network, torch.zeros(4, 10)).tolist() == pytest.approx([0.1] * 32)


def test_deep_sad_keeps_the_most_different_channels() -> None:
    own, other = gaussians((10,), shift=0.0)
    other[:, [2, 7]] += 4.0
    other[:, 5] -= 8.0
    recipe = DeepSadRecipe(epochs=1, channels=3)
    assert recipe.fit(own, other, 0).channels.tolist() == [2, 5, 7]
    assert recipe.fit(own, None, 0).channels.tolist() == list(range(10))
    assert replace(recipe, channels=99).fit(own, other, 0).channels.tolist() == list(range(10))


def test_deep_sad_looks_at_its_channels_alone() -> None:
    own, other = gaussians((4, 8, 8), shift=0.0)
    other[:, 1] += 4.0
    detector = DeepSadRecipe(epochs=1, channels=1).fit(own, other, 0)
    assert (detector.channels.tolist(), detector.shape) == ([1], (1, 8, 8))
    changed = own.clone()
    changed[:, [0, 2, 3]] = 9.0
    assert torch.equal(detector.score(changed), detector.score(own))
    changed[:, 1] = 9.0
    assert not torch.equal(detector.score(changed), detector.score(own))


@pytest.mark.parametrize("standardise", ["own", "both", "none"])
def test_deep_sad_standardises_as_told(standardise: str) -> None:
    own, other = gaussians((10,), shift=4.0)
    used = replace(DETECTORS["deep_sad"], standardise=standardise).fit(own, other, 0).standardisation
    expected = {"own": own, "both": torch.cat([own, other])}.get(standardise)
    mean, deviation = (torch.zeros(10), torch.ones(10)) if expected is None else (expected.mean(0), expected.std(0))
    torch.testing.assert_close(used.mean, mean)
    torch.testing.assert_close(used.deviation, deviation + (0.05 if expected is not None else 0.0), rtol=0.01, atol=0)


def test_deep_sad_trains_a_last_batch_of_one_away() -> None:
    own, other = gaussians((10,), n=17)
    detector = DeepSadRecipe(epochs=1, batch=11).fit(own[:17], other[:6], 0)  # 23 = 2·11 + 1
    assert detector.score(own).isfinite().all()
