"""JPEG cells: the truth is inside whatever the quality, a wrong image is not, and bounds are bounds."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn
from torch import Tensor

from morelli import SampleSpec
from morelli.errors import MismatchError, OutOfRange, UnsuitableSolver
from morelli.numerics.fidelity import Fidelity
from morelli.numerics.jpeg import NORM, YCBCR, JpegCells, jpeg_cells
from morelli.numerics.lasso import LassoProblem, Status, objective
from morelli.numerics.linear import Dense
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.pdhg import Pdhg
from morelli.storage.images import decode

SLOPE = 127.5  # x = 127.5·(v + 1)
FULL, HALVED, GREY = (3, "4:4:4"), (3, "4:2:0"), (1, None)
KINDS = pytest.mark.parametrize("kind", [FULL, HALVED, GREY], ids=["444", "420", "grey"])
Kind = tuple[int, str | None]
seeds = st.integers(0, 2**31)


def smooth(seed: int, channels: int = 3, height: int = 32, width: int = 48) -> Tensor:
    """[channels, height, width] in [20, 235]: noise of spectrum 1/frequency^1.5."""
    rng = torch.Generator().manual_seed(seed)
    rows, columns = torch.fft.fftfreq(height) * height, torch.fft.fftfreq(width) * width
    fall = 1 / (1 + (rows[:, None].square() + columns.square()).sqrt()) ** 1.5
    noise = torch.randn(channels, height, width, generator=rng, dtype=torch.float64)
    image = torch.fft.ifft2(torch.fft.fft2(noise) * fall).real
    low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
    return 20 + 215 * (image - low) / (high - low)


def written(image: Tensor, quality: int, kind: Kind) -> bytes:
    pixels = image.round().to(torch.uint8).permute(1, 2, 0).squeeze(2).contiguous().numpy()
    file = io.BytesIO()
    options = {} if kind[1] is None else {"subsampling": kind[1]}
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def read(data: bytes, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, bool]:
    """Pixels, tables and whether chroma is subsampled, as this package reads them."""
    samples, facts = decode(data, SampleSpec(shape, 0.0, 255.0), 10**6)
    tables = torch.tensor((facts["jpeg_tables"] * 2)[:2]).reshape(2, 8, 8)
    return samples[0].double().round(), tables, facts["jpeg_sampling"] == "4:2:0"


def cells_of(images: Tensor, quality: int, kind: Kind, rounding: float = 1.0) -> JpegCells:
    """Of images [n, c, h, w], written and read."""
    parts = [read(written(image, quality, kind), tuple(image.shape)) for image in images]
    decoded = torch.stack([part[0] for part in parts])
    return jpeg_cells(
        decoded,
        torch.stack([part[1] for part in parts]),
        torch.tensor([part[2] for part in parts]),
        decoded / SLOPE - 1,
        torch.full_like(decoded, SLOPE),
        rounding,
    )


def assert_feasible(cells: JpegCells, images: Tensor) -> None:
    rest = cells.rest(images / SLOPE - 1)
    assert rest.abs().max() < 1e-9, rest.abs().max()
    assert (cells.value(rest) < 1e-12).all()


def coefficients(cells: JpegCells, steps: Tensor) -> Tensor:
    """Of steps from the base, [m, c, h, w], through the cells of one sample."""
    zero = torch.zeros_like(steps)
    slope, subsampled = cells.slope.expand_as(steps), cells.subsampled.expand(len(steps))
    return -JpegCells(zero, zero, slope, zero, subsampled).rest(steps)


def example(kind: Kind, n: int = 2) -> JpegCells:
    """With slopes that differ, some of them zero."""
    cells = cells_of(torch.stack([smooth(seed, kind[0], 16, 16) for seed in range(n)]), 75, kind, 0.2)
    rng = torch.Generator().manual_seed(3)
    return replace(cells, slope=cells.slope * torch.rand(cells.slope.shape, generator=rng).sub_(0.1).clamp_min(0))


# what is proved


@KINDS
@given(seed=seeds, quality=st.integers(60, 95))
def test_the_truth_is_feasible(kind: Kind, seed: int, quality: int) -> None:
    image = smooth(seed, kind[0])[None]
    cells = cells_of(image, quality, kind)
    assume((cells.centre + 1).min() > 0 and (cells.centre + 1).max() * SLOPE < 255)  # nothing was clipped
    assert_feasible(cells, image)


@KINDS
@pytest.mark.parametrize("quality", [60, 80, 95])
def test_the_feasibility_check_can_fail(kind: Kind, quality: int) -> None:
    image = smooth(0, kind[0])[None]
    cells = cells_of(image, quality, kind)
    rough = image + 25 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for wrong in (smooth(1, kind[0])[None], image + 20, rough):
        with pytest.raises(AssertionError):
            assert_feasible(cells, wrong)


@KINDS
@pytest.mark.parametrize("quality", [60, 80, 95])
def test_the_truth_is_nearly_feasible_with_roundings_as_they_are(kind: Kind, quality: int) -> None:
    """A fifth of the worst case misses fewer than one coefficient in a thousand, and none by a level."""
    images = torch.stack([smooth(seed, kind[0]) for seed in range(5)])
    cells = cells_of(images, quality, kind, 0.2)
    missed = cells.rest(images / SLOPE - 1).abs() * SLOPE * (NORM if kind[0] == 3 else 1)
    assert (missed > 1e-9).double().mean() < 1e-3
    assert missed.max() < 1.0


@KINDS
def test_less_rounding_gives_cells_within(kind: Kind) -> None:
    nested = [cells_of(smooth(4, kind[0])[None], 90, kind, rounding) for rounding in (0.0, 0.2, 0.5, 1.0)]
    for inner, outer in zip(nested, nested[1:], strict=False):
        assert (outer.low <= inner.low).all() and (inner.high <= outer.high).all()


def test_cells_of_steps_of_one_are_points() -> None:
    """Wide as one step, they hold the decoded image and none with another pixel."""
    decoded = smooth(5, 3, 16, 16).round()[None]
    base = decoded / SLOPE - 1
    ones, full = torch.ones(1, 2, 8, 8), torch.tensor([False])
    cells = jpeg_cells(decoded, ones, full, base, torch.full_like(base, SLOPE), 0.0)
    torch.testing.assert_close(cells.high - cells.low, torch.full_like(base, 1 / (NORM * SLOPE)), rtol=1e-9, atol=0)
    assert_feasible(cells, decoded)
    for pixel in torch.randperm(768, generator=torch.Generator().manual_seed(0))[:20].tolist():
        wrong = decoded.clone()
        wrong.view(-1)[pixel] += 20
        with pytest.raises(AssertionError):
            assert_feasible(cells, wrong)


# the coefficients


def test_coefficients_are_the_standards() -> None:
    """Against scipy and Pillow's own YCbCr: luma in whole blocks, chroma of means of four."""
    image = smooth(6, 3, 16, 16).round()[None]
    cells = cells_of(image, 80, HALVED)
    got = coefficients(cells, image / SLOPE)[0] * SLOPE * NORM
    drawn = Image.fromarray(image[0].permute(1, 2, 0).to(torch.uint8).contiguous().numpy()).convert("YCbCr")
    planes = np.array(drawn).astype(np.float64).transpose(2, 0, 1) - np.array([0, 128, 128])[:, None, None]
    for top in (0, 8):
        for left in (0, 8):
            expected = dctn(planes[0, top : top + 8, left : left + 8], norm="ortho")
            assert abs(got[0, top : top + 8, left : left + 8].numpy() - expected).max() < 8  # Pillow rounds YCbCr down
    for k in (1, 2):
        means = planes[k].reshape(8, 2, 8, 2).mean((1, 3))
        assert abs(got[k, :8, :8].numpy() - dctn(means, norm="ortho")).max() < 8
        assert not got[k, 8:].any() and not got[k, :, 8:].any()


def test_the_norm_of_the_colour_matrix() -> None:
    norm = float(torch.linalg.matrix_norm(torch.tensor(YCBCR, dtype=torch.float64), 2))
    assert norm < NORM < norm + 1e-5


@KINDS
def test_only_subsampled_chroma_is_open(kind: Kind) -> None:
    cells = cells_of(smooth(7, kind[0], 16, 32)[None], 80, kind)
    open_ = cells.low.isinf() & cells.high.isinf()
    assert torch.equal(open_, cells.low.isinf() | cells.high.isinf())
    assert int(open_.sum()) == (2 * 3 * 8 * 16 if kind == HALVED else 0)
    assert not open_[:, 1:, :8, :16].any()


# a fidelity


@KINDS
def test_pull_is_the_gradient(kind: Kind) -> None:
    cells = example(kind)
    v = cells.base + 0.3 * torch.randn(cells.base.shape, generator=torch.Generator().manual_seed(4)).double()
    v.requires_grad_()
    (slope,) = torch.autograd.grad(cells.value(cells.rest(v)).sum(), v)
    assert slope.abs().max() > 0
    torch.testing.assert_close(cells.pull(cells.rest(v)), -slope, rtol=1e-9, atol=1e-12)


@KINDS
def test_curvature_is_at_most_one(kind: Kind) -> None:
    """And comes close to it where every slope is the same, unless means of chroma are all that counts."""
    even = cells_of(smooth(8, kind[0], 16, 16)[None], 75, kind)
    for cells, least in ((even, 0.7 if kind == HALVED else 0.999), (example(kind, 1), 0.0)):
        v = torch.randn(cells.low.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        for _ in range(300):
            v = v / v.norm()
            v = cells.pull(coefficients(cells, v))
        assert least <= v.norm() <= 1 + 1e-9


@KINDS
@given(seed=seeds, size=st.sampled_from([1e-3, 0.1, 1.0, 10.0]))
def test_price_is_a_bound(kind: Kind, seed: int, size: float) -> None:
    cells, rng = example(kind), torch.Generator().manual_seed(seed)
    v = cells.base + size * torch.randn(cells.base.shape, generator=rng).double()
    for rest in (cells.rest(v), torch.randn(v.shape, generator=rng).double()):
        linear, quadratic = cells.price(rest)
        pulled = (v * cells.pull(rest)).flatten(1).sum(1)
        for scale in (0.0, 1e-3, 0.1, 1.0, 10.0):
            bound = scale * linear - scale**2 * quadratic / 2
            reached = cells.value(cells.rest(v)) + scale * pulled
            assert (bound <= reached + 1e-9 * (1 + reached.abs())).all()


@KINDS
def test_price_is_reached(kind: Kind) -> None:
    """Where the coefficients are bound − scale·rest, which some output has if no slope is zero."""
    cells = cells_of(smooth(9, kind[0], 16, 16)[None], 75, kind)
    rest, scale = torch.randn(cells.low.shape, generator=torch.Generator().manual_seed(6)).double(), 0.01
    said = cells.low.isfinite()
    wanted = torch.where(rest > 0, cells.low, cells.high) - scale * rest
    units = torch.eye(cells.base[0].numel(), dtype=torch.float64).reshape(-1, *cells.base.shape[1:])
    matrix = coefficients(cells, units).flatten(1)[:, said.flatten()].T
    offset = torch.linalg.lstsq(matrix, wanted[said][:, None], driver="gelsd").solution
    v = cells.base + offset.reshape(cells.base.shape)
    linear, quadratic = cells.price(rest)
    reached = cells.value(cells.rest(v)) + scale * (v * cells.pull(rest)).sum()
    torch.testing.assert_close(scale * linear - scale**2 * quadratic / 2, reached, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_and_types(dtype: torch.dtype) -> None:
    cells: Fidelity = example(HALVED, 4).to("cpu", dtype)
    assert len(cells) == 4
    assert cells.centre.dtype == dtype and cells.centre.isfinite().all()
    v = torch.randn(cells.centre.shape, generator=torch.Generator().manual_seed(7), dtype=dtype)
    index = torch.tensor([2, 0, 2])
    some = cells.rows(index)
    assert len(some) == 3
    rest = cells.rest(v)
    torch.testing.assert_close(some.rest(v[index]), rest[index])
    torch.testing.assert_close(some.pull(rest[index]), cells.pull(rest)[index])
    assert rest.dtype == cells.pull(rest).dtype == cells.price(rest)[0].dtype == dtype
    assert len(cells.rows(torch.tensor([], dtype=torch.int64))) == 0


def test_a_batch_may_mix_files() -> None:
    images = torch.stack([smooth(seed) for seed in range(2)])
    full, halved = cells_of(images[:1], 90, FULL), cells_of(images[1:], 70, HALVED)
    parts = [read(written(images[0], 90, FULL), (3, 32, 48)), read(written(images[1], 70, HALVED), (3, 32, 48))]
    decoded, tables = (torch.stack([part[k] for part in parts]) for k in (0, 1))
    sampled = torch.tensor([False, True])
    mixed = jpeg_cells(decoded, tables, sampled, decoded / SLOPE - 1, torch.full_like(decoded, SLOPE))
    for i, alone in enumerate((full, halved)):
        torch.testing.assert_close(mixed.low[i : i + 1], alone.low)
        torch.testing.assert_close(mixed.high[i : i + 1], alone.high)
    assert_feasible(mixed, images)


def test_black_everywhere_is_finite() -> None:
    """Where every slope is zero, nothing can be reached and nothing is asked for."""
    decoded = torch.zeros(1, 3, 8, 8)
    cells = jpeg_cells(decoded, torch.ones(1, 2, 8, 8), torch.tensor([False]), decoded - 3, torch.zeros_like(decoded))
    rest = cells.rest(torch.randn(1, 3, 8, 8))
    assert cells.low.isfinite().all() and not cells.value(rest).any() and not cells.pull(rest).any()


# solvers


def problem(kind: Kind, weight: float = 1e-3) -> tuple[LassoProblem, Tensor]:
    """Own images of a dense head without activation, and the sparse inputs that made them."""
    shape, rng = (kind[0], 16, 16), torch.Generator().manual_seed(8)
    basis = torch.stack([smooth(seed, kind[0], 16, 16) / SLOPE - 1 for seed in range(24)]).flatten(1).T
    head = Dense(basis / basis.norm(dim=0), (24,), shape)
    true = torch.randn(3, 24, generator=rng, dtype=torch.float64)
    true[torch.rand(3, 24, generator=rng) < 0.7] = 0
    true *= 0.8 / head.apply(true).abs().flatten(1).amax(1)[:, None]
    return LassoProblem(head, cells_of((head.apply(true) + 1) * SLOPE, 85, kind), weight), true


@KINDS
def test_fista_solves_it(kind: Kind) -> None:
    given, true = problem(kind)
    solution = Fista(tolerance=1e-3, max_steps=20_000, slots=3).solve(given)
    assert solution.status == (Status.CONVERGED,) * 3
    assert (solution.gap <= 1e-3).all()
    assert solution.value.any()
    tight = Fista(tolerance=1e-6, max_steps=50_000, slots=3).solve(given)
    reached, best = objective(given, solution.value), objective(given, tight.value)
    assert ((reached - best) / reached <= solution.gap).all()
    assert (best * (1 - tight.gap) <= given.penalty(true)).all()  # the truth is feasible, so it costs its penalty alone


def test_pdhg_refuses_it() -> None:
    with pytest.raises(UnsuitableSolver, match="not JpegCells"):
        Pdhg().solve(problem(FULL)[0])


# what is refused, and the facts of files


def arguments(shape: tuple[int, ...] = (2, 3, 16, 16)) -> dict[str, Tensor | float]:
    decoded = torch.full(shape, 7.0)
    sampled = torch.zeros(len(decoded), dtype=torch.bool)
    tables = torch.ones(len(decoded), 2, 8, 8)
    return {"decoded": decoded, "tables": tables, "subsampled": sampled, "pre": decoded, "slope": decoded}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (arguments((2, 2, 16, 16)), "expected .n, 1 or 3, h, w."),
        (arguments((2, 3, 12, 16)), "16x12; expected sides in multiples of 8"),
        (arguments((2, 3, 16, 8)) | {"subsampled": torch.tensor([False, True])}, "multiples of 16"),
        ({"slope": torch.ones(3, 16, 16)}, "expected .2, 3, 16, 16."),
        ({"pre": torch.ones(2, 3, 16, 8)}, "expected .2, 3, 16, 16."),
        ({"tables": torch.ones(2, 64)}, "Give each sample luma and chroma"),
        ({"subsampled": torch.tensor([True])}, "Give each sample luma and chroma"),
    ],
)
def test_other_shapes_are_refused(change: dict[str, Tensor], words: str) -> None:
    with pytest.raises(MismatchError, match=words):
        jpeg_cells(**(arguments() | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"decoded": torch.full((2, 3, 16, 16), 256.0)},
        {"decoded": torch.full((2, 3, 16, 16), 0.5)},
        {"decoded": torch.full((2, 3, 16, 16), float("nan"))},
        {"tables": torch.zeros(2, 2, 8, 8)},
        {"slope": torch.full((2, 3, 16, 16), -1.0)},
        {"slope": torch.full((2, 3, 16, 16), float("nan"))},
        {"rounding": -0.1},
        {"rounding": float("nan")},
    ],
)
def test_other_values_are_refused(change: dict[str, Tensor | float]) -> None:
    with pytest.raises(OutOfRange):
        jpeg_cells(**(arguments() | change))  # type: ignore[arg-type]


def test_fields_of_other_shapes_are_refused() -> None:
    with pytest.raises(MismatchError, match="JPEG cells have fields of"):
        replace(example(FULL), low=torch.zeros(1))


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_sampling_is_a_fact_of_a_file(sampling: str) -> None:
    facts = decode(written(smooth(0), 80, (3, sampling)), SampleSpec((3, 32, 48)), 10**6)[1]
    assert facts["jpeg_sampling"] == sampling


def test_grey_and_other_formats_have_no_sampling() -> None:
    assert decode(written(smooth(0, 1), 80, GREY), SampleSpec((1, 32, 48)), 10**6)[1]["jpeg_sampling"] is None
    file = io.BytesIO()
    Image.new("RGB", (48, 32)).save(file, "PNG")
    assert decode(file.getvalue(), SampleSpec((3, 32, 48)), 10**6)[1].get("jpeg_sampling") is None


def test_tables_are_row_by_row() -> None:
    """Against the file's own bytes, which go zigzag: T.81, figure 5."""
    data = written(smooth(0), 60, FULL)
    facts = decode(data, SampleSpec((3, 32, 48)), 10**6)[1]
    along = sorted(((i, j) for i in range(8) for j in range(8)), key=lambda at: (sum(at), at[sum(at) % 2 == 0]))
    for table, start in zip(facts["jpeg_tables"], _tables_at(data), strict=True):
        for step, (row, column) in zip(data[start : start + 64], along, strict=True):
            assert table[8 * row + column] == step
    assert facts["jpeg_tables"][0] != list(data[_tables_at(data)[0] :][:64])  # so the orders differ


def _tables_at(data: bytes) -> list[int]:
    """Where the 64 bytes of each 8-bit table begin."""
    places, at = [], 2
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDB:
            places += range(at + 5, at + 2 + length, 65)
        at += 2 + length
    return places
