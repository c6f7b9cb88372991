"""Images that the decoder made are found again, whole files or JPEG, clamped or not; others are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from toys import toy_autoencoder

from morelli import SampleSpec
from morelli.errors import MismatchError, OutOfRange
from morelli.features.latent_descent import LatentDescent, downhill
from morelli.features.misfit import Coefficients, misfit_of
from morelli.generators.capture import capture
from morelli.numerics.bottleneck import split_at_bottleneck
from morelli.numerics.program import Program
from morelli.storage.samples import read_all

SIDE = 32
SPEC = SampleSpec((3, SIDE, SIDE))


def narrow(seed: int) -> Program:
    """Five numbers for each 8×8 pixels, and an encoder that is only roughly the decoder's inverse."""
    torch.manual_seed(seed)
    up = nn.Upsample(scale_factor=4, mode="nearest"), nn.Conv2d(12, 12, 3, padding=1), nn.LeakyReLU(0.3)
    last = nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(12, 3, 3, padding=1)
    decoder = nn.Sequential(nn.Conv2d(5, 12, 1), nn.LeakyReLU(0.3), *up, *last)
    with torch.no_grad():
        decoder[-1].weight.mul_(6)
    return capture(nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 5, 1), decoder), (3, SIDE, SIDE))


def made(program: Program, n: int, seed: int) -> Tensor:
    """As files hold them: clamped to [−1, 1], in 8 bits."""
    _, decoder = split_at_bottleneck(program)
    latents = 1.5 * torch.randn(n, *decoder.in_shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return ((decoder(latents).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def test_own_images_are_found_again_and_others_are_not() -> None:
    mine, theirs = narrow(0), narrow(1)
    own, foreign = made(mine, 6, 2), made(theirs, 6, 3)
    assert (own.abs() == 1).any()  # some of it was clamped
    extractor = LatentDescent(mine, SPEC, steps=200)
    found, others = extractor.extract(own), extractor.extract(foreign)
    assert found.values.max() < others.values.min() - 1
    assert found.notes["psnr"].min() > 50 > 40 > others.notes["psnr"].max()
    assert found.notes["steps"].max() <= 200
    assert set(found.reasons) == set(others.reasons) == {""}


def test_jpeg_files_are_searched_within_their_own_cells(tmp_path: Path) -> None:
    mine, theirs = narrow(0), narrow(1)
    values = []
    for name, samples in (("own", made(mine, 4, 2)), ("foreign", made(theirs, 4, 3))):
        paths = [tmp_path / f"{name}{i}.jpg" for i in range(4)]
        for path, sample in zip(paths, samples, strict=True):
            pixels = ((sample + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0)
            Image.fromarray(pixels.numpy()).save(path, quality=90)
        read = read_all(paths, SPEC)
        values.append(LatentDescent(mine, SPEC, steps=150).extract(read.samples, facts=read.facts).values)
        misfit = misfit_of(read.samples[0], SPEC, read.facts[0], torch.zeros(SPEC.shape))[1]
        assert isinstance(misfit, Coefficients)
        same = misfit.blocks(misfit.residual(read.samples[:1]))
        assert same.shape == (1, 16)
        assert float(same.max()) < 1e-2  # what the file gives lies in its own cells, but for rounding
    assert values[0].max() < values[1].min() - 0.5


def test_unknown_compression_and_values_without_meaning_have_a_reason() -> None:
    extractor = LatentDescent(narrow(0), SPEC, steps=2)
    samples = made(narrow(0), 3, 0)
    samples[1, 0, 0, 0], samples[2, 0, 0, 0] = 1.5, float("nan")
    reasons = extractor.extract(samples, facts=[{"lossless": False}, {}, {}]).reasons
    assert "compression" in reasons[0]
    assert "range" in reasons[1]
    assert reasons[2]


def test_the_search_ends_at_the_target_and_counts() -> None:
    start = torch.full((1, 4), 3.0)
    end, taken = downhill(lambda x: x, start, 50, 0.0)
    assert taken < 50
    assert float(end.abs().max()) < 1e-3
    assert torch.equal(start, torch.full((1, 4), 3.0))
    assert downhill(lambda x: x, start, 50, 10.0) == (pytest.approx(start), 1)


def test_unsuitable_settings() -> None:
    with pytest.raises(MismatchError, match="of one size for both"):
        LatentDescent(toy_autoencoder(), SPEC)
    with pytest.raises(OutOfRange, match="0 steps"):
        LatentDescent(narrow(0), SPEC, steps=0)
