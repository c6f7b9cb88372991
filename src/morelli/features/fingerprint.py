"""Fingerprints: what a network, trained on synthetic generators alone, reads in the residual's spectrum.

Source: arXiv 2307.15977. Differs: windows are of 64 pixels, so that small images can be read too; the spectrum is kept
in another form, and statistics of it stand beside what the network says (`traces.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from morelli.errors import MismatchError, OutOfRange
from morelli.features.denoiser import Denoiser
from morelli.features.traces import CHANNELS, STATISTICS, seen, statistics

WINDOW = 64  # pixels of a side
GRID = 8  # windows begin at multiples of this
BATCH = 64


@dataclass(frozen=True)
class Backbone:
    """The network's size, as `transformers` builds it: by default a ResNet-18 of half the width.

    Attributes:
        kind: "basic" blocks, or "bottleneck".
        pooled: pool after the first convolution, as the original does; without, all takes four times as long.
        dimensions: of a code.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    kind: str = "basic"
    stem: int = 32
    pooled: bool = True
    dimensions: int = 256


RESNET_50 = Backbone((256, 512, 1024, 2048), (3, 4, 6, 3), "bottleneck", 64, True, 2048)  # the paper's


class FingerprintNetwork(nn.Module):
    """Windows [n, 3, 64, 64] in [0, 1] → codes [n, dimensions] of length 1."""

    def __init__(self, backbone: Backbone | None = None, denoiser: Denoiser | None = None) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetModel  # seconds to import

        self.settings = backbone or Backbone()
        self.denoiser = (denoiser or Denoiser()).eval().requires_grad_(False)
        config = ResNetConfig(
            num_channels=CHANNELS,
            embedding_size=self.settings.stem,
            hidden_sizes=list(self.settings.widths),
            depths=list(self.settings.depths),
            layer_type=self.settings.kind,
        )
        self.backbone = ResNetModel(config)
        if not self.settings.pooled:
            self.backbone.embedder.pooler = nn.Identity()  # type: ignore[assignment]
        self.scale = nn.BatchNorm2d(CHANNELS)
        self.project = nn.Linear(self.settings.widths[-1], self.settings.dimensions)

    def forward(self, windows: Tensor) -> Tensor:
        return self.code(self.pictures(windows))

    @torch.no_grad()
    def pictures(self, windows: Tensor) -> Tensor:
        """What is seen of the residual's spectrum, [n, 5, 64, 33]."""
        return seen(self.denoiser(windows).float() * 255)

    def code(self, pictures: Tensor) -> Tensor:
        features = self.backbone(self.scale(pictures)).pooler_output.flatten(1)
        return normalize(self.project(features).float())


def windows_of(image: Tensor, most: int) -> Tensor:
    """[3, h, w] → [m, 3, 64, 64], at most `most` × `most` windows spread over the image, from border to border.

    Raises MismatchError for an image with a side below 64 pixels.
    """
    if image.ndim != 3 or len(image) != 3 or min(image.shape[1:]) < WINDOW:
        raise MismatchError(
            f"an image is {tuple(image.shape)}; a fingerprint needs 3 channels and sides of 64 or more."
        )
    rows, columns = (_starts(length, most) for length in image.shape[1:])
    return torch.stack([image[:, top : top + WINDOW, left : left + WINDOW] for top in rows for left in columns])


def _starts(length: int, most: int) -> list[int]:
    """Multiples of 8, so that whatever grid an image was made on is met at the same place."""
    count = min(most, length // WINDOW)
    last = (length - WINDOW) // GRID
    return [round(i * last / max(1, count - 1)) * GRID for i in range(count)]


@dataclass(frozen=True, eq=False)
class FingerprintExtractor:
    """Images of any size from 64×64 → fingerprints: what the network says, and the statistics that it reads.

    The network knows what it was trained on, the statistics are there for what it never met. Each of the `size` values
    is brought to the scale that it has among the models of the world; all windows of an image are averaged.

    Attributes:
        digest: of the network, for whoever stores fingerprints: two networks' fingerprints cannot be compared.
        most: windows a side, at most; the paper has three of 128 pixels.
        centre, spread: [size], of values in the world; None leaves them as they are.
    """

    network: FingerprintNetwork
    digest: str = ""
    most: int = 4
    centre: Tensor | None = None
    spread: Tensor | None = None

    def __post_init__(self) -> None:
        if self.most < 1:
            raise OutOfRange(f"a fingerprint takes {self.most} windows a side; expected one or more.")

    @property
    def size(self) -> int:
        return self.network.settings.dimensions + STATISTICS

    @torch.no_grad()
    def extract(self, images: Sequence[Tensor]) -> Tensor:
        """Images uint8 [3, h, w] → [n, size], on the CPU. Raises MismatchError for a side below 64 pixels."""
        if not images:
            return torch.zeros(0, self.size)
        device = next(self.network.parameters()).device
        windows = [windows_of(image, self.most) for image in images]
        values = torch.cat([self._read(some.to(device).float() / 255) for some in torch.cat(windows).split(BATCH)])
        of_images = values.cpu().split([len(each) for each in windows])
        return self.rescaled(torch.stack([each.mean(0) for each in of_images]))

    def _read(self, windows: Tensor) -> Tensor:
        pictures = self.network.pictures(windows)
        return torch.cat([self.network.code(pictures), statistics(pictures)], 1)

    def rescaled(self, values: Tensor) -> Tensor:
        """[..., size], in units of the world where that is known."""
        return values if self.centre is None or self.spread is None else (values - self.centre) / self.spread
