"""Generators whose output is a sum: toRGB skips, residuals, U-Nets. What is exact, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from toys import initialised_style, toy_generator

from morelli import Clip, Identity, Tanh, TorchGenerator
from morelli.errors import HeadNotFound
from morelli.generators.style_gan import Modulated
from morelli.numerics.linear import Conv, Dense
from morelli.numerics.sums import LinearSum, Resampled


class Module(nn.Module):
    """A module from a few layers and what to do with them and the input."""

    def __init__(self, run: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.run = nn.ModuleDict(layers), run

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.run(self.layers, *inputs)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def find(module: nn.Module, latent: tuple[int, ...] = (4, 6, 6), **options: object) -> TorchGenerator:
    return TorchGenerator(module, latent, announce=lambda line: None, **options)  # type: ignore[arg-type]


def kinds(generator: TorchGenerator) -> list[type]:
    linear = generator.head(4).map
    return [type(part) for part in linear.parts] if isinstance(linear, LinearSum) else [type(linear)]


def assert_reproduces(generator: TorchGenerator) -> None:
    head = generator.head(20, 3)
    activations, samples = generator.activations(20, 3), generator.samples(20, 3)
    torch.testing.assert_close(head.forward(activations), samples, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(head.anchor, activations.mean(0), rtol=1e-4, atol=1e-5)


def test_the_check_can_fail() -> None:
    generator = toy_generator("skips")
    activations = generator.activations(4, 3)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(generator.head(20).forward(activations.roll(1, 0)), generator.samples(4, 3))


def test_a_small_stylegan() -> None:
    """Noise inputs follow from the seed; toRGB's modulation is on its input, so that the kernel is one."""
    generator = find(initialised_style(), (12, 1, 1), batch=8)
    assert "up-sampling of 16×16 + layer 'to_rgb.3.conv' (convolution, weight 3×8×1×1)" in generator.found
    assert kinds(generator) == [Resampled, Conv]
    assert generator.activation == Clip(-1.0, 1.0)
    assert torch.equal(generator.samples(8, 1), generator.samples(8, 1))
    assert_reproduces(generator)


def _fused(m: nn.ModuleDict, z: Tensor) -> Tensor:
    """toRGB as NVIDIA's code computes it: a kernel for each sample, the samples as groups; and its up-sampling.

    Source: stylegan2-ada-pytorch, modulated_conv2d (fused) and upfirdn2d (reference), re-written.
    """
    n, style = len(z), 1 + 0.5 * z.mean((2, 3))
    x = m["block"](z).relu()
    weight = m["rgb"].weight[None] * style[:, None, :, None, None]
    merged = functional.conv2d(x.reshape(1, -1, *x.shape[2:]), weight.reshape(-1, *weight.shape[2:]), groups=n)
    colours = (merged.reshape(n, -1, *x.shape[2:]) + m["rgb"].bias.reshape(1, -1, 1, 1)).clamp(-256, 256)
    small = m["small"](functional.avg_pool2d(z, 2))
    spread = functional.pad(small.reshape(n, 3, 3, 1, 3, 1), [0, 1, 0, 0, 0, 1]).reshape(n, 3, 6, 6)
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    taps = (line[:, None] * line).repeat(3, 1, 1, 1)
    image = functional.conv2d(functional.pad(spread, [2, 1, 2, 1]), taps, groups=3)[:, :, ::1, ::1]
    return image.add_(colours.to(torch.float32))


def test_modulated_kernels_side_by_side() -> None:
    generator = find(
        Module(_fused, block=nn.Conv2d(4, 4, 3, padding=1), rgb=nn.Conv2d(4, 3, 1), small=nn.Conv2d(4, 3, 1))
    )
    assert "modulated at its input" in generator.found
    assert sorted(kinds(generator), key=str) == [Conv, Resampled]
    assert generator.activation == Identity()
    assert_reproduces(generator)


def test_a_modulated_layer_alone_needs_no_sum() -> None:
    def run(m: nn.ModuleDict, z: Tensor) -> Tensor:
        weight = m["rgb"].weight[None] * (2 + z.mean((2, 3)))[:, None, :, None, None]
        merged = functional.conv2d(z.reshape(1, -1, 6, 6), weight.flatten(0, 1), padding=1, groups=len(z))
        return (merged.view(len(z), 3, 6, 6) + m["rgb"].bias.reshape(3, 1, 1)).tanh()

    generator = find(Module(run, rgb=nn.Conv2d(4, 3, 3, padding=1)))
    assert kinds(generator) == [Conv]
    assert_reproduces(generator)


@pytest.mark.parametrize(
    ("run", "found"),
    [
        (lambda m, z: (m["a"](z).relu() + m["b"](m["a"](z).relu())).tanh(), [Conv, Conv]),
        (lambda m, z: (m["b"](m["a"](z).relu()) / 2 - m["a"](z).sigmoid() * 0.5).tanh(), [Conv, Conv]),
        (lambda m, z: ((m["b"](z) + z) * 0.7 + 0.1).sigmoid(), [Conv, Conv]),
        (lambda m, z: z + m["b"](z) + m["a"](z.relu()), [Conv, Conv, Conv]),
        (lambda m, z: torch.add(m["a"](z), m["b"](z.relu()), alpha=-0.5) + m["a"].bias[:, None, None], [Conv, Conv]),
        (lambda m, z: m["a"](z).relu_().add_(m["b"](z)).mul_(0.5).tanh_(), [Conv, Conv]),
    ],
    ids=["residual", "minus, scaled", "input, shifted", "three", "alpha, bias", "in place"],
)
def test_residual_outputs(run: Callable[..., Tensor], found: list[type]) -> None:
    generator = find(Module(run, a=nn.Conv2d(4, 4, 3, padding=1), b=nn.Conv2d(4, 4, 3, padding=1)))
    assert kinds(generator) == found
    assert_reproduces(generator)


def test_rows_of_a_residual_network() -> None:
    generator = find(Module(lambda m, z: z + m["a"](z.relu()), a=nn.Linear(5, 5)), (5,))
    assert kinds(generator) == [Dense, Dense]
    assert_reproduces(generator)


def test_a_u_net_with_a_global_skip() -> None:
    """Concatenated features enter the last convolution; its result is added to the enlarged input."""

    def run(m: nn.ModuleDict, z: Tensor) -> Tensor:
        fine = m["first"](functional.interpolate(z, scale_factor=2)).relu()
        coarse = m["down"](fine).relu()
        up = functional.interpolate(m["middle"](coarse).relu(), scale_factor=2)
        made = m["last"](torch.cat([fine, up], 1))
        return (made + functional.interpolate(z[:, :3], scale_factor=2, mode="bicubic")).tanh()

    layers = {"first": nn.Conv2d(4, 4, 3, padding=1), "down": nn.Conv2d(4, 6, 4, 2, 1),
              "middle": nn.Conv2d(6, 6, 3, padding=1), "last": nn.Conv2d(10, 3, 3, padding=1)}  # fmt: skip
    generator = find(Module(run, **layers))
    assert kinds(generator) == [Conv, Resampled]
    assert generator.activation == Tanh()
    assert_reproduces(generator)


def test_weights_are_the_spread_of_what_enters() -> None:
    head = toy_generator("skips").head(500)
    assert isinstance(head.map, LinearSum)
    pieces = head.map.split(toy_generator("skips").activations(500, 1) - head.anchor)
    assert [float(piece.square().mean().sqrt()) for piece in pieces] == pytest.approx([1, 1], rel=0.3)
    assert head.covariance is not None
    assert head.covariance.shape == (9, 9)  # 3 channels of the small picture and 6 of the features
    assert not head.covariance[:3, 3:].any()


@pytest.mark.parametrize(
    ("run", "layers", "says"),
    [
        (lambda m, z: m["demodulated"](z, z.mean((2, 3)).repeat(1, 16)) + z[:, :3], {"demodulated": Modulated(4, 3, 3)},
         "no summand is a linear layer"),
        (lambda m, z: m["a"](z) + z.mean((1, 2, 3), keepdim=True), {"a": nn.Conv2d(4, 3, 1)}, "is spread over"),
        (lambda m, z: (m["a"](z) + z[:, :3]).softmax(1), {"a": nn.Conv2d(4, 3, 1)}, "no activation leads"),
        (lambda m, z: m["a"](z).clamp(-0.1, 0.1) + z[:, :3], {"a": nn.Conv2d(4, 3, 1)}, "do not add up"),
    ],
    ids=["demodulated", "spread", "softmax", "clamped inside"],
)  # fmt: skip
def test_refused_by_name(run: Callable[..., Tensor], layers: dict[str, nn.Module], says: str) -> None:
    with pytest.raises(HeadNotFound, match=says):
        find(Module(run, **layers))


def test_demodulated_kernels_side_by_side_are_refused() -> None:
    def run(m: nn.ModuleDict, z: Tensor) -> Tensor:
        weight = m["rgb"].weight[None] * (2 + z.mean((2, 3)))[:, None, :, None, None]
        weight = weight / weight.flatten(2).norm(dim=2)[..., None, None, None]
        return functional.conv2d(z.reshape(1, -1, 6, 6), weight.flatten(0, 1), groups=len(z)).view(len(z), 3, 6, 6)

    with pytest.raises(HeadNotFound, match="as by demodulation"):
        find(Module(run, rgb=nn.Conv2d(4, 3, 1)))


def test_another_path_is_refused() -> None:
    passes: list[int] = []

    def run(m: nn.ModuleDict, z: Tensor) -> Tensor:
        passes.append(0)
        return (z if len(passes) < 4 else z.relu()) + m["a"](z)

    with pytest.raises(HeadNotFound, match="another path"):
        find(Module(run, a=nn.Conv2d(4, 4, 1)))
