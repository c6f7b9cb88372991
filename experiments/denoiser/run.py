"""Train the denoiser that ships, on CC0 clothes and CC BY-SA fruit: Gaussian noise of unknown strength is to be seen.

Run: python experiments/denoiser/run.py          (about 5 minutes on one CPU core)
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from morelli.features.denoiser import Denoiser
from morelli.storage.networks import SHIPPED, save_network

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bank"))
from run import training_photographs  # noqa: E402

SEED, STEPS, BATCH, RATE, CROP, STRONGEST = 0, 3000, 16, 2e-3, 48, 25 / 255


def noisy(images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """A crop with noise whose strength is drawn for each image, and the noise."""
    top, left = torch.randint(0, images.shape[2] - CROP + 1, (2,), generator=rng).tolist()
    clean = images[..., top : top + CROP, left : left + CROP]
    noise = torch.randn(clean.shape, generator=rng) * STRONGEST * torch.rand(len(clean), 1, 1, 1, generator=rng)
    return clean + noise, noise


def gain(denoiser: Denoiser, images: Tensor, strength: float) -> float:
    """How many dB closer denoised images are than noisy ones."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(SEED)) * strength
    with torch.no_grad():
        left = noise - denoiser(images + noise)
    return float(10 * (noise.square().mean() / left.square().mean()).log10())


def main() -> None:
    torch.manual_seed(SEED)
    denoiser, rng = Denoiser(), torch.Generator().manual_seed(SEED)
    photographs, held_out = training_photographs(), training_photographs(held_out=True)[::3].float() / 255
    adam = torch.optim.Adam(denoiser.parameters(), RATE)
    plan = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, STEPS)
    start = time.perf_counter()
    for step in range(STEPS):
        chosen = photographs[torch.randint(len(photographs), (BATCH,), generator=rng)]
        images, noise = noisy(chosen.float() / 255, rng)
        with torch.autocast("cpu", torch.bfloat16):
            seen = denoiser(images)
        loss = (seen.float() - noise).square().mean() * 255**2
        adam.zero_grad()
        loss.backward()
        adam.step()
        plan.step()
        if step % 250 == 249:
            print(
                step + 1,
                f"{gain(denoiser, held_out[:64], 10 / 255):.2f} dB",
                f"{time.perf_counter() - start:.0f} s",
                flush=True,
            )
    gains = {
        f"gain at noise {level}, held out, dB": round(gain(denoiser, held_out, level / 255), 2) for level in (5, 10, 25)
    }
    about = {"data": ["clothing_photos", "fruits100"], "licence": "CC0; CC BY-SA 4.0 (Fruits-360)"}
    about |= {"crops": len(photographs), "seed": SEED, "steps": STEPS, "batch": BATCH} | gains
    about["seconds"] = round(time.perf_counter() - start)
    digest = save_network(denoiser, SHIPPED / "denoiser", about, overwrite=True)
    (HERE / "run.json").write_text(json.dumps(about | {"sha256 of manifest": digest}, indent=1) + "\n")


if __name__ == "__main__":
    main()
