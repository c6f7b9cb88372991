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
from morelli.features.inversion import Inversion
from morelli.features.latent_search import LatentSearch
from morelli.features.protocol import Extractor
from morelli.features.residual import NoiseResidual
from morelli.numerics.lasso import Solver
from morelli.numerics.linear import Conv, Dense, Geometry, LinearMap, TransposedConv
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.interior_point import InteriorPoint
from morelli.numerics.solvers.least_squares import LeastSquares
from morelli.numerics.solvers.pdhg import Pdhg


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


# name → (the map, the torch layer it stands for), in float64. The first word is the name in `numerics.linear.MAPS`.
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
    "imprint": lambda head: Imprint(SampleSpec(head.map.out_shape, head.activation.low, head.activation.high)),
    "residual": lambda head: NoiseResidual(SampleSpec(head.map.out_shape, head.activation.low, head.activation.high)),
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
