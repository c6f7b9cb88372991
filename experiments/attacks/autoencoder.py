"""The attacker's autoencoder: small, trained on photographs that nothing else here sees.

Run by run.py; by itself: python experiments/attacks/autoencoder.py
"""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

FILE = p.ROOT / "runs/attacks/autoencoder.pt"
WIDTH, CODE = 32, 16  # channels; a code of 16x16x16 is a third of the numbers of an image
STEPS, BATCH, RATE = 600, 12, 2e-3


class Autoencoder(nn.Module):
    """[n, 3, h, w] in [-1, 1] -> the same: halved twice and, by nearest neighbour and convolutions, doubled twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.PixelUnshuffle(2), nn.Conv2d(12, WIDTH, 3, padding=1), nn.SiLU()),
            *(nn.Conv2d(WIDTH, 48, 4, 2, 1), nn.SiLU(), nn.Conv2d(48, CODE, 3, padding=1)),
        )
        self.decoder = nn.Sequential(
            *(nn.Conv2d(CODE, 48, 3, padding=1), nn.SiLU(), nn.Upsample(scale_factor=2)),
            *(nn.Conv2d(48, WIDTH, 3, padding=1), nn.SiLU(), nn.Upsample(scale_factor=2)),
            nn.Conv2d(WIDTH, 3, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.decoder(self.encoder(images)).clamp(-1, 1)
        return found


@torch.enable_grad()
def trained(photographs: Tensor) -> Autoencoder:
    """From its file, or trained now, by squared error, on photographs and their mirror images."""
    torch.manual_seed(0)
    model = Autoencoder()
    if FILE.exists():
        model.load_state_dict(torch.load(FILE, weights_only=True))
        return model.eval()
    optimiser, start = torch.optim.Adam(model.parameters(), RATE), time.perf_counter()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS)
    for step in range(STEPS):
        some = photographs[torch.randint(len(photographs), (BATCH,))]
        some = some.flip(3) if step % 2 else some
        loss = functional.mse_loss(model.decoder(model.encoder(some)), some)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            spent = time.perf_counter() - start
            print(f"autoencoder, step {step + 1}: {10 * torch.log10(4 / loss):.1f} dB, {spent:.0f} s", flush=True)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), FILE)
    return model.eval()


if __name__ == "__main__":
    trained(p.photographs("clothing64", 0, 1600, 2026))
