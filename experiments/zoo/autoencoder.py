"""An autoencoder whose latent has an eighth of the image's size and four channels, as Stable Diffusion's has."""

from itertools import pairwise

from blocks import Residual, as_image, as_signal, conv, nearest, norm
from torch import Tensor, nn

WIDTHS = (24, 40, 64, 96)  # at 64×64, 32×32, 16×16, 8×8
LATENT = 4
ABSOLUTE = 0.1  # weight of the L1 part


class Autoencoder(nn.Module):
    """Photograph → encoded and decoded again: the decoder made it.

    Attributes:
        latent: None, since `decode` wants photographs.
    """

    latent, temperature = None, 1.0

    def __init__(self) -> None:
        super().__init__()
        encoder: list[nn.Module] = [conv(3, WIDTHS[0])]
        decoder: list[nn.Module] = [conv(LATENT, WIDTHS[-1]), Residual(WIDTHS[-1], WIDTHS[-1])]
        for a, b in pairwise(WIDTHS):
            encoder += [nn.Conv2d(a, b, 3, 2, 1), Residual(b, b)]
        for a, b in zip(WIDTHS[-2::-1], WIDTHS[:0:-1], strict=True):
            decoder += [nearest(b, a), Residual(a, a)]
        self.encoder = nn.Sequential(*encoder, norm(WIDTHS[-1]), nn.SiLU(), conv(WIDTHS[-1], LATENT))
        self.decoder = nn.Sequential(*decoder, norm(WIDTHS[0]), nn.SiLU(), conv(WIDTHS[0], 3))

    def loss(self, images: Tensor) -> Tensor:
        error = self.decode(images).float() - images
        return error.square().mean() + ABSOLUTE * error.abs().mean()

    def decode(self, photographs: Tensor) -> Tensor:
        return as_image(self.decoder(self.encoder(as_signal(photographs))))
