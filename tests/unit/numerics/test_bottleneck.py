"""Both halves together give what the whole gives, and what is never narrow is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toys import toy_autoencoder

from morelli.errors import UnsuitableProgram
from morelli.generators.capture import capture
from morelli.numerics.bottleneck import split_at_bottleneck
from morelli.numerics.program import Program


class Counting(nn.Module):
    """Asks in its second half how many samples there are, as attention does, and looks back past a narrow place."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Linear(12, 2), nn.Linear(2, 12)
        self.down, self.up = nn.Linear(12, 3), nn.Linear(3, 12)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        mixed = self.wide(self.narrow(x)) + x  # narrower, but not all passes through it
        return self.up(self.down(mixed).tanh()).reshape(n, 3, 4)


@pytest.mark.parametrize(
    ("program", "latent"),
    [(toy_autoencoder(), (6, 4, 4)), (capture(Counting(), (12,)), (3,))],
    ids=["convolutions", "past a narrow place"],
)
def test_halves_give_what_the_whole_gives(program: Program, latent: tuple[int, ...]) -> None:
    encoder, decoder = split_at_bottleneck(program)
    inputs = torch.randn(5, *program.in_shape, generator=torch.Generator().manual_seed(0))
    assert tuple(encoder(inputs).shape[1:]) == decoder.in_shape == latent
    assert torch.equal(decoder(encoder(inputs)), program(inputs))
    assert set(encoder.tensors) | set(decoder.tensors) == set(program.tensors)
    assert not set(encoder.tensors) & set(decoder.tensors)


def test_what_is_nowhere_narrow_is_refused() -> None:
    with pytest.raises(UnsuitableProgram, match="nowhere narrower than its input"):
        split_at_bottleneck(capture(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)), (4,)))
