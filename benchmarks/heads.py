"""What the inversion benchmark inverts: three heads, with samples and the published solver for each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from paper_fista import PaperFista
from torch import nn

from morelli.features.protocol import SampleSpec
from morelli.generators.small_gans import build_generator, initialise
from morelli.generators.torch_module import TorchGenerator
from morelli.numerics.activation import Identity
from morelli.numerics.fidelity import Cells
from morelli.numerics.head import Head
from morelli.numerics.lasso import LassoProblem
from morelli.numerics.linear import Dense
from morelli.storage.generators import load_generator, shipped_generators
from morelli.storage.images import from_eight_bits, to_eight_bits

WEIGHT = 5e-4  # α of the paper for small GANs and Redwine


@dataclass(frozen=True)
class Plan:
    """How much is run. `draws`: for the anchor."""

    images: int = 16
    rows: int = 10_000
    paper_steps: int = 10_000
    reference_steps: int = 20_000
    paper_repeats: int = 3
    repeats: int = 3
    draws: int = 5_000
    quick: bool = False
    peak: bool = True


QUICK = Plan(8, 500, 2_000, 1_000, paper_repeats=1, repeats=2, draws=128, quick=True)


@dataclass(frozen=True, eq=False)
class Case:
    """One head, samples to invert, and the published solver for it. `origin`: where the weights come from."""

    name: str
    origin: str
    head: Head
    problem: LassoProblem
    paper: PaperFista


def gan_case(family: str, name: str, plan: Plan) -> Case:
    """A shipped generator of this family, or seeded random weights, with 8-bit versions of its own samples."""
    shipped = [entry for entry in shipped_generators() if entry.endswith(family)]
    module, origin = (load_generator(shipped[0]), shipped[0]) if shipped else (random_gan(family), "random weights")
    generator = TorchGenerator(module, (100, 1, 1), announce=lambda _: None)
    head, samples = generator.head(plan.draws, seed=0), generator.samples(plan.images, seed=1)
    spec = SampleSpec(head.map.out_shape, head.activation.low, head.activation.high)
    problem = LassoProblem(head.map, Cells.at(head.target(from_eight_bits(to_eight_bits(samples, spec), spec))), WEIGHT)
    shapes = "×".join(map(str, head.map.in_shape)) + " → " + "×".join(map(str, head.map.out_shape))
    paper = PaperFista(start=head.anchor, max_steps=plan.paper_steps)
    return Case(f"{name} {shapes}", origin, head, problem, paper)


def random_gan(family: str, width: int = 64) -> nn.Module:
    """Untrained, but with batch-norm statistics of its own activations, so that anchor and samples are in scale."""
    module, rng = build_generator(family, width), torch.Generator().manual_seed(0)
    initialise(module, rng)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # cumulative average
    for _ in range(4):
        module(torch.randn(32, 100, 1, 1, generator=rng))
    return module.eval()


def table_case(plan: Plan, inputs: int = 300, columns: int = 11) -> Case:
    """Linear 300 → 11 as in the paper's KL-WGAN; random weights, ReLU activations, columns of unit variance."""
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(columns, inputs, generator=rng)
    activations = torch.randn(plan.rows, inputs, generator=rng).relu()
    anchor = torch.full((inputs,), 1 / math.sqrt(2 * math.pi))  # the mean of such activations
    weight = weight / (weight.norm(dim=1, keepdim=True) * math.sqrt(0.5 - 0.5 / math.pi))  # by the activations' spread
    head = Head(Dense(weight, (inputs,), (columns,)), torch.zeros(columns), Identity(), anchor)
    problem = LassoProblem(head.map, Cells.at(head.target(head.forward(activations))), WEIGHT)
    paper = PaperFista(0.001, head.anchor, 1e-4, plan.paper_steps)
    return Case(f"Linear {inputs} → {columns}", "random weights", head, problem, paper)


def cases(plan: Plan) -> Iterable[Case]:
    yield gan_case("dcgan", "ConvTranspose2d", plan)
    yield gan_case("lsgan", "Conv2d", plan)
    yield table_case(plan)
