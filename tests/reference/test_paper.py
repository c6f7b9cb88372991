"""What arXiv 2306.06210 says of final-layer inversion, as far as it can be tested on small heads."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from toys import toy_generator, toy_heads, toy_samples

from morelli import TorchGenerator
from morelli.attribution.kinds import METHODS
from morelli.features.inversion import Inversion
from morelli.generators.small_gans import build_generator
from morelli.numerics.fidelity import Cells
from morelli.numerics.lasso import LassoProblem, objective
from morelli.numerics.linear import LinearMap
from morelli.numerics.solvers.fista import Fista

EXACT = Fista(tolerance=1e-9, max_steps=50_000)


def matrix(linear: LinearMap) -> torch.Tensor:
    eye = torch.eye(math.prod(linear.in_shape), dtype=torch.float64).reshape(-1, *linear.in_shape)
    return linear.apply(eye).flatten(1).T


@pytest.mark.parametrize(
    ("family", "inputs", "outputs", "free"),
    [("lsgan", 262_144, 12_288, 249_856), ("dcgan", 65_536, 12_288, 53_248)],
)
def test_the_heads_of_the_paper_have_its_sizes(family: str, inputs: int, outputs: int, free: int) -> None:
    """After Prop. 4.4: LSGAN's solution set has 262,144 − 12,288 = 249,856 dimensions."""
    rng = torch.Generator().manual_seed(0)
    generator = build_generator(family, width=4)
    narrow = TorchGenerator(generator, (100, 1, 1), announce=lambda line: None)
    head = narrow.head(2)
    grid = math.prod(head.map.in_shape[1:])
    made = math.prod(head.map.out_shape)
    assert (64 * grid, made, 64 * grid - made) == (inputs, outputs, free)
    samples = torch.rand(1, *head.map.out_shape, generator=rng)
    assert head.target(samples).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("toy", ["deconvolution", "convolution", "table", "audio"])
def test_solutions_form_an_affine_space_of_inputs_minus_outputs(toy: str) -> None:
    """Prop. 4.4: the map has full row rank, so every sample is reached, and by that many dimensions of activations."""
    head = toy_heads()[toy].to("cpu", torch.float64)
    dense = matrix(head.map)
    outputs, inputs = dense.shape
    assert inputs > outputs
    assert torch.linalg.matrix_rank(dense) == outputs
    null_space = torch.linalg.svd(dense).Vh[outputs:]
    assert len(null_space) == inputs - outputs
    moved = head.anchor + 5 * null_space[0].reshape(head.map.in_shape)
    torch.testing.assert_close(head.forward(moved[None]), head.forward(head.anchor[None]))
    foreign = toy_samples(toy, 1, generator_seed=7).double()
    target = head.target(foreign).flatten(1)
    reached = target @ torch.linalg.pinv(dense).T
    torch.testing.assert_close(reached @ dense.T, target, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("toy", ["deconvolution", "table", "audio"])
def test_the_lasso_solution_is_unique(toy: str) -> None:
    """With a continuous distribution of weights: different routes end at the same activation."""
    head = toy_heads()[toy].to("cpu", torch.float64)
    given = LassoProblem(head.map, Cells.at(head.target(toy_samples(toy, 2).double())), 0.05)
    straight = EXACT.solve(given).value
    other = replace(EXACT, check_every=7, slots=3).solve(given).value
    torch.testing.assert_close(other, straight, rtol=0, atol=1e-3)
    # From another starting point: with u = start + v, plain proximal steps on the same objective.
    u = torch.randn(straight.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1 / float(torch.linalg.matrix_norm(matrix(head.map), 2) ** 2)
    for _ in range(3000):
        slope = head.map.adjoint(given.fidelity.centre - head.map.apply(u))
        u = torch.nn.functional.softshrink(u + step * slope, step * 0.05)
    assert (objective(given, u) <= objective(given, straight) * (1 + 1e-3)).all()
    distance = (u - straight).flatten(1).norm(dim=1) / straight.flatten(1).norm(dim=1)
    assert (distance < 0.15).all()


def test_another_activation_of_the_same_sample_has_a_larger_norm() -> None:
    """Of all that make a sample, the lasso (α → 0) takes the one closest to the anchor in ℓ₁."""
    generator = toy_generator("deconvolution")
    head = generator.head(256).to("cpu", torch.float64)
    true = generator.activations(8, 5).double() - head.anchor
    found = (
        Inversion(head, 1e-3, solver=Fista(tolerance=1e-3, max_steps=20_000))
        .extract(head.forward(true + head.anchor))
        .values
    )
    assert (found.abs().flatten(1).sum(1) <= true.abs().flatten(1).sum(1)).all()
    assert not torch.allclose(found, true, atol=0.1)


@pytest.mark.parametrize("toy", ["deconvolution", "table"])
def test_the_bias_cancels(toy: str) -> None:
    """A bias changed in the generator and in its head moves samples and leaves features."""
    head = toy_heads()[toy].to("cpu", torch.float64)
    shifted = replace(head, bias=head.bias + 0.3)
    z = toy_generator(toy).activations(3, 5).double()
    assert not torch.allclose(head.forward(z), shifted.forward(z), atol=0.01)
    features = [Inversion(h, 0.05, solver=EXACT).extract(h.forward(z)).values for h in (head, shifted)]
    torch.testing.assert_close(*features, rtol=0, atol=1e-4)
    mixed = Inversion(head, 0.05, solver=EXACT).extract(shifted.forward(z)).values
    assert not torch.allclose(mixed, features[0], atol=0.05)


def test_features_and_anchor_move_together() -> None:
    """Features are ẑ − anchor: samples moved along with the anchor, in pre-activations, keep theirs."""
    head = toy_heads()["table"].to("cpu", torch.float64)
    moved = replace(head, anchor=head.anchor + 1.0)
    z = toy_generator("table").activations(3, 5).double()
    features = [
        Inversion(h, 0.05, solver=EXACT).extract(h.forward(z + shift)).values for h, shift in ((head, 0), (moved, 1.0))
    ]
    torch.testing.assert_close(*features, rtol=0, atol=1e-4)


@pytest.mark.parametrize("toy", ["deconvolution", "audio"])
def test_own_samples_need_smaller_activations_than_foreign_ones(toy: str) -> None:
    """Generators of one architecture and other seeds. Measured share where own is the smaller: 1.0 for both toys."""
    norms = {}
    for seed in (0, 1):
        head = toy_generator(toy, seed).head(256)
        samples = toy_samples(toy, 12).clamp(-0.99, 0.99)  # of seed 0
        features = Inversion(head, 0.02, solver=Fista(tolerance=0.02, max_steps=4_000)).extract(samples).values
        norms[seed] = features.abs().flatten(1).sum(1)
    assert (norms[0] < norms[1]).double().mean() > 0.8


def test_flipad_on_the_papers_generators_pools_lsgan_alone() -> None:
    pools = {}
    for family in ("dcgan", "lsgan"):
        head = TorchGenerator(build_generator(family, width=4), (100, 1, 1), announce=lambda line: None).head(2)
        pools[family] = METHODS["flipad"].extractor(head).state().settings["pool"]
    assert pools == {"dcgan": 1, "lsgan": 2}
