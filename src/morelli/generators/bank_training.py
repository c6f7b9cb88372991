"""Training synthetic generators: many seeds of one blueprint at once, each until it reproduces photographs well enough.

Source: arXiv 2307.15977: reconstruction alone, stopped at a residual of η = 0.005. We read η as the mean squared error
of values in [0, 1], smoothed over the last batches; the paper names neither a step limit nor an optimiser.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from morelli.generators.synthetic import Blueprint, SyntheticGenerator, build

MEMORY = 0.9  # of the smoothed residual
BATCHES = 1  # seed of the order in which photographs are shown


@dataclass(frozen=True)
class BankSettings:
    """How every synthetic generator of a bank is trained.

    Attributes:
        residual: η, the mean squared error in [0, 1] at which training stops.
        most_steps: where it stops at the latest; a blueprint that cannot copy an image (a sigmoid after instance
            normalisation, say) gets there and is kept: its traces are as real.
        batch: photographs in a step, the same for all generators.
    """

    residual: float = 0.005
    most_steps: int = 160
    least_steps: int = 20
    batch: int = 8
    learning_rate: float = 3e-3
    bf16: bool = False


@dataclass(frozen=True, eq=False)
class Trained:
    """A synthetic generator's weights, in evaluation mode, with what its training came to."""

    blueprint: Blueprint
    seed: int
    weights: dict[str, Tensor]
    residual: float
    steps: int

    def module(self) -> SyntheticGenerator:
        module = build(self.blueprint, self.seed)
        module.load_state_dict({name: tensor.to(module.state_dict()[name]) for name, tensor in self.weights.items()})
        return module.eval()


def train_together(
    blueprint: Blueprint, seeds: Sequence[int], photographs: Tensor, settings: BankSettings | None = None
) -> list[Trained]:
    """Train one synthetic generator per seed, many as one stacked network.

    Args:
        photographs: float [n, 3, h, w] in [0, 1], on the device to train on; sides multiples of 2^K.
    Returns:
        In the order of `seeds`. Each is what it would have been in any other company, but for rounding: weights come
        from each seed of its own, batches from the step alone, and Adam works entry by entry.
    """
    settings = settings or BankSettings()
    modules = [build(blueprint, seed).to(photographs.device).train() for seed in seeds]
    pile = Alone(modules[0]) if len(modules) == 1 else Stacked(modules)
    adam = torch.optim.Adam(pile.parameters, settings.learning_rate)
    rng = torch.Generator().manual_seed(BATCHES)
    smooth = torch.full((len(seeds),), float("nan"))
    found: dict[int, Trained] = {}
    for step in range(1, settings.most_steps + 1):
        chosen = torch.randint(len(photographs), (settings.batch,), generator=rng).to(photographs.device)
        with torch.autocast(photographs.device.type, torch.bfloat16, enabled=settings.bf16):
            errors = pile.errors(photographs[chosen])
        adam.zero_grad()
        errors.sum().backward()
        adam.step()
        now = errors.detach().cpu()
        smooth = torch.where(smooth.isnan(), now, MEMORY * smooth + (1 - MEMORY) * now)
        if step >= min(settings.least_steps, settings.most_steps):
            stopped = torch.full_like(smooth, step == settings.most_steps).bool() | (smooth <= settings.residual)
            for i in set(stopped.nonzero()[:, 0].tolist()) - set(found):
                found[i] = Trained(blueprint, seeds[i], pile.weights(i), float(smooth[i]), step)
        if len(found) == len(seeds):
            break
    return [found[i] for i in range(len(seeds))]


class Alone:
    """One generator, trained as it is: the fastest on a CPU."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parameters = list(module.parameters())

    def errors(self, images: Tensor) -> Tensor:
        """[n, 3, h, w] → [1], mean squared."""
        return (self.module(images).float() - images).square().mean()[None]

    def weights(self, i: int) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.module.state_dict().items()}


class Stacked:
    """Generators of one blueprint as one network over stacked weights: what a GPU wants."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.named, self.buffers = stack_module_state(modules)
        self.parameters = list(self.named.values())
        skeleton = copy.deepcopy(modules[0]).to("meta")

        def error(weights: dict[str, Tensor], statistics: dict[str, Tensor], images: Tensor) -> Tensor:
            made: Tensor = functional_call(skeleton, (weights, statistics), (images,))
            return (made.float() - images).square().mean()

        self._errors = vmap(error, in_dims=(0, 0, None))

    def errors(self, images: Tensor) -> Tensor:
        """[n, 3, h, w] → [generators], mean squared."""
        found: Tensor = self._errors(self.named, self.buffers, images)
        return found

    def weights(self, i: int) -> dict[str, Tensor]:
        return {name: tensor[i].detach().cpu().clone() for name, tensor in (self.named | self.buffers).items()}
