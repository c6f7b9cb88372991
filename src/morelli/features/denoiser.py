"""A small learned denoiser: what it takes out of an image is where a generator leaves its traces."""

from __future__ import annotations

from torch import Tensor, nn

WIDTH, LAYERS = 16, 5


class Denoiser(nn.Module):
    """[n, 3, h, w] in [0, 1] → the same shape: the noise it sees, to be subtracted.

    Five 3×3 convolutions with 16 features, so that a pixel's noise depends on 11×11 pixels. Source: DnCNN (Zhang et
    al., IEEE TIP 2017), which predicts the noise as well, with 17 layers of 64 features and batch norm. Trained by
    `experiments/denoiser/run.py`.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *[WIDTH] * (LAYERS - 1), 3]
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, images: Tensor) -> Tensor:
        noise: Tensor = self.layers(images)
        return noise
