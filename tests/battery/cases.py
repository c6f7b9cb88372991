"""One row per map, solver, extractor, detector and method. Whoever adds one adds its row here.

`test_cases.py` compares these tables with the package's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from toys import toy_autoencoder, toy_features, toy_program

from morelli import Head, SampleSpec, Tanh
from morelli.detectors.conditional import ConditionalRecipe
from morelli.detectors.deep_sad import DeepSadRecipe
from morelli.detectors.distance import DistanceRecipe
from morelli.detectors.folds import FoldsRecipe
from morelli.detectors.lda import LdaRecipe
from morelli.detectors.mahalanobis import MahalanobisRecipe
from morelli.detectors.protocol import DetectorRecipe
from morelli.detectors.ridge import RidgeRecipe
from morelli.detectors.stacked import StackedRecipe
from morelli.detectors.template import TemplateRecipe
from morelli.features.baselines import LogDct, RawValues
from morelli.features.double_reconstruction import DoubleReconstruction
from morelli.features.full_inversion import FullInversion
from morelli.features.imprint import Imprint
from morelli.features.imprint_audio import SoundImprint
from morelli.features.inversion import Inversion
from morelli.features.latent_descent import LatentDescent
from morelli.features.latent_search import LatentSearch
from morelli.features.protocol import Extractor
from morelli.features.residual import NoiseResidual
from morelli.numerics.cropped import Cropped
from morelli.numerics.lasso import Solver
from morelli.numerics.linear import Conv, Dense, Geometry, LinearMap, TransposedConv
from morelli.numerics.shuffle import shuffled
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.interior_point import InteriorPoint
from morelli.numerics.solvers.least_squares import LeastSquares
from morelli.numerics.solvers.pdhg import Pdhg
from morelli.numerics.sums import LinearSum, Resampled


def _axes(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else value


def dense(inputs: int, outputs: int) -> tuple[LinearMap, nn.Module]:
    layer = _random(nn.Linear(inputs, outputs, bias=False))
    return Dense(layer.weight.data, (inputs,), (outputs,)), layer


def conv(in_shape: tuple[int, ...], out: int, kernel: Any, **options: Any) -> tuple[LinearMap, nn.Module]:
    axes = len(in_shape) - 1
    build = nn.Conv1d if axes == 1 else nn.Conv2d
    layer = _random(build(in_shape[0], out, kernel, bias=False, **options))
    return Conv(layer.weight.data, in_shape, _geometry(axes, options)), layer


def transposed(in_shape: tuple[int, ...], out: int, kernel: Any, **options: Any) -> tuple[LinearMap, nn.Module]:
    axes = len(in_shape) - 1
    build = nn.ConvTranspose1d if axes == 1 else nn.ConvTranspose2d
    layer = _random(build(in_shape[0], out, kernel, bias=False, **options))
    with torch.no_grad():
        out_shape = tuple(layer(torch.zeros(1, *in_shape, dtype=torch.float64)).shape[1:])
    return TransposedConv(layer.weight.data, in_shape, out_shape, _geometry(axes, options)), layer


def cropped(start: tuple[int, ...], size: tuple[int, ...]) -> tuple[LinearMap, nn.Module]:
    linear, layer = transposed((5, 4, 4), 3, 4, stride=2, padding=1)
    ends = [(a, a + n) for a, n in zip(start, size, strict=True)]
    return Cropped(linear, start, (3, *size)), nn.Sequential(layer, _Crop(ends))


def shuffle(blocks_first: bool, layer: tuple[LinearMap, nn.Module]) -> tuple[LinearMap, nn.Module]:
    linear, module = layer
    after = [nn.PixelShuffle(2)]
    if blocks_first:
        after = [nn.Unflatten(1, (4, -1)), _Swap(), nn.Flatten(1, 2), *after]
    return shuffled(linear, 2, blocks_first=blocks_first), nn.Sequential(module, *after)


class _Crop(nn.Module):
    def __init__(self, ends: list[tuple[int, int]]) -> None:
        super().__init__()
        self.ends = ends

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[(..., *(slice(*span) for span in self.ends))]


class _Swap(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


def resampled(in_shape: tuple[int, ...], mode: str) -> tuple[LinearMap, nn.Module]:
    """Enlarged by two; the matrices are read off one axis at a time."""
    channels, *sizes = in_shape
    corners = None if mode == "nearest" else False
    line = nn.Upsample(scale_factor=2, mode="nearest" if mode == "nearest" else "linear", align_corners=corners)
    axes = tuple(line(torch.eye(size, dtype=torch.float64)[None])[0].T for size in sizes)
    return Resampled(axes, torch.eye(channels, dtype=torch.float64)), nn.Upsample(
        scale_factor=2, mode=mode, align_corners=corners
    )


class _Sum(nn.Module):
    def __init__(self, layers: list[nn.Module], weights: tuple[float, ...], linear: LinearSum) -> None:
        super().__init__()
        self.layers, self.weights, self.linear = nn.ModuleList(layers), weights, linear

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        first, second = (
            weight * layer(piece)
            for weight, layer, piece in zip(self.weights, self.layers, self.linear.split(z), strict=True)
        )
        return first + second


def stacked(*pairs: tuple[LinearMap, nn.Module]) -> tuple[LinearMap, nn.Module]:
    weights = (0.5, 2.0)
    linear = LinearSum(tuple(linear for linear, _ in pairs), weights)
    return linear, _Sum([layer for _, layer in pairs], weights, linear)


def _geometry(axes: int, options: dict[str, Any]) -> Geometry:
    stride, padding, dilation = (
        _axes(options.get(name, default), axes) for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    return Geometry(stride, padding, dilation, options.get("groups", 1))


def _random(layer: nn.Module) -> Any:
    rng = torch.Generator().manual_seed(0)
    layer = layer.double().requires_grad_(False)
    layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng, dtype=torch.float64))
    return layer


# name → (the map, the torch layer it stands for), in float64. The first word is the name in `numerics.maps.MAPS`.
MAPS: dict[str, Callable[[], tuple[LinearMap, nn.Module]]] = {
    "dense": lambda: dense(7, 4),
    "conv 2d": lambda: conv((3, 6, 5), 4, 3, padding=1),
    "conv 2d, stride leaves a rest": lambda: conv((3, 6, 7), 4, 3, stride=(2, 3)),
    "conv 2d, dilated, oblong": lambda: conv((2, 9, 8), 3, (3, 2), padding=(2, 0), dilation=(2, 3)),
    "conv 2d, groups": lambda: conv((4, 5, 5), 6, 3, groups=2),
    "conv 2d, many inputs": lambda: conv((20, 5, 5), 3, 3, stride=2, padding=1),
    "conv 1d": lambda: conv((2, 12), 3, 7, padding=3),
    "conv 1d, everything": lambda: conv((4, 17), 6, 3, stride=3, padding=2, dilation=2, groups=2),
    "transposed_conv 2d, DCGAN's": lambda: transposed((5, 4, 4), 3, 4, stride=2, padding=1),
    "transposed_conv 2d, output padding": lambda: transposed((3, 4, 3), 2, 3, stride=(2, 3), output_padding=(1, 2)),
    "transposed_conv 2d, output padding beyond the stride": lambda: transposed(
        (3, 4, 5), 2, 3, stride=1, dilation=3, padding=1, output_padding=2
    ),
    "transposed_conv 2d, groups": lambda: transposed((4, 3, 4), 6, 3, stride=2, padding=1, groups=2),
    "transposed_conv 2d, many outputs": lambda: transposed((3, 3, 4), 20, 3, stride=2, output_padding=1),
    "transposed_conv 1d": lambda: transposed((3, 8), 2, 4, stride=2, padding=1),
    "transposed_conv 1d, output padding beyond the stride": lambda: transposed(
        (2, 6), 3, 3, stride=2, dilation=4, output_padding=3
    ),
    "transposed_conv 1d, groups": lambda: transposed((4, 5), 2, 5, stride=3, padding=2, dilation=2, groups=2),
    "cropped 2d": lambda: cropped((1, 1), (6, 6)),
    "cropped 2d, one corner": lambda: cropped((0, 2), (7, 5)),
    "transposed_conv 2d, a shuffled convolution": lambda: shuffle(False, conv((3, 5, 4), 12, 3, padding=1)),
    "transposed_conv 2d, shuffled, dilated, groups": lambda: shuffle(
        True, conv((4, 6, 5), 8, (3, 2), dilation=2, padding=(2, 0), groups=2)
    ),
    "transposed_conv 2d, shuffled again": lambda: shuffle(
        False, transposed((4, 3, 4), 8, 3, stride=2, padding=1, output_padding=1, groups=2)
    ),
    "resampled 2d, bilinear, oblong": lambda: resampled((3, 4, 5), "bilinear"),
    "resampled 1d, nearest": lambda: resampled((2, 6), "nearest"),
    "stacked toRGB and a skip": lambda: stacked(conv((4, 8, 6), 3, 3, padding=1), resampled((3, 4, 3), "bilinear")),
    "stacked of tables": lambda: stacked(dense(7, 4), dense(3, 4)),
}

# module in numerics/solvers → a solver that gets close to the optimum of a toy
SOLVERS: dict[str, Solver] = {
    "fista": Fista(tolerance=1e-3, max_steps=20_000),
    "interior_point": InteriorPoint(),
    "pdhg": Pdhg(tolerance=1e-3, max_steps=20_000),
}

# module in numerics/solvers → a closed form, which solves another problem than the lasso
CLOSED_FORMS: dict[str, Solver] = {"least_squares": LeastSquares()}

# name in attribution.kinds.EXTRACTORS → from the head of a toy that makes images
EXTRACTORS: dict[str, Callable[[Head], Extractor]] = {
    "inversion": lambda head: Inversion(head, weight=1e-2, solver=Fista(tolerance=0.05)),
    "raw": lambda head: RawValues(SampleSpec(head.map.out_shape, head.activation.low, head.activation.high), stride=2),
    "log_dct": lambda head: LogDct(SampleSpec(head.map.out_shape, head.activation.low, head.activation.high), crop=6),
    "full_inversion": lambda head: FullInversion(
        toy_program(head),
        SampleSpec(head.map.out_shape, head.activation.low, head.activation.high),
        restarts=4,
        steps=12,
        perceptual=None if head.activation == Tanh() else toy_features(),
    ),
    "latent_search": lambda head: LatentSearch(
        toy_program(head),
        SampleSpec(head.map.out_shape, head.activation.low, head.activation.high),
        restarts=2,
        steps=2,  # with more the excess is zero: toys' samples are not rounded
    ),
    "double_reconstruction": lambda head: DoubleReconstruction(
        toy_autoencoder(),
        SampleSpec(head.map.out_shape, head.activation.low, head.activation.high),
        bands=head.activation == Tanh(),
    ),
    "latent_descent": lambda head: LatentDescent(
        toy_autoencoder(), SampleSpec(head.map.out_shape, head.activation.low, head.activation.high), steps=3
    ),
    "imprint": lambda head: Imprint(SampleSpec(head.map.out_shape, head.activation.low, head.activation.high)),
    "residual": lambda head: NoiseResidual(SampleSpec(head.map.out_shape, head.activation.low, head.activation.high)),
}

# the same for heads that make sound
SOUND_EXTRACTORS: dict[str, Callable[[Head], Extractor]] = {
    "sound_imprint": lambda head: SoundImprint(SampleSpec(head.map.out_shape), 32),
}

# name in attribution.kinds.DETECTORS and RECIPES → a recipe that is quick on toys
DETECTORS: dict[str, DetectorRecipe] = {
    "deep_sad": DeepSadRecipe(epochs=4, drops=(3,), batch=32),
    "lda": LdaRecipe(),
    "mahalanobis": MahalanobisRecipe(),
    "template": TemplateRecipe(),
    "ridge": RidgeRecipe(),
    "stacked": StackedRecipe(),
    "distance": DistanceRecipe(),
    "conditional": ConditionalRecipe(8, per_unknown=0.5),
    "folds": FoldsRecipe(LdaRecipe(), 3),
}

# name in attribution.kinds.METHODS → the types of its extractor and its recipe
METHODS: dict[str, tuple[str, str]] = {
    "imprint": ("imprint", "stacked"),
    "flipad": ("inversion", "deep_sad"),
    "rawpad": ("raw", "deep_sad"),
    "dctpad": ("log_dct", "deep_sad"),
    "sm-f": ("residual", "template"),
    "sm-inv": ("full_inversion", "distance"),
    "sm-inv-perceptual": ("full_inversion", "distance"),
    "latent": ("latent_search", "distance"),
    "aedr": ("double_reconstruction", "distance"),
    "reconstruction": ("double_reconstruction", "conditional"),
}
