"""Fingerprints: what the network sees, where its windows lie, and that images do not see each other."""

from __future__ import annotations

import pytest
import torch
from prints import TINY, pictures, tiny, tiny_network

from morelli.errors import MismatchError, OutOfRange
from morelli.features.denoiser import Denoiser
from morelli.features.fingerprint import WINDOW, FingerprintExtractor, windows_of
from morelli.features.traces import CHANNELS, FLOOR, seen
from morelli.numerics.spectrum import power


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(64, 64), (64, 127), (128, 64), (130, 200), (256, 256), (1000, 391)])
@pytest.mark.parametrize("most", [1, 3, 4])
def test_windows_lie_on_multiples_of_eight_and_reach_the_borders(size: tuple[int, int], most: int) -> None:
    h, w = size
    places = (torch.arange(h)[:, None] * w + torch.arange(w)).double().expand(3, -1, -1)
    found = windows_of(places, most)
    rows, columns = (found[:, 0, 0, 0] // w, found[:, 0, 0, 0] % w)
    assert found.shape == (min(most, h // 64) * min(most, w // 64), 3, WINDOW, WINDOW)
    assert torch.equal(found[:, 1], places[0].unfold(0, 64, 1).unfold(1, 64, 1)[rows.long(), columns.long()])
    for starts, length in ((rows, h), (columns, w)):
        assert (starts % 8 == 0).all()
        assert starts.min() == 0
        if len(starts.unique()) > 1:
            assert length - 8 < starts.max() + 64 <= length
            gaps = starts.unique().diff()
            assert gaps.max() - gaps.min() <= 8


@pytest.mark.parametrize("shape", [(3, 63, 64), (3, 64, 63), (1, 64, 64), (64, 64), (1, 3, 64, 64)])
def test_images_without_a_window_are_refused(shape: tuple[int, ...]) -> None:
    image = torch.zeros(shape, dtype=torch.uint8)
    for refuses in (lambda: windows_of(image, 4), lambda: tiny()[0].extract([image])):
        with pytest.raises(MismatchError, match="sides of 64 or more"):
            refuses()
    with pytest.raises(OutOfRange, match="one or more"):
        FingerprintExtractor(tiny()[0].network, most=0)


def test_what_is_seen_is_power_and_coherence() -> None:
    residuals = noise(2, 3, 64, 64)
    found = seen(residuals)
    assert found.shape == (2, CHANNELS, 64, 33)
    torch.testing.assert_close(found[:, :3], (power(residuals) + FLOOR).log(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen(residuals + 9), found, rtol=1e-2, atol=1e-2)
    alike = seen(residuals[:, :1] * torch.tensor([1.0, 2.0, -1.0])[:, None, None])[:, 3:]
    strong = power(residuals[:, 0]) > 1
    assert (alike[:, 0][strong] > 0.99).all()
    assert (alike[:, 1][strong] < -0.99).all()
    assert found[:, 3:].abs().max() <= 1
    assert found[:, 3:].mean().abs() < 0.05  # independent channels have no phase in common


def test_nothing_to_see_is_a_number() -> None:
    assert torch.isfinite(seen(torch.zeros(1, 3, 64, 64))).all()
    black = torch.zeros(3, 64, 64, dtype=torch.uint8)
    assert tiny()[0].extract([black]).isfinite().all()


def test_company_changes_nothing() -> None:
    images = [*pictures(0, 3), *pictures(1, 2, side=200)]
    extractor = tiny()[0]
    together = extractor.extract(images)
    torch.testing.assert_close(together, torch.cat([extractor.extract([x]) for x in images]), rtol=0, atol=1e-4)
    torch.testing.assert_close(extractor.extract(images[::-1]).flip(0), together, rtol=0, atol=1e-4)
    windows = torch.stack(images[:3]).float() / 255
    with torch.no_grad():
        alone = torch.cat([extractor.network(window[None]) for window in windows])
        torch.testing.assert_close(extractor.network(windows), alone, rtol=0, atol=1e-4)
    torch.testing.assert_close(together[:3, : TINY.dimensions], alone, rtol=0, atol=1e-4)
    assert (together[0] - together[3]).norm() > 1e-2


def test_fingerprints_have_no_history() -> None:
    """A graph per image would keep every activation of a folder in memory."""
    found = tiny()[0].extract(list(pictures(0, 2, side=130)))
    assert not found.requires_grad
    assert tiny()[0].extract([]).shape == (0, tiny()[0].size)


def test_a_large_image_is_the_mean_of_its_windows() -> None:
    image = pictures(0, 1, side=128)[0]
    parts = tiny()[0].extract([image[:, i : i + 64, j : j + 64] for i in (0, 64) for j in (0, 64)])
    mean = parts.mean(0)
    torch.testing.assert_close(tiny()[0].extract([image])[0], mean, rtol=1e-4, atol=1e-4)


def test_only_the_denoiser_is_not_trained() -> None:
    network = tiny_network()
    assert not any(p.requires_grad for p in network.denoiser.parameters())
    assert all(p.requires_grad for p in network.project.parameters())


def test_a_pixels_noise_depends_on_11_by_11() -> None:
    denoiser, images = Denoiser(), torch.zeros(1, 3, 31, 31, requires_grad=True)
    for layer in denoiser.layers[::2]:
        torch.nn.init.constant_(layer.weight, 1.0)
        torch.nn.init.constant_(layer.bias, 1.0)
    (slope,) = torch.autograd.grad(denoiser(images)[0, 0, 15, 15], images)
    reached = slope[0, 0].nonzero()
    assert (reached.amin(0).tolist(), reached.amax(0).tolist()) == ([10, 10], [20, 20])
