"""Latent search: own samples explained, others not, clean, through JPEG and under noise; its settings and files."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from toys import _seeded, toy_generator, toy_heads, toy_program, toy_samples

from morelli import SampleSpec, TorchGenerator
from morelli.errors import MismatchError, OutOfRange, UnsuitableSolver
from morelli.features.full_inversion import FullInversion
from morelli.features.latent_search import LatentSearch
from morelli.features.misfit import Pixels, unevenness, unevenness_of_noise
from morelli.numerics.metrics import auroc
from morelli.numerics.perturbations import parse
from morelli.numerics.program import Program
from morelli.storage.images import decode, from_eight_bits, to_eight_bits

SPEC = SampleSpec((3, 32, 32))


@cache
def wide(seed: int = 0) -> TorchGenerator:
    """32×32 RGB of 6 latents: large enough for JPEG blocks and a noise spectrum."""
    layers = [nn.Linear(6, 8 * 64), nn.LeakyReLU(), nn.Unflatten(1, (8, 8, 8)), nn.ConvTranspose2d(8, 8, 4, 2, 1)]
    module = nn.Sequential(*layers, nn.LeakyReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())
    return TorchGenerator(_seeded(module, seed), (6,), announce=lambda line: None)


@cache
def search() -> LatentSearch:
    return LatentSearch(wide().program(), SPEC, restarts=6, steps=30)


def pixels(n: int, seed: int = 0) -> Tensor:
    return to_eight_bits(wide(seed).samples(n, 5), SPEC)


def as_jpeg(images: Tensor, quality: int) -> tuple[Tensor, list[dict[str, Any]]]:
    samples, facts = [], []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        sample, known = decode(file.getvalue(), SPEC, 10**6)
        samples.append(sample)
        facts.append(known)
    return torch.cat(samples), facts


def test_own_samples_are_explained_by_rounding_and_others_are_not() -> None:
    """Measured: own at most 0.02, others at least 1.5; own samples reconstructed at 58.7 dB and more."""
    own = search().extract(from_eight_bits(pixels(8), SPEC))
    other = search().extract(from_eight_bits(pixels(8, seed=1), SPEC))
    assert own.values.shape == (8, 1)
    assert own.values.max() < 0.3
    assert own.notes["psnr"].min() > 57
    assert other.values.min() > 0.6


@pytest.mark.parametrize("quality", [80, 95])
def test_own_jpeg_files_are_explained_by_their_cells(quality: int) -> None:
    own = search().extract(*_swapped(as_jpeg(pixels(6), quality)))
    other = search().extract(*_swapped(as_jpeg(pixels(6, seed=1), quality)))
    assert set(own.reasons) == {""}
    assert auroc(own.values[:, 0], other.values[:, 0]) == 1.0


def _swapped(file: tuple[Tensor, list[dict[str, Any]]]) -> tuple[Tensor, None, list[dict[str, Any]]]:
    return file[0], None, file[1]


def test_noise_of_any_strength_is_not_held_against_a_sample() -> None:
    """Own samples under the strongest noise are still nearer than others under the weakest."""
    own, other = (
        torch.cat(
            [
                search().extract(from_eight_bits(_noisy(pixels(3, seed), strength), SPEC)).values[:, 0]
                for strength in ("0.02", "0.1")
            ]
        )
        for seed in (0, 1)
    )
    assert auroc(own, other) == 1.0


def _noisy(images: Tensor, strength: str) -> Tensor:
    return parse(f"noise:{strength}").apply(images, torch.Generator().manual_seed(0))


def test_excess_is_of_structure_not_of_strength() -> None:
    flat = torch.full((1, 64), 3.0)
    assert unevenness(flat).item() == pytest.approx(0.0, abs=1e-6)
    assert unevenness(100 * flat).item() == pytest.approx(0.0, abs=1e-6)
    assert unevenness(torch.cat([flat, 2 * flat], 1)).item() == pytest.approx(0.0557, abs=1e-3)  # near ln 1.5 − ½ ln 2
    told = torch.cat([torch.ones(1, 64), torch.zeros(1, 64)], 1)
    assert unevenness(torch.cat([flat, 2 * flat], 1), told).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 28, 28)])
def test_noise_is_seldom_as_uneven_as_is_said(shape: tuple[int, int, int]) -> None:
    """One image in a hundred thousand, and the largest of two thousand is not far from it."""
    noise = 25 * torch.randn(2000, math.prod(shape), generator=torch.Generator().manual_seed(0))
    largest = Pixels(torch.full(shape, 128.0), 1.0, 0.0).excess(noise).max()
    assert 0.8 * unevenness_of_noise(shape) < largest <= unevenness_of_noise(shape)
    assert unevenness_of_noise((3, 8, 8)) == 0  # too few blocks to say


def test_noise_that_was_clipped_is_no_structure() -> None:
    """Half of each image is white, the rest mid-grey. Measured: at most 0.020; without regard to that 0.13 to 0.15."""
    made = torch.full((3, 64, 64), 128.0)
    made[:, :, 24:] = 255.0
    noise = 25 * torch.randn(50, *made.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for seen in (made + noise).round().clamp(0, 255):
        pixels = Pixels(seen, 1.0, 0.0)
        found.append(float(pixels.excess(pixels.residual(made[None]))))
    assert max(found) <= unevenness_of_noise((3, 64, 64))


def test_clean_noisy_and_jpeg_files_of_the_own_have_one_score() -> None:
    """So that a threshold of clean samples serves them all; other samples have more in each."""
    for seed in (0, 1):
        files = [(from_eight_bits(x, SPEC), None, None) for x in (pixels(4, seed), _noisy(pixels(4, seed), "0.05"))]
        every = torch.cat([search().extract(*file).values for file in (*files, _swapped(as_jpeg(pixels(4, seed), 85)))])
        explained = every == search().least
        assert explained.all() if seed == 0 else not explained.any()


def test_a_sibling_of_another_last_layer_is_told_in_jpeg_files_too() -> None:
    """It lies as near to the cells of its coefficients as rounding would, and beside them all the same."""
    tensors = wide().program().tensors
    last = next(name for name in tensors if tuple(tensors[name].shape) == (8, 3, 4, 4))
    moved = 0.25 * tensors[last].std() * torch.randn(tensors[last].shape, generator=torch.Generator().manual_seed(0))
    sibling = replace(wide().program(), tensors={**tensors, last: tensors[last] + moved})
    latents = torch.randn(4, 6, generator=torch.Generator().manual_seed(5))
    own, other = (
        search().extract(*_swapped(as_jpeg(to_eight_bits(made(latents), SPEC), 80))).values
        for made in (wide().program(), sibling)
    )
    assert (own == search().least).all()
    assert (other > search().least).all()


@pytest.mark.parametrize("stored", [{}, {"least": 0.5}])
def test_what_another_version_calibrated_is_refused(stored: dict[str, float]) -> None:
    state = search().state()
    other = replace(state, settings={name: x for name, x in state.settings.items() if name != "least"} | stored)
    with pytest.raises(MismatchError, match="Train it again"):
        LatentSearch.from_state(other)


def test_a_batch_is_its_samples_one_by_one_to_the_last_bit() -> None:
    samples = from_eight_bits(pixels(3, seed=1), SPEC)
    alone = torch.cat([search().extract(sample[None]).values for sample in samples])
    assert torch.equal(search().extract(samples).values, alone)


def test_modes_and_precision_of_the_caller_are_no_hindrance() -> None:
    samples = from_eight_bits(pixels(1), SPEC)
    expected = search().extract(samples).values
    with torch.inference_mode():
        assert torch.equal(search().extract(samples.double()).values, expected)


def test_table_rows_are_reached() -> None:
    rows = toy_samples("table", 4)
    one = LatentSearch(toy_program(toy_heads()["table"]), SampleSpec((6,), -float("inf"), float("inf")), restarts=4)
    assert one.extract(rows).notes["rest"].max() < 0.1
    assert one.extract(rows + 100).values.min() > one.extract(rows).values.max() + 1


def test_files_of_unknown_compression_are_not_trusted() -> None:
    samples, facts = as_jpeg(pixels(1), 80)
    assert (
        "cannot be found again" in search().extract(samples, None, [facts[0] | {"jpeg_sampling": "4:2:2"}]).reasons[0]
    )
    assert "not known" in search().extract(samples, None, [{"format": "WEBP", "lossless": False}]).reasons[0]


def test_looking_again_is_at_least_as_near() -> None:
    figures = replace(search(), restarts=2).certify(from_eight_bits(pixels(1, seed=1), SPEC), [{}]).figures()
    assert figures["best"] <= figures["judged"]
    assert figures["starts"] == 8


def test_a_search_by_adam_is_looked_at_again_by_least_squares() -> None:
    spec = SampleSpec((3, 8, 8))
    one = FullInversion(toy_program(toy_heads()["deconvolution"]), spec, restarts=1, steps=2)
    samples = toy_samples("deconvolution", 1)
    found = one.certify(samples, [{}])
    assert found.judged == pytest.approx(float(one.extract(samples).values))
    assert found.best < 1e-4 < found.judged
    seen = replace(one, perceptual=toy_generator("deconvolution").program())
    with pytest.raises(UnsuitableSolver, match="perceptual"):
        seen.certify(samples, [{}])


@pytest.mark.parametrize("wrong", [{"restarts": 0}, {"steps": 0}, {"tolerance": -1.0}, {"pull": -1.0}], ids=str)
def test_settings_without_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OutOfRange, match="expected"):
        replace(search(), **wrong)


def test_a_generator_of_another_shape_is_refused() -> None:
    with pytest.raises(MismatchError, match="makes"):
        replace(search(), generator=Program((12,), (), {})).extract(torch.zeros(1, 3, 32, 32))
