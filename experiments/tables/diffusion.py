"""A small diffusion model of whitened rows: a perceptron that tells the noise.

Source: TabDDPM (arXiv 2209.15421), its part for numbers. Differs: a cosine schedule of 200 steps, and no search of
settings. It is ours, and so a source without any question of licence.
"""

import math

import torch
from torch import Tensor, nn

STEPS, WIDTH, BATCH, UPDATES = 200, 256, 256, 2000


class Denoiser(nn.Module):
    def __init__(self, columns: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.into = nn.Linear(columns, WIDTH)
        self.body = nn.Sequential(
            nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, columns)
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angles = t[:, None] * torch.logspace(0, 3, 16)
        return self.body(self.into(x) + self.time(torch.cat([angles.sin(), angles.cos()], 1)))


def kept(t: Tensor) -> Tensor:
    """Share of the signal's variance left after a share t of all steps."""
    return (torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2).clamp(1e-5, 0.9999)


def rows_of_diffusion(data: Tensor, count: int, seed: int) -> Tensor:
    """Trains on [n, c] and draws [count, c]."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Denoiser(data.shape[1])
        optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, UPDATES)
        for _ in range(UPDATES):
            x = data[torch.randint(len(data), (BATCH,))]
            t, noise = torch.rand(BATCH), torch.randn_like(x)
            share = kept(t)[:, None]
            loss = (model(share.sqrt() * x + (1 - share).sqrt() * noise, t) - noise).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            plan.step()
        return _drawn(model.eval(), count, data.shape[1])


@torch.no_grad()
def _drawn(model: Denoiser, count: int, columns: int) -> Tensor:
    """Ancestral sampling."""
    x = torch.randn(count, columns)
    times = torch.linspace(1, 0, STEPS + 1)
    for now, then in zip(times[:-1], times[1:], strict=True):
        share, later = kept(now), kept(then)
        noise = model(x, now.expand(count))
        clean = (x - (1 - share).sqrt() * noise) / share.sqrt()
        step = share / later
        mean = later.sqrt() * (1 - step) / (1 - share) * clean + step.sqrt() * (1 - later) / (1 - share) * x
        spread = ((1 - later) / (1 - share) * (1 - step)).sqrt()
        x = mean + (spread * torch.randn_like(x) if then > 0 else 0)
    return x
