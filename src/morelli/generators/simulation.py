"""What a decoder's last blocks would make: pictures from their weights alone.

Nobody knows which activations the rest of the decoder sends in. Two guesses are put together. White noise, brought to
the statistics of a batch norm where one comes first. And what a small encoder sends in that is trained in front of the
frozen blocks until pictures come out again: what it cannot undo is what the blocks leave in every picture.

These pictures are drawn here (`leaves`), unless photographs are given. Sources: Lee, Mumford & Huang, IJCV 2001 (dead
leaves have the statistics of natural images); Yin et al., CVPR 2020 (activations held to batch norms' statistics). The
combination is ours; experiments/weights has what it is worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from morelli.errors import MismatchError

SIDE = 64
LEAVES, RADII = 160, (1.5, 40.0)  # of a picture; pixels
WIDTH = 32  # channels of the encoder's first block
TURN = 2 * math.pi


@dataclass(frozen=True, eq=False)
class Tail:
    """The last blocks of a decoder: activations [n, channels, h, w] → [n, 3 or 1, factor·h, factor·w], about.

    Attributes:
        low, high: what stands for black and white.
        statistics: mean and variance [channels] of the activations, where a batch norm tells them.
    """

    module: nn.Module
    channels: int
    factor: int
    low: float = 0.0
    high: float = 1.0
    statistics: tuple[Tensor, Tensor] | None = None

    def pictures(self, activations: Tensor) -> Tensor:
        """[n, channels, h, w] → [n, 3, 64, 64], where black is 0 and white 1; not clamped."""
        made = (self.module(activations).float() - self.low) / (self.high - self.low)
        top, left = ((side - SIDE) // 2 for side in made.shape[2:])
        return made[..., top : top + SIDE, left : left + SIDE].expand(-1, 3, -1, -1)

    @cached_property
    def side(self) -> int:
        """Of the activations that make 64 pixels. Raises MismatchError where there is none."""
        for side in range(max(1, SIDE // self.factor), SIDE + 9):
            try:
                with torch.no_grad():
                    shape = self.module(torch.zeros(1, self.channels, side, side)).shape
            except RuntimeError as error:
                raise MismatchError(f"the layers do not fit each other ({str(error).splitlines()[0][:120]}).") from None
            if min(shape[2:]) >= SIDE:
                return side
        raise MismatchError(f"the layers make {tuple(shape[1:])} of {side} pixels a side; expected more than 64.")


@dataclass(frozen=True)
class SimulationSettings:
    """How pictures are simulated.

    Attributes:
        images: how many are made of each kind. steps, batch, learning_rate: of the encoder.
        held: weight of the distance from the batch norms' running statistics.
    """

    images: int = 12
    steps: int = 40
    batch: int = 8
    learning_rate: float = 3e-3
    held: float = 0.01
    seed: int = 0


def simulate(
    tail: Tail,
    settings: SimulationSettings | None = None,
    photographs: Tensor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Pictures uint8 [2·images, 3, 64, 64] as these blocks would make them: half copies, half from noise.

    Raises MismatchError; see `copies`.
    """
    settings = settings or SimulationSettings()
    return torch.cat([copies(tail, settings, photographs, progress), noises(tail, settings)])


@torch.no_grad()
def noises(tail: Tail, settings: SimulationSettings) -> Tensor:
    """uint8 [images, 3, 64, 64] from white noise."""
    rng = torch.Generator().manual_seed(settings.seed)
    activations = torch.randn(settings.images, tail.channels, tail.side, tail.side, generator=rng)
    if tail.statistics is not None:
        mean, variance = (x[:, None, None] for x in tail.statistics)
        activations = mean + variance.clamp_min(0).sqrt() * activations
    tail.module.eval()
    return to_bytes(tail.pictures(activations))


def to_bytes(pictures: Tensor) -> Tensor:
    """[0, 1] → what 8-bit files hold."""
    return (pictures * 255).round().clamp(0, 255).to(torch.uint8)


def copies(
    tail: Tail,
    settings: SimulationSettings,
    photographs: Tensor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """uint8 [images, 3, 64, 64]: pictures as they come out again.

    Args:
        photographs: [n, 3, 64, 64] in [0, 1], more than `images`; the first are what comes out again, the others
            what the encoder is trained on.
    Raises:
        MismatchError: the blocks do not make 64 pixels, or not of one or three channels; too few photographs.
    """
    count = settings.images
    pictures = leaves(8 * count, settings.seed) if photographs is None else photographs
    if len(pictures) < 2 * count:
        raise MismatchError(f"{len(pictures)} photographs are too few; expected {2 * count} or more.")
    encoder = _trained(tail, pictures[count:], settings, progress)
    with torch.no_grad():
        return to_bytes(tail.pictures(encoder(_fitted(pictures[:count], tail))))


def _trained(
    tail: Tail, pictures: Tensor, settings: SimulationSettings, progress: Callable[[int], None] | None
) -> nn.Module:
    tail.module.eval().requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = _encoder(tail).train()
    adam = torch.optim.Adam(encoder.parameters(), settings.learning_rate)
    rng = torch.Generator().manual_seed(settings.seed)
    norms = [layer for layer in tail.module.modules() if isinstance(layer, nn.BatchNorm2d)] if settings.held else []
    for _ in range(settings.steps):
        chosen = pictures[torch.randint(len(pictures), (settings.batch,), generator=rng)]
        strays: list[Tensor] = []
        hooks = [layer.register_forward_pre_hook(_stray(strays)) for layer in norms]
        error = (tail.pictures(encoder(_fitted(chosen, tail))) - chosen).square().mean()
        for hook in hooks:
            hook.remove()
        adam.zero_grad()
        (error + settings.held * sum(strays)).backward()
        adam.step()
        if progress:
            progress(1)
    return encoder.eval()


def _stray(strays: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """Adds how far a batch norm's inputs are from its running statistics, in units of these."""

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.BatchNorm2d)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        spread = (layer.running_var + layer.eps).sqrt()
        mean, now = inputs[0].mean((0, 2, 3)), inputs[0].std((0, 2, 3))
        strays.append(((mean - layer.running_mean) / spread).square().mean() + (now / spread - 1).square().mean())

    return hook


def _encoder(tail: Tail) -> nn.Sequential:
    """Halving blocks as in a bank's generators; activations leave with mean 0 and variance 1, or `statistics`."""
    depth = max(0, round(math.log2(tail.factor)))
    widths = [3, *(min(WIDTH * 2**i, 64) for i in range(max(1, depth) - 1)), tail.channels]
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        layers += [nn.AvgPool2d(2)] if i < depth else []
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1)]
        layers += [nn.BatchNorm2d(b)]
    if tail.statistics is not None:
        last = layers[-1]
        with torch.no_grad():
            last.bias.copy_(tail.statistics[0])  # type: ignore[operator]
            last.weight.copy_(tail.statistics[1].clamp_min(1e-8).sqrt())  # type: ignore[operator]
    return nn.Sequential(*layers)


def _fitted(pictures: Tensor, tail: Tail) -> Tensor:
    """Mirrored at the border where the blocks need more than 64 pixels to make 64."""
    missing = tail.side * 2 ** round(math.log2(tail.factor)) - SIDE
    before = missing // 2
    return functional.pad(pictures, (before, missing - before) * 2, mode="reflect") if missing > 0 else pictures


@lru_cache(maxsize=1)
def leaves(count: int, seed: int) -> Tensor:
    """[count, 3, 64, 64] in [0, 1]: ellipses of all sizes that cover each other, some with soft borders."""
    rng = torch.Generator().manual_seed(seed)
    at = torch.arange(SIDE).float()

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=rng)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=rng)

    pictures = uniform(3, 1, 1).expand(count, 3, SIDE, SIDE)
    for _ in range(LEAVES):
        share = RADII[0] / RADII[1]
        radius = RADII[0] / (uniform(1, 1) * (1 - share) + share)
        down, right = at[:, None] - uniform(1, 1) * SIDE, at - uniform(1, 1) * SIDE
        turn, flat = uniform(1, 1) * TURN, 0.4 + 0.6 * uniform(1, 1)
        along = right * turn.cos() + down * turn.sin()
        across = (down * turn.cos() - right * turn.sin()) / flat
        inside = torch.sigmoid((radius - (along.square() + across.square()).sqrt()) / (0.3 + 3 * uniform(1, 1) ** 3))
        shade = 0.01 * (normal(1, 1) * along + normal(1, 1) * across)
        colour = uniform(1, 1, 1) + 0.15 * normal(3, 1, 1) + shade[:, None]
        pictures = pictures + inside[:, None] * (colour - pictures)
    return pictures.clamp(0, 1)
