"""How strong an attack is: PSNR after eight bits against the image before it, met image by image."""

import math

import torch
from torch import Tensor

HALVINGS = 14


def psnr(images: Tensor, attacked: Tensor) -> Tensor:
    """[n] in decibels of grey steps [n, c, h, w]; infinite where nothing changed."""
    return 10 * torch.log10(255**2 / (attacked - images).square().mean((1, 2, 3)))


def eight_bits(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255)


def brought_to(images: Tensor, attacked: Tensor, decibels: float | None, most: float = math.inf) -> Tensor:
    """The change that was made, times what brings it to this PSNR or as near as `most` times allows; through 8 bits."""
    if decibels is None:
        return eight_bits(attacked)
    change, limit = attacked - images, min(most, 64.0)
    low, high = torch.zeros(len(images)), torch.full((len(images),), limit)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = psnr(images, eight_bits(images + middle[:, None, None, None] * change))
        low, high = torch.where(found > decibels, middle, low), torch.where(found > decibels, high, middle)
    most_of_it = psnr(images, eight_bits(images + limit * change)) > decibels  # even that changes too little
    scale = torch.where(most_of_it, torch.full_like(low, limit), low)
    return eight_bits(images + scale[:, None, None, None] * change)
