"""Files of other sizes than a generator's, as people make them."""

from collections.abc import Callable

import torch
from PIL import Image

Make = Callable[[torch.Tensor, torch.Generator], Image.Image]


def cut(image: torch.Tensor, height: int, width: int, rng: torch.Generator) -> torch.Tensor:
    """A part anywhere."""
    top, left = (int(torch.randint(64 - side + 1, (), generator=rng)) for side in (height, width))
    return image[:, top : top + height, left : left + width]


def drawn(image: torch.Tensor, size: tuple[int, int] | None = None, how: str = "BICUBIC") -> Image.Image:
    """As a picture; brought to (width, height)."""
    found = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    return found if size is None else found.resize(size, Image.Resampling[how])


SIZES: dict[str, Make] = {
    "cut, 55x55": lambda image, rng: drawn(cut(image, 55, 55, rng)),
    "cut, 54x60": lambda image, rng: drawn(cut(image, 60, 54, rng)),
    "cut, 48x48": lambda image, rng: drawn(cut(image, 48, 48, rng)),
    "reduced to 48, bicubic": lambda image, rng: drawn(image, (48, 48)),
    "reduced to 48, box": lambda image, rng: drawn(image, (48, 48), "BOX"),
    "enlarged to 128, nearest": lambda image, rng: drawn(image, (128, 128), "NEAREST"),
    "enlarged to 256, Lanczos": lambda image, rng: drawn(image, (256, 256), "LANCZOS"),
    "cut, 55x55, enlarged to 128": lambda image, rng: drawn(cut(image, 55, 55, rng), (128, 128)),
    "stretched to 128x96": lambda image, rng: drawn(image, (128, 96)),
}
