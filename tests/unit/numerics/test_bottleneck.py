"""Both halves together give what the whole gives, and what is never narrow is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toys import toy_autoencoder

from morelli.errors import UnsuitableProgram
from morelli.generators.capture import capture
from morelli.generators.style_gan import StyleGenerator
from morelli.numerics.bottleneck import split_after_mapping, split_at_bottleneck
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


def test_a_style_generator_is_split_at_w() -> None:
    program = capture(StyleGenerator(2, 3, 16, 10), (10, 1, 1), noiseless=True)
    mapping, synthesis = split_after_mapping(program)
    assert mapping is not None
    assert (mapping.in_shape, synthesis.in_shape) == ((10, 1, 1), (10,))  # w is wider, so the latents of unit length
    narrow = capture(StyleGenerator(2, 3, 16, 100), (100, 1, 1), noiseless=True)
    mapping, synthesis = split_after_mapping(narrow)
    assert mapping is not None
    assert synthesis.in_shape == (64,)
    latents = torch.randn(5, 100, 1, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(synthesis(mapping(latents)), narrow(latents))


def test_latents_that_go_in_as_they_are_have_no_mapping() -> None:
    program = capture(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 12)), (4,))
    assert split_after_mapping(program) == (None, program)
