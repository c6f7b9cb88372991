"""Cells: the truth is always inside, narrow cells are points, bounds are bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from toys import toy_generator, toy_heads

from morelli import SampleSpec
from morelli.errors import MismatchError, OutOfRange
from morelli.features.inversion import Inversion
from morelli.features.observation import EightBit, Jpeg, Point, Weighted, estimated_noise
from morelli.numerics.activation import Clip, Identity, OutputActivation, Rescaled, Sigmoid, Tanh, cell
from morelli.numerics.fidelity import Cells
from morelli.numerics.head import Head
from morelli.numerics.lasso import LassoProblem, Status, objective
from morelli.numerics.linear import Conv, Geometry
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.pdhg import Pdhg
from morelli.storage.images import from_eight_bits, to_eight_bits
from morelli.storage.samples import read_all

ACTIVATIONS: dict[str, OutputActivation] = {
    "identity": Identity(),
    "clip": Clip(0.0, 1.0),
    "relu": Clip(0.0, float("inf")),
    "tanh": Tanh(),
    "sigmoid": Sigmoid(),
    "rescaled": Rescaled(Tanh(), 127.5, 127.5),
}
ROWS = pytest.mark.parametrize("name", ACTIVATIONS)
IMAGES = pytest.mark.parametrize("toy", ["deconvolution", "convolution"])
seeds = st.integers(0, 2**31)


@ROWS
@given(seed=seeds, spread=st.floats(0.1, 6.0))
def test_a_pre_activation_is_in_the_cell_of_its_rounded_output(name: str, seed: int, spread: float) -> None:
    activation = ACTIVATIONS[name]
    a = spread * torch.randn(200, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    level = (activation.high - activation.low) / 255
    level = level if level < float("inf") else 1 / 255
    y = (activation.forward(a) / level).round() * level
    low, high = cell(activation, y, 0.501 * level)
    assert ((low <= a) & (a <= high)).all()


@ROWS
def test_narrow_cells_are_points(name: str) -> None:
    activation = ACTIVATIONS[name]
    a = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    y = activation.forward(a)
    for radius in (1e-3, 1e-6, 0.0):
        low, high = cell(activation, y, radius * (activation.forward(a[-1]) - activation.forward(a[0])))
        assert (high - low).max() <= 20 * radius + 1e-12
        torch.testing.assert_close((low + high) / 2, activation.inverse(y), rtol=0, atol=1e-2 * radius + 1e-12)


def eight_bit_samples(toy: str, n: int) -> tuple[Tensor, Tensor]:
    """Own samples through 8 bits, and the activations − anchor that made them."""
    head = toy_heads()[toy]
    spec = SampleSpec(head.map.out_shape, head.activation.low, head.activation.high)
    samples = toy_generator(toy).samples(n, 11)
    return from_eight_bits(to_eight_bits(samples, spec), spec), toy_generator(toy).activations(n, 11) - head.anchor


@IMAGES
def test_the_true_activation_is_feasible_for_its_own_image(toy: str) -> None:
    samples, true = eight_bit_samples(toy, 40)
    head = toy_heads()[toy]
    for observation, feasible in ((EightBit(), True), (Point(), False)):
        fidelity = observation.fidelity(head, samples, [])
        missed = fidelity.value(fidelity.rest(head.map.apply(true)))
        assert ((missed < 1e-9) == feasible).all()


@IMAGES
@pytest.mark.parametrize("observation", [EightBit(), EightBit(0.02), Weighted(), Weighted(0.02)])
def test_every_fidelity_has_a_certificate(toy: str, observation: EightBit | Weighted) -> None:
    """Two unlike methods agree, and each gap bounds the distance from the better of the two."""
    head, (samples, _) = toy_heads()[toy].to("cpu", torch.float64), eight_bit_samples(toy, 4)
    fidelity = observation.fidelity(head, samples.double(), [])
    problem = LassoProblem(head.map, fidelity, 0.01)
    one, other = Pdhg(1e-3, max_steps=20_000).solve(problem), Fista(1e-3, max_steps=50_000).solve(problem)
    assert set(one.status + other.status) == {Status.CONVERGED}
    reached = torch.stack([objective(problem, one.value), objective(problem, other.value)])
    torch.testing.assert_close(reached[0], reached[1], rtol=2e-3, atol=1e-9)
    best = reached.amin(0)
    for solution, value in ((one, reached[0]), (other, reached[1])):
        assert ((value - best) / value <= solution.gap + 1e-9).all()


@IMAGES
def test_a_cell_costs_no_more_than_its_point(toy: str) -> None:
    head, (samples, _) = toy_heads()[toy], eight_bit_samples(toy, 6)
    v = head.map.apply(torch.randn(6, *head.map.in_shape, generator=torch.Generator().manual_seed(0)))
    cells, points = (each.fidelity(head, samples, []) for each in (EightBit(), Point()))
    assert (cells.value(cells.rest(v)) < points.value(points.rest(v))).all()


@given(seed=seeds, scale=st.floats(0.0, 5.0))
def test_the_price_is_a_lower_bound(seed: int, scale: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    low = torch.randn(3, 20, generator=rng, dtype=torch.float64)
    high = low + torch.rand(3, 20, generator=rng, dtype=torch.float64)
    low[:, :4], high[:, 4:8] = -torch.inf, torch.inf
    cells = Cells(low, high, 0.1 + 0.9 * torch.rand(3, 20, generator=rng, dtype=torch.float64))
    rest = cells.admit(torch.randn(3, 20, generator=rng, dtype=torch.float64))
    linear, quadratic = cells.price(rest)
    v = 3 * torch.randn(3, 20, generator=rng, dtype=torch.float64)
    least = scale * linear - 0.5 * scale**2 * quadratic
    assert (cells.value(cells.rest(v)) + scale * (v * rest).sum(1) >= least - 1e-9).all()
    assert linear.isfinite().all()


@given(seed=seeds, step=st.floats(0.01, 100.0))
def test_settling_is_the_proximal_map(seed: int, step: float) -> None:
    """Its optimality condition: w − v = step · (−∇φ(w))."""
    rng = torch.Generator().manual_seed(seed)
    low = torch.randn(2, 30, generator=rng, dtype=torch.float64)
    cells = Cells(low, low + 0.5, 0.1 + 0.9 * torch.rand(2, 30, generator=rng, dtype=torch.float64))
    v = 2 * torch.randn(2, 30, generator=rng, dtype=torch.float64)
    settled = cells.settle(v, torch.full((2, 1), step, dtype=torch.float64))
    torch.testing.assert_close(settled - v, step * cells.pull(cells.rest(settled)), rtol=1e-7, atol=1e-9)


def test_precision_follows_the_slope() -> None:
    head, (samples, _) = toy_heads()["deconvolution"], eight_bit_samples("deconvolution", 3)
    precision = Weighted().fidelity(head, samples, []).precision
    flat, steep = samples.abs().flatten().argmax(), samples.abs().flatten().argmin()
    assert precision.flatten()[flat] < 0.5 * precision.flatten()[steep]
    noisy = Weighted(0.1).fidelity(head, samples, []).precision
    assert (noisy < precision).all()


def test_noise_is_estimated_on_smooth_images() -> None:
    ramp = torch.linspace(-0.5, 0.5, 64).expand(4, 3, 64, 64)
    noise = torch.tensor([0.0, 0.02, 0.05, 0.1]).reshape(-1, 1, 1, 1)
    found = estimated_noise(ramp + noise * torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(found, noise.flatten(), rtol=0.1, atol=1e-6)
    assert estimated_noise(torch.zeros(2, 6)).tolist() == [0.0, 0.0]


def test_unsuitable_cells_are_refused() -> None:
    with pytest.raises(MismatchError):
        Cells(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(OutOfRange):
        Cells.at(torch.zeros(2, 3), torch.zeros(2, 3))


def test_jpeg_cells_are_read_from_the_file(tmp_path: Path) -> None:
    """A JPEG file's own tables open its cells: what made it costs less than under the tables of another quality."""
    torch.manual_seed(0)
    head = Head(
        Conv(torch.randn(3, 6, 3, 3) / 40, (6, 32, 32), Geometry((1, 1), (1, 1), (1, 1))),
        torch.zeros(3, 1, 1),
        Clip(-1.0, 1.0),
        torch.zeros(6, 32, 32),
    )
    z = torch.randn(1, 6, 32, 32)
    spec = SampleSpec((3, 32, 32), -1.0, 1.0)
    pixels = to_eight_bits(head.forward(z), spec)[0].movedim(0, -1).numpy()
    costs = {}
    for quality in (60, 90):
        Image.fromarray(pixels).save(tmp_path / f"{quality}.jpg", quality=quality, subsampling=0)
        read = read_all([tmp_path / f"{quality}.jpg"], spec)
        fidelity = Jpeg().fidelity(head, read.samples, read.facts)
        costs[quality] = float(fidelity.value(fidelity.rest(head.map.apply(z))))
        plain = Jpeg().fidelity(head, read.samples, [{}])
        assert costs[quality] < 0.01 * float(plain.value(plain.rest(head.map.apply(z))))
    assert costs[60] < 1e-3


def test_blocks_that_were_clipped_say_nothing() -> None:
    head = toy_heads()["deconvolution"]
    samples = torch.zeros(1, 3, 8, 8)
    samples[0, 1, 4, 4] = 1.0
    assert Jpeg().fidelity(head, samples, [{}]).low.isinf().all()
    assert Jpeg().fidelity(head, 0.9 * samples, [{}]).low.isfinite().all()


def test_a_file_whose_coefficients_cannot_be_found_is_held_to_eight_bits() -> None:
    head = Head(
        Conv(torch.randn(3, 6, 3, 3) / 40, (6, 24, 24), Geometry((1, 1), (1, 1), (1, 1))),
        torch.zeros(3, 1, 1),
        Identity(),
        torch.zeros(6, 24, 24),
    )
    samples, plain = torch.zeros(1, 3, 24, 24), [{}]
    tables = {"jpeg_tables": [[16] * 64, [17] * 64], "mode": "RGB", "jpeg_sampling": "4:2:0"}
    turned = tables | {"jpeg_sampling": "4:4:4", "notes": ["EXIF orientation 6 applied"]}
    expected = Jpeg().fidelity(head, samples, plain)
    for facts in (tables, turned):  # 24 is no multiple of 16; a turned picture has other blocks
        assert torch.equal(Jpeg().fidelity(head, samples, [facts]).low, expected.low)
    known = Jpeg().fidelity(head, samples, [turned | {"notes": []}])
    assert (known.high - known.low > expected.high - expected.low).all()


def test_images_of_an_unbounded_head_have_cells_too() -> None:
    head = Head(
        Conv(torch.ones(1, 1, 1, 1), (1, 8, 8), Geometry((1, 1), (0, 0), (1, 1))),
        torch.zeros(1, 1, 1),
        Identity(),
        torch.zeros(1, 8, 8),
    )
    cells = EightBit().fidelity(head, torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8), [])
    assert not cells.points
    assert cells.low.flatten()[0] == -torch.inf
    assert cells.high.flatten()[-1] == torch.inf


@pytest.mark.parametrize("observation", [Point(), EightBit(), Weighted(), Jpeg()])
def test_a_sample_that_is_not_finite_stays_alone(observation: Point | EightBit | Weighted | Jpeg) -> None:
    head, samples = toy_heads()["deconvolution"], eight_bit_samples("deconvolution", 3)[0]
    inversion = Inversion(head, 0.01, 1, Fista(1.0, min_steps=20), observation)
    clean = inversion.extract(samples)
    samples = samples.clone()
    samples[1, 0, 2, 2] = float("nan")
    found = inversion.extract(samples)
    assert torch.equal(found.values[[0, 2]], clean.values[[0, 2]])
    assert [bool(reason) for reason in found.reasons] == [False, True, False]
