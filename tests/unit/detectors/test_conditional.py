"""What the others explain does not count; what they do not, does."""

import pytest
import torch
from torch import Tensor

from morelli.detectors.conditional import ConditionalRecipe
from morelli.errors import MismatchError, OutOfRange, TooFewSamples


def drawn(n: int, seed: int, shift: float = 0.0, stretch: float = 1.0) -> Tensor:
    """Two features that are sums of three others, and a little noise."""
    rng = torch.Generator().manual_seed(seed)
    known = torch.randn(n, 3, generator=rng) * stretch
    noise = torch.randn(n, 2, generator=rng) * 0.1
    return torch.cat([torch.stack([known.sum(1), known[:, 0] - known[:, 1]], 1) + noise + shift, known], 1)


def test_only_what_is_left_unexplained_counts() -> None:
    detector = ConditionalRecipe(2).fit(drawn(400, 0), None, 0)
    own = detector.score(drawn(200, 1))
    assert own.mean() == pytest.approx(0, abs=0.2)
    assert own.std() == pytest.approx(0.5**0.5, abs=0.15)  # the mean of two
    assert detector.score(drawn(200, 2, shift=1.0)).min() > own.max()
    other_content = detector.score(drawn(200, 3, stretch=1.5))
    assert (other_content > own.quantile(0.95)).double().mean() < 0.15
    assert detector.score(drawn(200, 4, shift=-1.0)).max() < own.min()  # less than expected is no fault


def test_what_cannot_be_fitted() -> None:
    own = drawn(50, 0)
    with pytest.raises(OutOfRange, match="5 of 5 features"):
        ConditionalRecipe(5).fit(own, None, 0)
    with pytest.raises(OutOfRange):
        ConditionalRecipe(2).fit(own / 0, None, 0)
    with pytest.raises(TooFewSamples, match="give 6 or more"):
        ConditionalRecipe(2).fit(own[:5], None, 0)
    with pytest.raises(MismatchError, match="expected 5"):
        ConditionalRecipe(2).fit(own, None, 0).score(own[:, :4])
