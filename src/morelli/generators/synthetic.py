"""Synthetic generators: small autoencoders whose last blocks vary, standing in for the generators of the world.

Source: Yang et al., "Model Synthesis for Zero-Shot Model Attribution", arXiv 2307.15977, {K, L, U, A, N, S}. What the
paper leaves open is our choice: hidden channels, order within a block, inputs in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from morelli.errors import OutOfRange

CHANNELS = (3, 32, 64, 64, 64)  # of the image, and after each down block
LEAST = 16  # hidden channels of a block that ends in an image
GROUPS = 8
LEAK = 0.2
SEEDS = 20  # of each blueprint in the paper


@dataclass(frozen=True)
class Blueprint:
    """How a synthetic generator is built. The first six settings are the paper's {K, L, U, A, N, S}.

    Attributes:
        blocks: K, of down- and of up-sampling; the paper has 1 and 2.
        convolutions: L, in each up block, the first of which enlarges.
        upsampling, activation, normalisation: U, A and N, names in the tables below.
        order: S: "after", the convolution comes first, or "before", normalisation and activation do.
        residual: beyond the paper: every up block begins with a residual block of group norm and SiLU.
        latent: beyond the paper: channels of a bottleneck in the middle; 0 has none.
    Raises:
        OutOfRange: a setting that does not exist, or a patch un-embedding or modulation with one that it ignores.
    """

    blocks: int
    convolutions: int
    upsampling: str
    activation: str
    normalisation: str
    order: str
    residual: bool = False
    latent: int = 0

    def __post_init__(self) -> None:
        allowed: dict[str, tuple[Any, ...]] = {
            "blocks": (1, 2, 3, 4),
            "convolutions": (1, 2),
            "upsampling": (*UPSAMPLINGS, PATCH),
            "activation": tuple(ACTIVATIONS),
            "normalisation": (*NORMALISATIONS, MODULATED),
            "order": ("before", "after"),
        }
        for name, choices in allowed.items():
            if getattr(self, name) not in choices:
                given = getattr(self, name)
                raise OutOfRange(f"a blueprint's {name} is {given!r}; expected one of {', '.join(map(str, choices))}.")
        if not 0 <= self.latent <= CHANNELS[-1]:
            raise OutOfRange(f"a blueprint's latent has {self.latent} channels; expected 0 (none) to {CHANNELS[-1]}.")
        if self.upsampling == PATCH and (self.residual or self.order == "after" or self.normalisation == MODULATED):
            raise OutOfRange("a patch un-embedding has the order 'before', and neither residual blocks nor modulation.")
        if self.normalisation == MODULATED and (self.order == "before" or self.upsampling.startswith("transposed")):
            raise OutOfRange("modulation has the order 'after', and no transposed convolution.")

    @property
    def name(self) -> str:
        """Readable and unique, for example "k2-l1-nearest-relu-batch-after"."""
        beyond = "-residual" * self.residual + f"-latent{self.latent}" * bool(self.latent)
        parts = (self.upsampling, self.activation, self.normalisation, self.order)
        return f"k{self.blocks}-l{self.convolutions}-{'-'.join(parts)}{beyond}"

    @property
    def multiple(self) -> int:
        """What the sides of an image must be a multiple of."""
        return int(2**self.blocks)

    def settings(self) -> dict[str, Any]:
        return asdict(self)


class SyntheticGenerator(nn.Module):
    """[n, 3, h, w] in [0, 1] → the same shape, near [0, 1]: the image again, with this generator's traces.

    Sides must be multiples of 2^K. In evaluation mode samples do not influence each other.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.blueprint = blueprint
        widths = CHANNELS[: blueprint.blocks + 1]
        layers: list[nn.Module] = [_down(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        if blueprint.latent:
            layers.append(nn.Conv2d(widths[-1], blueprint.latent, 1))
            layers.append(nn.Conv2d(blueprint.latent, widths[-1], 3, padding=1))
        if blueprint.upsampling == PATCH:
            layers.append(_unembedding(blueprint, widths[-1]))
        else:
            layers += [_up(blueprint, b, a) for a, b in reversed(list(zip(widths, widths[1:], strict=False)))]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.layers(images)
        return made


def build(blueprint: Blueprint, seed: int) -> SyntheticGenerator:
    """A fresh generator; its weights are drawn from the blueprint's name and the seed, as some blueprints are alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(sha256(f"{blueprint.name} {seed}".encode()).digest()[:7], "big"))
        return SyntheticGenerator(blueprint)


class Modulated(nn.Module):
    """A 3×3 convolution whose input channels are scaled by a style, and whose outputs are brought to unit norm again.

    Source: Karras et al., StyleGAN2, equations 1 and 3; the style is linear in the input's own channel means.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, 3, 3) / (3 * before**0.5))
        self.bias = nn.Parameter(torch.zeros(after))
        self.style = nn.Linear(before, before)

    def forward(self, x: Tensor) -> Tensor:
        style = 1 + self.style(x.mean((2, 3)))
        norm = (style.square() @ self.weight.square().sum((2, 3)).T + 1e-8).rsqrt()
        made = functional.conv2d(x * style[:, :, None, None], self.weight, padding=1)
        return made * norm[:, :, None, None] + self.bias[:, None, None]


class Residual(nn.Module):
    """x + two convolutions, each after group norm and SiLU, as in the decoders of latent diffusion."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = [nn.GroupNorm(GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)]
        self.layers = nn.Sequential(*half, nn.GroupNorm(GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = x + self.layers(x)
        return made


class Blur(nn.Module):
    """The [1, 2, 1] kernel in both directions, as after upsampling in StyleGAN."""

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
        return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4


def _enlarged(*layers: nn.Module) -> Callable[[Callable[[int, int], nn.Module], int, int], list[nn.Module]]:
    return lambda convolution, before, after: [*layers, convolution(before, after)]


PATCH, MODULATED = "patch", "modulated"
# name → layers that enlarge by two, the block's first convolution among them; the first three are the paper's
UPSAMPLINGS: dict[str, Callable[[Callable[[int, int], nn.Module], int, int], list[nn.Module]]] = {
    "nearest": _enlarged(nn.Upsample(scale_factor=2, mode="nearest")),
    "bilinear": _enlarged(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)),
    "transposed": lambda _, before, after: [nn.ConvTranspose2d(before, after, 2, 2)],
    "transposed4": lambda _, before, after: [nn.ConvTranspose2d(before, after, 4, 2, 1)],
    "shuffle": lambda convolution, before, after: [convolution(before, 4 * after), nn.PixelShuffle(2)],
    "blur": _enlarged(nn.Upsample(scale_factor=2, mode="nearest"), Blur()),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "leaky": lambda: nn.LeakyReLU(LEAK),
}
NORMALISATIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "group": lambda channels: nn.GroupNorm(1 if channels % GROUPS else GROUPS, channels),
}
PAPER = tuple(
    Blueprint(*settings)
    for settings in product(
        (1, 2),
        (1, 2),
        ("nearest", "bilinear", "transposed"),
        ("none", "relu", "sigmoid", "tanh"),
        ("none", "batch", "instance"),
        ("before", "after"),
    )
)
BEYOND = (
    *(Blueprint(*s) for s in product((1, 2), (1, 2), ("transposed4", "shuffle", "blur"), ("relu", "leaky", "tanh"),
                                     ("none", "batch"), ("before", "after"))),
    *(Blueprint(*s) for s in product((1, 2), (1, 2), ("nearest", "blur"), ("leaky", "silu"), (MODULATED,), ("after",))),
    *(Blueprint(*s, residual=True) for s in product((1, 2), (1, 2), ("nearest", "transposed4", "shuffle"), ("silu",),
                                                    ("group",), ("before",))),
    *(Blueprint(*s, latent=c) for c in (4, 16) for s in product((3,), (1, 2), ("nearest", "shuffle"), ("silu", "relu"),
                                                                ("group", "none"), ("before",))),
    *(Blueprint(*s) for s in product((3, 4), (1,), ("nearest", "bilinear", "transposed", "transposed4", "shuffle"),
                                     ("relu", "leaky"), ("none", "batch"), ("before",))),
    *(Blueprint(*s) for s in product((1, 2, 3), (1, 2), (PATCH,), ("none", "silu"), ("none",), ("before",))),
)  # fmt: skip


def _down(before: int, after: int) -> nn.Sequential:
    """The paper's down block, the same in all blueprints."""
    return nn.Sequential(
        nn.AvgPool2d(2),
        nn.Conv2d(before, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.BatchNorm2d(after),
    )


def _up(blueprint: Blueprint, before: int, after: int) -> nn.Sequential:
    """Convolutions with their normalisation and activation; the first one enlarges."""
    modulated = blueprint.normalisation == MODULATED
    convolution = Modulated if modulated else lambda a, b: nn.Conv2d(a, b, 3, padding=1)
    normalisation = NORMALISATIONS["none" if modulated else blueprint.normalisation]
    widths = [before, *([max(after, LEAST)] if blueprint.convolutions == 2 else []), after]
    layers: list[nn.Module] = [Residual(before)] if blueprint.residual else []
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        enlarge = UPSAMPLINGS[blueprint.upsampling]
        core = enlarge(convolution, a, b) if i == 0 else [convolution(a, b)]
        width = b if blueprint.order == "after" else a
        around = [normalisation(width), ACTIVATIONS[blueprint.activation]()]
        layers += [*core, *around] if blueprint.order == "after" else [*around, *core]
    return nn.Sequential(*layers)


def _unembedding(blueprint: Blueprint, before: int) -> nn.Sequential:
    """All blocks at once: every place becomes a patch of pixels by one linear map, as at the end of a transformer."""
    side = blueprint.multiple
    mix = [nn.Conv2d(before, before, 3, padding=1)] if blueprint.convolutions == 2 else []
    return nn.Sequential(
        *mix,
        NORMALISATIONS[blueprint.normalisation](before),
        ACTIVATIONS[blueprint.activation](),
        nn.Conv2d(before, 3 * side * side, 1),
        nn.PixelShuffle(side),
    )
