"""⟨Gz, y⟩ = ⟨z, Gᵀy⟩ for maps of any geometry that torch itself accepts."""

from __future__ import annotations

import torch
from battery.cases import conv, dense, transposed
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from morelli.numerics.linear import LinearMap
from morelli.numerics.maps import map_from_state


@st.composite
def maps(draw: st.DrawFn) -> tuple[LinearMap, torch.nn.Module]:
    kind = draw(st.sampled_from(["dense", "conv", "transposed"]))
    few = st.integers(1, 4)
    if kind == "dense":
        return dense(draw(few), draw(few))
    axes, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    each = st.tuples(*[few] * axes)
    kernel, stride, dilation, sizes = draw(each), draw(each), draw(each), draw(st.tuples(*[st.integers(1, 8)] * axes))
    padding = draw(st.tuples(*[st.integers(0, 3)] * axes))
    shape, outputs = (groups * draw(few), *sizes), groups * draw(few)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    rows = list(zip(sizes, kernel, stride, padding, dilation, strict=True))
    if kind == "conv":
        assume(all(n + 2 * p >= d * (k - 1) + 1 for n, k, _, p, d in rows))
        return conv(shape, outputs, kernel, **options)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + 1 + e >= 1 for (n, k, s, p, d), e in zip(rows, extra, strict=True)))
    return transposed(shape, outputs, kernel, output_padding=extra, **options)


def draw_pair(linear: LinearMap, seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    shapes = (2, *linear.in_shape), (2, *linear.out_shape)
    z, y = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes)
    return z, y


@given(maps(), st.integers(0, 2**31))
def test_adjoint(pair: tuple[LinearMap, torch.nn.Module], seed: int) -> None:
    linear, layer = pair
    z, y = draw_pair(linear, seed)
    reached, back = linear.apply(z), linear.adjoint(y)
    assert (reached.shape, back.shape) == (y.shape, z.shape)
    torch.testing.assert_close((reached * y).flatten(1).sum(1), (z * back).flatten(1).sum(1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(reached, layer(z), rtol=1e-10, atol=1e-10)


@given(maps(), st.integers(0, 2**31))
def test_state_rebuilds_the_map(pair: tuple[LinearMap, torch.nn.Module], seed: int) -> None:
    z, _ = draw_pair(pair[0], seed)
    assert torch.equal(map_from_state(pair[0].state()).apply(z), pair[0].apply(z))
