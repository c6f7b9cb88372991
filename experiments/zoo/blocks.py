"""What several generators of the zoo are made of."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 8  # channels that GroupNorm takes together


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // GROUP, channels)


def conv(before: int, after: int, *, zero: bool = False) -> nn.Conv2d:
    """3×3, the size is kept; `zero`: starts as nothing."""
    layer = nn.Conv2d(before, after, 3, padding=1)
    if zero:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer


class Residual(nn.Module):
    """GroupNorm, SiLU, convolution, twice, and what came in; as in Stable Diffusion's autoencoder and U-Net.

    Args:
        told: length of a vector that is added to the channels in the middle; 0 for none.
    """

    def __init__(self, before: int, after: int, told: int = 0) -> None:
        super().__init__()
        self.first = nn.Sequential(norm(before), nn.SiLU(), conv(before, after))
        self.second = nn.Sequential(norm(after), nn.SiLU(), conv(after, after, zero=True))
        self.told = nn.Linear(told, after) if told else None
        self.around = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, vector: Tensor | None = None) -> Tensor:
        middle = self.first(x)
        if self.told is not None:
            middle = middle + self.told(vector)[:, :, None, None]
        return self.around(x) + self.second(middle)


class Attention(nn.Module):
    """Between all places of a small map, and what came in."""

    def __init__(self, channels: int, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.norm = heads, norm(channels)
        self.into, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.into(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        query, key, value = (part.contiguous() for part in parts.unbind(1))
        found = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(found.transpose(-1, -2).reshape(x.shape))


def nearest(before: int, after: int) -> nn.Sequential:
    """Twice the size: nearest neighbours, then a convolution."""
    return nn.Sequential(nn.Upsample(scale_factor=2), conv(before, after))


def as_signal(images: Tensor) -> Tensor:
    """[0, 1] → [−1, 1]."""
    return 2 * images - 1


def as_image(signal: Tensor) -> Tensor:
    """[−1, 1] → [0, 1]; what lies beyond stays beyond."""
    return (signal + 1) / 2


def stratified(n: int) -> Tensor:
    """n numbers between 0 and 1, one in each n-th, in any order."""
    return (torch.randperm(n) + torch.rand(n)) / n
