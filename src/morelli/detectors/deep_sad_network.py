"""The networks of Deep SAD, chosen by the shape of their input. No biases anywhere, batch norm without scale."""

from __future__ import annotations

import math

from torch import nn

from morelli.errors import MismatchError

WIDE = 16  # from this many channels on, an input is an activation rather than an image


def build_network(shape: tuple[int, ...]) -> nn.Sequential:
    """A fresh φ for inputs [n, *shape].

    Source: the table of Deep SAD networks in arXiv 2306.06210's experiments. Sizes between its rows take the
    row below; inputs with one axis beside channels are flattened.
    """
    if len(shape) != 3:
        return _perceptron(math.prod(shape))
    channels, height, width = shape
    if channels >= WIDE:
        return _convolutional(shape, (128, 256, 128), halve_first=min(height, width) >= 64)
    if min(height, width) < 128:
        return _convolutional(shape, (32, 64, 128))
    return _convolutional(shape, (32, 16, 8, 4) if channels == 1 else (32, 64, 128, 64))


def _convolutional(shape: tuple[int, ...], widths: tuple[int, ...], halve_first: bool = False) -> nn.Sequential:
    channels, height, width = shape
    layers: list[nn.Module] = []
    if halve_first:
        layers += [nn.Conv2d(channels, channels, 4, 2, 1, bias=False), nn.LeakyReLU(0.01)]
        height, width = height // 2, width // 2
    for after in widths:
        layers += [
            nn.Conv2d(channels, after, 5, padding=2, bias=False),
            nn.BatchNorm2d(after, eps=1e-4, affine=False),
            nn.LeakyReLU(0.01),
            nn.MaxPool2d(2),
        ]
        channels, height, width = after, height // 2, width // 2
    if min(height, width) < 1:
        raise MismatchError(f"Deep SAD pools {len(widths)} times by 2, too often for features of shape {shape}.")
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, 128, bias=False))


def _perceptron(inputs: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for outputs in (512, 1024, 512, 256, 128):
        norm = nn.BatchNorm1d(outputs, eps=1e-4, affine=False)
        layers += [nn.Linear(inputs, outputs, bias=False), norm, nn.LeakyReLU(0.01)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, 32, bias=False))
