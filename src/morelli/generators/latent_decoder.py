"""LatentDecoder: the decoder of a latent-diffusion model as a generator, whatever made the latents."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from morelli.errors import HeadNotFound, MismatchError, UnsuitableProgram
from morelli.generators.capture import capture
from morelli.generators.torch_module import TorchGenerator
from morelli.numerics.activation import Clip
from morelli.numerics.file_form import FileForm
from morelli.numerics.head import Head
from morelli.numerics.program import Program

ROUNDING = 1e-3  # of the range, a quarter of a grey step: what float32 loses over so many layers
JPEG = 16  # pixels after which JPEG's blocks of colour repeat; windows keep to that, too


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """Both halves of an autoencoder whose latents a diffusion model makes.

    Attributes:
        decoder: latents [n, channels, h, w] → images [n, 3, factor·h, factor·w], not clamped yet.
        encoder: images in [low, high] → latents, their mean where they are drawn; None where it is not at hand.
        layer: the decoder's last convolution, as in `decoder.named_modules()`.
        low, high: to what images are clamped.
        spread: standard deviation of the latents, roughly.
    """

    decoder: nn.Module
    encoder: nn.Module | None
    layer: str
    channels: int
    factor: int = 8
    low: float = -1.0
    high: float = 1.0
    spread: float = 1.0

    def to(self, device: torch.device | str) -> Autoencoder:
        encoder = None if self.encoder is None else self.encoder.to(device)
        return replace(self, decoder=self.decoder.to(device), encoder=encoder)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """[n, channels, h, w] → images in [low, high]. Raises MismatchError for other channels."""
        if latents.ndim != 4 or latents.shape[1] != self.channels:
            raise MismatchError(
                f"latents are {tuple(latents.shape)}; this decoder reads [n, {self.channels}, h, w]. "
                "They are of another model."
            )
        images: Tensor = self.decoder(latents)
        return images.clamp(self.low, self.high)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """[n, 3, h, w] in [low, high], sides multiples of `factor` → latents. Raises MismatchError."""
        if self.encoder is None:
            raise MismatchError("this autoencoder came without its encoder. Give latents, or the encoder's file, too.")
        if images.shape[2] % self.factor or images.shape[3] % self.factor:
            raise MismatchError(f"images are {tuple(images.shape)}; sides must be multiples of {self.factor}.")
        latents: Tensor = self.encoder(images)
        return latents

    def program(self, size: int) -> Program:
        """Images of `size` pixels a side → encoded and decoded, not clamped. Raises UnsuitableProgram."""
        if self.encoder is None:
            raise UnsuitableProgram(
                "this autoencoder came without its encoder, so there is nothing to go through twice."
            )
        return capture(nn.Sequential(self.encoder, self.decoder), (3, size, size), ROUNDING)


class LatentDecoder:
    """The decoder as a generator: latents of the owner's pipeline, or normal ones, go in.

    The head is the last convolution with its clamp, for windows of `size` pixels. Convolutions know no size, so larger
    images are judged by such a window.

    Args:
        latents: [m, channels, h, w] as they enter the decoder (after division by a scaling factor), of which each draw
            is one, cut to the window; None for normal ones. Only the anchor, the mean activation, depends on them.
        size: pixels a side of a window; a multiple of the decoder's factor.
        batch: latents decoded together.
        announce: told in one line what the head is.
    Raises:
        MismatchError: latents of other channels or smaller than a window.
        HeadNotFound: the named layer and a clamp do not explain the images.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        latents: Tensor | None = None,
        *,
        size: int = 128,
        batch: int = 4,
        announce: Callable[[str], None] = print,
    ) -> None:
        side = size // autoencoder.factor
        if size % autoencoder.factor or not side:
            raise MismatchError(
                f"a window of {size} pixels was asked for; expected a multiple of {autoencoder.factor}."
            )
        if latents is not None and (
            latents.ndim != 4 or latents.shape[1] != autoencoder.channels or min(latents.shape[2:]) < side
        ):
            raise MismatchError(
                f"latents are {tuple(latents.shape)}; expected [n, {autoencoder.channels}, h, w] with h and w of at "
                f"least {side}, for windows of {size} pixels. Are they of this model?"
            )
        self.autoencoder, self.latents, self.size, self.batch = autoencoder, latents, size, batch
        self._side, self._last = side, autoencoder.decoder.get_submodule(autoencoder.layer)
        self._device = next(autoencoder.decoder.parameters()).device
        clamp = Clip(autoencoder.low, autoencoder.high)
        end = nn.Sequential(self._last, _Clamp(clamp))
        autoencoder.decoder.eval()
        self._verify(end)
        quiet: Callable[[str], None] = lambda line: None  # noqa: E731
        self._end = TorchGenerator(end, self._activations, layer="0", activation=clamp, batch=batch, announce=quiet)
        announce(self.found)

    @property
    def found(self) -> str:
        """One line: the last layer, the shapes on both sides, and the activation."""
        return self._end.found.replace("layer '0'", f"layer '{self.autoencoder.layer}'")

    def head(self, n: int = 200, seed: int = 0, progress: Callable[[int], None] | None = None) -> Head:
        """The head, whose samples may be of any larger size: `grid` says where a window may begin."""
        grid = math.lcm(self.autoencoder.factor, JPEG)
        return replace(self._end.head(n, seed, progress), form=FileForm(grid=grid))

    def program(self) -> Program:
        """The autoencoder, images to images of the window's size. Raises UnsuitableProgram."""
        return self.autoencoder.program(self.size)

    def activations(self, n: int, seed: int) -> Tensor:
        """[n, *map.in_shape], float32 on the CPU."""
        return self._end.activations(n, seed)

    def samples(self, n: int, seed: int) -> Tensor:
        """[n, 3, size, size] in [low, high], float32 on the CPU. Latents may come twice."""
        return self._end.samples(n, seed)

    def digest(self) -> str:
        """SHA-256 over names and values of the decoder's parameters and buffers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.autoencoder.decoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _drawn(self, n: int, rng: torch.Generator) -> Tensor:
        side = self._side
        if self.latents is None:
            return torch.randn(n, self.autoencoder.channels, side, side, generator=rng) * self.autoencoder.spread
        chosen = self.latents[torch.randint(len(self.latents), (n,), generator=rng)]
        top, left = ((length - side) // 2 for length in chosen.shape[2:])
        return chosen[:, :, top : top + side, left : left + side].float()

    def _activations(self, n: int, rng: torch.Generator) -> Tensor:
        """What enters the last layer, [n, *map.in_shape]."""
        return torch.cat([self._decoded(some)[0] for some in self._drawn(n, rng).split(self.batch)])

    @torch.no_grad()
    def _decoded(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """What enters the last layer, and the images."""
        seen: list[Tensor] = []
        handle = self._last.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        try:
            images = self.autoencoder.decode(latents.to(self._device))
        finally:
            handle.remove()
        if len(seen) != 1:
            raise HeadNotFound(f"layer '{self.autoencoder.layer}' ran {len(seen)} times; expected once, at the end.")
        return seen[0], images

    @torch.no_grad()
    def _verify(self, end: nn.Module) -> None:
        before, images = self._decoded(self._drawn(2, torch.Generator().manual_seed(0)))
        made = end(before)
        off = float((made - images).abs().max()) if made.shape == images.shape else math.inf
        if not off <= 1e-3 * (self.autoencoder.high - self.autoencoder.low):
            raise HeadNotFound(
                f"layer '{self.autoencoder.layer}' and a clamp give {tuple(made.shape)}, off by {off:.2g} from the "
                f"decoder's images {tuple(images.shape)}. Something comes after it; use TorchGenerator."
            )


class _Clamp(nn.Module):
    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        return self.clip.forward(x)
