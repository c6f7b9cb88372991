"""Attacks that know photographs, own images or a generator, but no attributor.

Each takes images in grey steps [n, 3, 64, 64], whether they are to be hidden or forged, the target and a seed.
"""

import math
from functools import lru_cache

import numpy as np
import pywt
import torch
from autoencoder import trained
from material import ATTACKER, OTHER, generators, head, made, p, photographs, ranged
from scipy.ndimage import median_filter
from torch import Tensor
from torch.nn import functional

from morelli.app.methods import build_extractor
from morelli.storage.networks import default_denoiser

HIDE, FORGE = "hide", "forge"
LEARNED = 500  # own images, and photographs, from which an attacker learns a map
NEAR = 3  # images that one is averaged with
TAIL = {"dcgan": 9, "lsgan": 11, "wgan-gp": 9, "ebgan": 9}  # first layer of the last two blocks
STEPS, RATE = 80, 0.05  # of the search for what enters them


def unchanged(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    return images


def noise(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    return images + torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))


def autoencoded(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    model = trained(p.photographs("clothing64", ATTACKER[0], ATTACKER[1], 2026))
    with torch.no_grad():
        return p.SPEC.grey_steps(model(ranged(images)))


def last_layer(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    """The activation that explains an image (ridge), and what the last layer makes of it: the target's to forge."""
    used = head(target if sense == FORGE else OTHER)
    extractor = p.replace(build_extractor(used, "flipad", inversion="ridge"), pool=1)
    found = extractor.extract(ranged(images)).values + used.anchor
    return p.SPEC.grey_steps(used.forward(found))


@torch.enable_grad()
def last_blocks(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    """The same of the last two blocks, by a search for what no ReLU forbids."""
    name = target if sense == FORGE else OTHER
    generator = p.morelli.load_generator(f"clothing-{name}").eval().requires_grad_(False)
    layers = list(generator)
    with torch.no_grad():
        usual = torch.nn.Sequential(*layers[: TAIL[name]])(torch.randn(64, 100, 1, 1))
    tail, aim = torch.nn.Sequential(*layers[TAIL[name] :]), ranged(images)
    value = usual.mean(0).expand(len(images), *usual.shape[1:]).clone().requires_grad_()
    optimiser = torch.optim.Adam([value], RATE * float(usual.std()) * 5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        optimiser.zero_grad()
        functional.mse_loss(tail(value), aim, reduction="sum").backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            value.clamp_(min=0)
    with torch.no_grad():
        return p.SPEC.grey_steps(tail(value))


def median(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    return torch.from_numpy(median_filter(images.numpy(), (1, 1, 3, 3), mode="mirror"))


def wavelets(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    """Soft thresholds of db4 details, of each image and band by BayesShrink, for noise of 3 grey steps."""
    first, *details = pywt.wavedec2(images.numpy(), "db4", "symmetric", 3)
    kept = []
    for bands in details:
        shrunk = []
        for band in bands:
            signal = (band**2).mean((-2, -1), keepdims=True) - 9
            limit = 9 / signal.clip(0.1) ** 0.5
            shrunk.append((abs(band) - limit).clip(0) * np.sign(band))
        kept.append(tuple(shrunk))
    found = pywt.waverec2([first, *kept], "db4", "symmetric")
    return torch.from_numpy(found[..., :64, :64].copy()).float()


def denoised(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    return images - residual(images)


@torch.no_grad()
def residual(images: Tensor) -> Tensor:
    """What the denoiser that ships takes out, in grey steps."""
    network = default_denoiser()
    return torch.cat([255 * network(some / 255) for some in images.split(100)])


def shrunk(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    small = functional.interpolate(images, scale_factor=0.75, mode="bicubic", antialias=True)
    return functional.interpolate(small, size=images.shape[2:], mode="bicubic")


def rotated(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    """By two degrees and back, bilinear."""
    for angle in (math.radians(2), -math.radians(2)):
        turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]])
        grid = functional.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return images


def cropped(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    """Three pixels from the left and top, one from the others, and enlarged again."""
    return functional.interpolate(images[..., 3:-1, 3:-1], size=images.shape[2:], mode="bicubic")


@lru_cache(maxsize=1)
def learned(target: str, seed: int) -> tuple[Tensor, Tensor]:
    """Own images and photographs of the attacker's."""
    return made(target, LEARNED, 500 + seed), photographs(ATTACKER, seed, LEARNED)


@lru_cache(maxsize=1)
def residuals(target: str, seed: int) -> tuple[Tensor, Tensor]:
    own, real = learned(target, seed)
    return residual(own), residual(real)


def fingerprint_of(count: int):  # type: ignore[no-untyped-def]
    """Marra's fingerprint: the mean residual of so many own images, taken off or put on."""

    def attack(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
        pattern = residuals(target, seed)[0][:count].mean(0)
        return images + (pattern if sense == FORGE else -pattern)

    return attack


def against_real(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    """The difference of the mean residuals of own images and photographs."""
    own, real = (rest.mean(0) for rest in residuals(target, seed))
    return images + (own - real if sense == FORGE else real - own)


def multiplied(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    """A factor for every value, as a sensor's: residuals regressed on what they are of; photographs' is taken off."""
    maps = []
    for some, rest in zip(learned(target, seed), residuals(target, seed), strict=True):
        clean = some - rest
        maps.append((rest * clean).sum(0) / clean.square().sum(0))
    own, real = maps
    return images * (1 + (own - real if sense == FORGE else real - own))


def spectrum(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    """Of the residual, each frequency times what photographs have more of it than own images, or the reverse."""
    own, real = (torch.fft.fft2(rest).abs().clamp_min(1).log().mean(0) for rest in residuals(target, seed))
    ratio = (own - real if sense == FORGE else real - own).clamp(-2.3, 2.3).exp()
    rest = residual(images)
    return images - rest + torch.fft.ifft2(torch.fft.fft2(rest) * ratio).real


def averaged(images: Tensor, sense: str, target: str, seed: int) -> Tensor:
    """With the nearest images of the other generators, or of the target."""
    names = [target] if sense == FORGE else [name for name in generators() if name != target]
    pool = torch.cat([made(name, 1200 // len(names), 520 + seed) for name in names])
    near = torch.cdist(images.flatten(1), pool.flatten(1)).topk(NEAR, largest=False).indices
    return (images + pool[near].sum(1)) / (1 + NEAR)
