"""What the inversion benchmark inverts: five heads, with samples and the published solver's settings for each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from paper_fista import PaperFista
from torch import Tensor

from morelli.features.protocol import SampleSpec
from morelli.generators.torch_module import TorchGenerator
from morelli.numerics.fidelity import Cells
from morelli.numerics.lasso import LassoProblem
from morelli.numerics.linear import Conv, Dense, Geometry, LinearMap
from morelli.storage.generators import load_generator
from morelli.storage.images import from_eight_bits, to_eight_bits

WEIGHT, SD_WEIGHT = 5e-4, 1e-5  # α of the paper: small GANs and Redwine; Stable Diffusion
GAN_STEPS, SD_STEPS = 10_000, 1_000  # of the published solver
SAME = Geometry((1, 1), (1, 1), (1, 1))  # with a 3×3 kernel the output is as large as the input
RELU_MEAN = 1 / math.sqrt(2 * math.pi)  # of relu(N(0, 1)); its variance is ½ − 1/(2π)


@dataclass(frozen=True)
class Plan:
    """How much is run.

    Attributes:
        images: of each 64² GAN head; rows: of the dense head.
        known_images, known_rows: of those, the first few, whose optimum is computed and step counts are searched on.
        descent_rows: of the known ones, those that coordinate descent gets.
        draws: activations whose mean is the anchor.
        gan_steps, sd_steps: limits of the published solver; below GAN_STEPS and SD_STEPS only in the quick form.
        most, sd_most: steps after which our solvers give up on a goal.
        sd: channels and side of the Stable Diffusion head.
        sides: of the scaling table.
        thousand: images that "seconds per 1,000 images" is measured on.
        repeats: of every timing, unless it takes long; the median counts.
    """

    images: int = 96
    rows: int = 10_000
    known_images: int = 4
    known_rows: int = 500
    descent_rows: int = 500
    draws: int = 5_000
    gan_steps: int = GAN_STEPS
    sd_steps: int = SD_STEPS
    most: int = 20_000
    sd_most: int = 2_000
    sd: tuple[int, int] = (128, 256)
    sides: tuple[int, ...] = (64, 128, 256, 512, 1024)
    thousand: int = 192
    repeats: int = 3

    def on(self, device: str) -> Plan:
        """A GPU is idle with a few images."""
        return replace(self, images=max(self.images, 512), thousand=1_024) if device == "cuda" else self


QUICK = Plan(
    images=24,
    rows=500,
    known_images=2,
    descent_rows=100,
    draws=500,
    gan_steps=1_000,
    sd_steps=200,
    most=2_000,
    sd_most=1_000,
    sd=(64, 128),
    sides=(64, 128),
    thousand=48,
    repeats=2,
)


@dataclass(frozen=True, eq=False)
class Case:
    """One head, samples to invert, and the published solver for it.

    Attributes:
        title: layer and shapes; origin: where weights and samples come from.
        known: how many of the samples (the first ones) get an optimum.
        published: the paper's step limit; `paper.max_steps` is the one used here.
        most: steps after which our solvers give up on a goal.
    """

    title: str
    origin: str
    problem: LassoProblem
    paper: PaperFista
    known: int
    published: int
    most: int


def first(problem: LassoProblem, count: int) -> LassoProblem:
    """The same problem for the first `count` samples."""
    return replace(problem, fidelity=problem.fidelity.rows(torch.arange(min(count, len(problem.fidelity)))))


def gan(name: str, images: int, plan: Plan) -> Case:
    """A shipped generator, with 8-bit versions of its own samples."""
    generator = TorchGenerator(load_generator(name), (100, 1, 1), announce=lambda _: None)
    head, samples = generator.head(plan.draws, seed=0), generator.samples(images, seed=1)
    spec = SampleSpec(head.map.out_shape, head.activation.low, head.activation.high)
    problem = LassoProblem(head.map, Cells.at(head.target(from_eight_bits(to_eight_bits(samples, spec), spec))), WEIGHT)
    paper = PaperFista(0.025, head.anchor, max_steps=plan.gan_steps)
    return Case(_title(head.map), name, problem, paper, plan.known_images, GAN_STEPS, plan.most)


def conv3(channels: int, side: int, common: float = 0.0) -> Conv:
    """3×3 to 3 channels; weights N(common, 1/fan-in), seed 0."""
    weight = torch.randn(3, channels, 3, 3, generator=torch.Generator().manual_seed(0)) / math.sqrt(9 * channels)
    return Conv(weight + common, (channels, side, side), SAME)


def own_images(linear: LinearMap, images: int) -> Tensor:
    """Targets of activations relu(N(0, 1)), seed 1, in steps of 2/255 as after rounding to 8 bits."""
    z = torch.randn(images, *linear.in_shape, generator=torch.Generator().manual_seed(1)).relu()
    return (linear.apply(z - RELU_MEAN) * 127.5).round() / 127.5


def stable_diffusion(plan: Plan) -> Case:
    """The size and settings of the last layer of its decoder; one image."""
    linear = conv3(*plan.sd)
    problem = LassoProblem(linear, Cells.at(own_images(linear, 1)), SD_WEIGHT)
    paper = PaperFista(0.01, torch.full(linear.in_shape, RELU_MEAN), max_steps=plan.sd_steps)
    return Case(_title(linear), "random weights", problem, paper, 1, SD_STEPS, plan.sd_most)


def badly_conditioned(plan: Plan) -> Case:
    """All weights share 0.2, over three times their spread, so that one direction is far stronger than the others."""
    linear = conv3(32, 64, common=0.2)
    problem = LassoProblem(linear, Cells.at(own_images(linear, plan.images)), WEIGHT)
    paper = PaperFista(0.025, torch.full(linear.in_shape, RELU_MEAN), max_steps=plan.gan_steps)
    return Case(_title(linear), "random weights + 0.2", problem, paper, plan.known_images, GAN_STEPS, plan.most)


def dense(plan: Plan, inputs: int = 300, columns: int = 11) -> Case:
    """Linear 300 → 11 as in the paper's KL-WGAN; random weights, ReLU activations, columns of unit variance."""
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(columns, inputs, generator=rng)
    weight = weight / (weight.norm(dim=1, keepdim=True) * math.sqrt(0.5 - 0.5 / math.pi))
    linear = Dense(weight, (inputs,), (columns,))
    z = torch.randn(plan.rows, inputs, generator=rng).relu()
    problem = LassoProblem(linear, Cells.at(linear.apply(z - RELU_MEAN)), WEIGHT)
    paper = PaperFista(0.001, torch.full((inputs,), RELU_MEAN), 1e-4, plan.gan_steps)
    return Case(_title(linear), "random weights", problem, paper, plan.known_rows, GAN_STEPS, plan.most)


def _title(linear: LinearMap) -> str:
    shapes = ("×".join(map(str, shape)) for shape in (linear.in_shape, linear.out_shape))
    return f"{type(linear).__name__} {' → '.join(shapes)}"


CASES: dict[str, Callable[[Plan], Case]] = {
    "dcgan": lambda plan: gan("clothing-dcgan", plan.images, plan),
    "lsgan": lambda plan: gan("clothing-lsgan", plan.images, plan),
    "sd": stable_diffusion,
    "dense": dense,
    "ill": badly_conditioned,
}
