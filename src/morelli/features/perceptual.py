"""A small network whose features two images share where they look alike: shapes and colours, not pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 128)


class PerceptualNetwork(nn.Module):
    """[n, 1 or 3, h, w] in [−1, 1] → [n, 128, h/4, w/4], each channel with unit spread over the training images.

    In the place of the Inception features of SM-Inv_inc in arXiv 2306.06210, whose weights we do not ship: three
    convolutions, trained without labels by `experiments/perceptual/run.py`.
    """

    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.layers = nn.Sequential(
            nn.Conv2d(3, first, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, 2, 1),
        )
        self.register_buffer("spread", torch.ones(third))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images.expand(-1, 3, -1, -1))
        return features / self.spread[:, None, None]
