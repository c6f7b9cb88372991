"""Labels of a conditional generator: one value of the latent draws them, so that it reads N(0, I) like any other."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DrawnLabel(nn.Module):
    """Latents [n, d + 1, 1, 1] → [n, d + classes, 1, 1]: the last value is replaced by the code of the label it draws.

    The buffer `bounds` [classes − 1] cuts N(0, 1) into one piece for each label; see `share_like`.
    """

    bounds: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("bounds", torch.zeros(classes - 1))

    def share_like(self, labels: Tensor) -> None:
        """From now on labels are drawn as often as they are among these."""
        counts = labels.bincount(minlength=len(self.bounds) + 1).double()
        self.bounds.copy_(torch.special.ndtri((counts.cumsum(0) / counts.sum())[:-1]))

    def code(self, latents: Tensor) -> Tensor:
        """One-hot, [n, classes, 1, 1]."""
        last = latents[:, -1:]
        beyond = (last > self.bounds[:, None, None]).to(last)
        return torch.cat([torch.ones_like(last), beyond], 1) - torch.cat([beyond, torch.zeros_like(last)], 1)

    def forward(self, latents: Tensor) -> Tensor:
        return torch.cat([latents[:, :-1], self.code(latents)], 1)
