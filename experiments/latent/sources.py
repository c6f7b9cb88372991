"""The photographs, and the autoencoders that they go through: two of other people's, and three made here from nothing
or from one of those.

Run: python experiments/latent/sources.py     (half an hour on one CPU core; what is there already is left)
"""

import sys
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "spectra"), str(HERE.parent / "zoo")]
import protocol as p  # noqa: E402
from models import tiny_autoencoder  # noqa: E402
from training import Settings, Training  # noqa: E402

KEPT = p.ROOT / "runs/latent"
FOLDERS = ("clothing_photos", "photos_varied")
SIDE, REDUCED = 64, 2  # pixels; photographs are made smaller first, which leaves little of their JPEG
BATCH = 16
LAST = ("17.", "18.", "19.")  # layers of the tiny decoder that are tuned; all others are shared with the original
WIDTHS = (16, 32, 32, 32)  # Stable Diffusion has 128, 256, 512, 512 and two blocks a level


@cache
def photographs() -> Tensor:
    """One crop of each, uint8 [n, 3, 64, 64], in the order of their names; at a place of its own."""
    file = KEPT / "photographs.safetensors"
    if not file.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        rng, found = torch.Generator().manual_seed(0), []
        for folder in FOLDERS:
            for path in sorted((p.DATA / folder).glob("*.jpg")):
                image = Image.open(path).convert("RGB")
                image = image.resize((image.width // REDUCED, image.height // REDUCED), Image.Resampling.LANCZOS)
                places = torch.rand(2, generator=rng)
                if min(image.size) >= SIDE:
                    left, top = (int(at * (n - SIDE + 1)) for at, n in zip(places.tolist(), image.size, strict=True))
                    found.append(image.crop((left, top, left + SIDE, top + SIDE)))
        pixels = torch.stack([torch.frombuffer(bytearray(x.tobytes()), dtype=torch.uint8) for x in found])
        save_file({"pixels": pixels.reshape(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2).contiguous()}, file)
    return load_file(file)["pixels"]


class Scaled(nn.Module):
    """diffusers' autoencoder of images in [−1, 1] as one of images in [0, 1]; the mean of the latent, not a draw."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(2 * images - 1).sample / 2 + 0.5

    def loss(self, images: Tensor) -> Tensor:
        return (self(images).float() - images).abs().mean()


class Tuned(nn.Module):
    """TAESD, of which only the last layers are trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = tiny_autoencoder("taesd")
        for name, weight in self.named_parameters():
            weight.requires_grad_(name.startswith(tuple(f"decoder.{layer}" for layer in LAST)))

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images))

    def loss(self, images: Tensor) -> Tensor:
        return (self(images).float() - images).abs().mean()


def small_kl() -> nn.Module:
    from diffusers import AutoencoderKL

    down, up = ("DownEncoderBlock2D",) * len(WIDTHS), ("UpDecoderBlock2D",) * len(WIDTHS)
    kind = {"layers_per_block": 1, "norm_num_groups": 8, "latent_channels": 4}
    return Scaled(AutoencoderKL(block_out_channels=WIDTHS, down_block_types=down, up_block_types=up, **kind))


MADE: dict[str, tuple[Callable[[], nn.Module], Settings]] = {
    "tuned": (Tuned, Settings(50, 8, 3e-4, seed=1, data="crops")),
    "kl-0": (small_kl, Settings(200, 16, 3e-3, seed=0, data="crops")),
    "kl-1": (small_kl, Settings(200, 16, 3e-3, seed=1, data="crops")),
}
TARGETS = ("taesd", "taesdxl")
NAMES = (*TARGETS, *MADE)


def autoencoder(name: str) -> nn.Module:
    """[n, 3, h, w] in [0, 1] → encoded and decoded, not clamped."""
    if name not in MADE:
        return tiny_autoencoder(name)
    module = MADE[name][0]()
    module.load_state_dict(load_file(KEPT / f"{name}.safetensors"))
    return module.eval()


@cache
def decoded(name: str) -> Tensor:
    """All photographs through an autoencoder, as files hold them: uint8 [n, 3, 64, 64]. "photographs": as they are."""
    if name == "photographs":
        return photographs()
    file = KEPT / f"{name}.decoded.safetensors"
    if not file.exists():
        module, found = autoencoder(name).to(memory_format=torch.channels_last), []
        with torch.no_grad():
            for some in photographs().split(BATCH):
                found.append((module(some.float() / 255).clamp(0, 1) * 255).round().to(torch.uint8).contiguous())
        save_file({"pixels": torch.cat(found)}, file)
    return load_file(file)["pixels"]


def digest(name: str) -> str:
    """Of the images that were judged."""
    return sha256(decoded(name).numpy().tobytes()).hexdigest()


def train(name: str) -> None:
    make, settings = MADE[name]
    if (KEPT / f"{name}.safetensors").exists():
        return
    torch.manual_seed(settings.seed)
    training = Training(make(), settings, KEPT / f"{name}.training")
    training.run(photographs())
    save_file({key: tensor.contiguous() for key, tensor in training.model.state_dict().items()}, KEPT / f"{name}.new")
    (KEPT / f"{name}.new").replace(KEPT / f"{name}.safetensors")
    print(name, f"{sum(training.losses[-50:]) / 50:.4f}", f"{training.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    photographs()
    for name in TARGETS:
        decoded(name)
    for name in MADE:
        train(name)
        decoded(name)
