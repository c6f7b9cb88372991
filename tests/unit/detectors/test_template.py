"""Template: a correlation with the mean own residual, and a pattern found by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from morelli import SampleSpec
from morelli.detectors.template import Template, TemplateRecipe
from morelli.errors import TooFewSamples
from morelli.features.residual import NoiseResidual
from morelli.numerics.metrics import auroc


def test_score_is_numpys_correlation_negated() -> None:
    rng = torch.Generator().manual_seed(0)
    own, samples = (torch.randn(n, 5, 6, generator=rng) + 3 for n in (20, 300))
    found = TemplateRecipe().fit(own, None, 0).score(samples)
    mean = own.mean(0).flatten()
    expected = [-np.corrcoef(mean, sample.flatten())[0, 1] for sample in samples]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32), rtol=0, atol=1e-6)


def test_the_ends_of_the_scale() -> None:
    pattern = torch.randn(7, 11, generator=torch.Generator().manual_seed(0)).double()
    samples = torch.stack([2 * pattern + 1, -pattern, torch.full_like(pattern, 0.1), pattern * float("nan")])
    score = Template(pattern).score(samples)
    torch.testing.assert_close(score[:3], torch.tensor([-1.0, 1.0, 0.0]).double(), rtol=0, atol=1e-12)
    assert score[2] == 0
    assert score[3].isnan()  # which an attributor calls inconclusive


def test_one_own_sample_is_enough_and_others_are_not_looked_at() -> None:
    own, other = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).unbind()
    assert torch.equal(TemplateRecipe().fit(own, other, 0).fingerprint, own[0])
    with pytest.raises(TooFewSamples, match="no own samples"):
        TemplateRecipe().fit(own[:0], other, 0)


def test_a_planted_pattern_is_found() -> None:
    """Smooth images with noise of σ = 2; own ones with a fixed pattern of σ = 1. The pattern is learnt, too."""
    rng = np.random.default_rng(0)
    images = 128 + 250 * gaussian_filter(rng.standard_normal((200, 3, 32, 32)), (0, 0, 4, 4))
    images += 2 * rng.standard_normal(images.shape)
    pattern = rng.standard_normal((32, 32))
    extractor = NoiseResidual(SampleSpec((3, 32, 32), 0, 255))
    own, other = (
        extractor.extract(torch.from_numpy(some).float()).values for some in (images[:150] + pattern, images[150:])
    )
    detector = TemplateRecipe().fit(own[:100], None, 0)
    assert auroc(detector.score(own[100:]), detector.score(other)) > 0.95
    assert np.corrcoef(detector.fingerprint.flatten(), pattern.flatten())[0, 1] > 0.8
    assert detector.score(other).mean().abs() < 0.05
