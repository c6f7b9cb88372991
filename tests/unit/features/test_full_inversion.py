"""Full inversion: the search, its early stopping, its starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import toy_features, toy_heads, toy_program, toy_samples

from morelli import SampleSpec
from morelli.errors import MismatchError, OutOfRange
from morelli.features.full_inversion import FullInversion
from morelli.numerics.metrics import auroc
from morelli.numerics.program import Program

SPEC = SampleSpec((3, 8, 8))


def search(**settings: object) -> FullInversion:
    head = toy_heads()["deconvolution"]
    return replace(FullInversion(toy_program(head), SPEC, restarts=6, steps=100), **settings)  # type: ignore[arg-type]


def test_own_samples_are_reached_and_others_are_not() -> None:
    """Measured: largest own distance 3e-6, smallest of the sibling 0.01."""
    own = search().extract(toy_samples("deconvolution", 12)).values
    other = search().extract(toy_samples("deconvolution", 12, generator_seed=1)).values
    assert own.shape == (12, 1)
    assert own.max() < 1e-3
    assert auroc(own, other) == 1.0


def test_one_restart_is_torchs_adam() -> None:
    one, samples = search(restarts=1, steps=20), toy_samples("deconvolution", 2)
    z = torch.randn(1, 12, generator=torch.Generator().manual_seed(0)).repeat(2, 1).requires_grad_()
    adam, best = torch.optim.Adam([z], 0.1), torch.full((2,), float("inf"))
    for _ in range(20):
        loss = (one.generator(z) - samples).square().flatten(1).mean(1)
        best = torch.minimum(best, loss.detach())
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
    torch.testing.assert_close(one.extract(samples).values[:, 0], best, rtol=1e-4, atol=1e-7)


def test_more_restarts_come_nearer() -> None:
    samples = toy_samples("deconvolution", 8, generator_seed=1)
    few, many = (search(restarts=n, steps=5, halving=False).extract(samples).values for n in (1, 6))
    assert (many <= few * (1 + 1e-4)).all()
    assert (many < 0.99 * few).any()


def test_giving_up_restarts_costs_little() -> None:
    samples = toy_samples("deconvolution", 8, generator_seed=1)
    all_of_them, halved = (search(halving=halving).extract(samples).values for halving in (False, True))
    assert (halved >= all_of_them * (1 - 1e-4)).all()
    assert halved.mean() < 1.2 * all_of_them.mean()


def test_nearest_samples_are_a_better_start() -> None:
    samples = toy_samples("deconvolution", 8)
    normal, nearest = (search(steps=3, start=start).extract(samples).values for start in ("normal", "nearest"))
    assert nearest.mean() < 0.5 * normal.mean()


def test_perceptual_distance_is_measured_in_its_features() -> None:
    head, samples = toy_heads()["deconvolution"], toy_samples("deconvolution", 3)
    one = search(perceptual=toy_features(), restarts=1, steps=1)
    z = torch.randn(1, 12, generator=torch.Generator().manual_seed(0))
    seen = toy_features()
    expected = (seen(toy_program(head)(z)) - seen(samples)).square().flatten(1).mean(1)
    torch.testing.assert_close(one.extract(samples).values[:, 0], expected)


def test_distances_do_not_depend_on_the_output_range() -> None:
    """A generator in [0, 1] is compared in [−1, 1] as well: steps of 2, squared."""
    head = toy_heads()["convolution"]
    samples = toy_samples("convolution", 3)
    one = FullInversion(toy_program(head), SampleSpec((3, 8, 8), 0.0, 1.0), restarts=1, steps=1)
    z = torch.randn(1, 12, generator=torch.Generator().manual_seed(0))
    expected = 4 * (toy_program(head)(z) - samples).square().flatten(1).mean(1)
    torch.testing.assert_close(one.extract(samples).values[:, 0], expected)


def test_an_unbounded_generator_is_compared_as_its_samples_are_stored() -> None:
    """Samples are clamped to [−1, 1]; the right latent must reach distance 0 all the same."""
    program = toy_program(toy_heads()["table"])  # no activation at the end
    latents = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    one = FullInversion(program, SampleSpec((6,), -1.0, 1.0), restarts=8, steps=200)
    samples = program(latents).clamp(-1, 1)
    assert (program(latents) - samples).square().mean() > 0.01
    assert one.extract(samples).values.max() < 1e-3


def test_no_gradient_mode_and_float64_are_no_hindrance() -> None:
    samples = toy_samples("deconvolution", 2)
    expected = search(start="nearest").extract(samples).values
    with torch.no_grad():
        assert torch.equal(search(start="nearest").extract(samples.double()).values, expected)
    with torch.inference_mode():
        assert torch.equal(search(start="nearest").extract(samples).values, expected)


@pytest.mark.parametrize("wrong", [{"restarts": 0}, {"steps": 0}, {"rate": -1.0}, {"start": "best"}], ids=str)
def test_settings_without_meaning_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OutOfRange, match="expected"):
        search(**wrong)


def test_a_generator_of_another_shape_is_refused() -> None:
    with pytest.raises(MismatchError, match="makes"):
        replace(search(), generator=Program((12,), (), {})).extract(toy_samples("deconvolution", 1))
