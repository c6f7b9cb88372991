"""Last blocks from names, shapes and words: the same pictures as the module, or an error that names the layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from morelli.errors import MismatchError
from morelli.generators.decoder_guess import decoder_only, guess_words
from morelli.generators.decoder_layers import Layer, build_tail, layers_of, parse_words, spoken
from morelli.generators.small_gans import build_generator
from morelli.generators.tiny_autoencoder import Block


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and running statistics from a seed, evaluation mode."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=rng) * (1.0 if "var" in name else 0.2) + 0.01)
    return module.eval()


def tiny_decoder() -> nn.Sequential:
    def enlarged() -> list[nn.Module]:
        return [nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=1, bias=False)]

    layers = [nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), Block(8), *enlarged(), Block(8), *enlarged(), Block(8)]
    return nn.Sequential(*layers, nn.Conv2d(8, 3, 3, padding=1))


CASES: dict[str, tuple[Callable[[], nn.Module], str, int]] = {  # module, words, how many of its last children they are
    "dcgan": (lambda: build_generator("dcgan", 8), "batch relu convt batch relu convt tanh", 7),
    "lsgan": (lambda: build_generator("lsgan", 8), "batch relu up conv batch relu up conv batch relu conv unit", 12),
    "taesd": (tiny_decoder, "up conv block up conv block conv unit", 7),
}


def last(module: nn.Module, count: int) -> nn.Sequential:
    found = list(module.children())[-count:]
    return nn.Sequential(*(found[:-1] if count == 12 else found))  # without the tanh that no file tells of


@pytest.mark.parametrize("name", CASES)
def test_the_guess_makes_what_the_module_makes(name: str) -> None:
    make, words, count = CASES[name]
    module = settled(make())
    layers = layers_of(module.state_dict())
    guess = guess_words(layers)
    assert spoken(guess) == words
    if name == "lsgan":  # the epsilon of its batch norms is in no file
        guess = parse_words(words.replace("batch", "batch:0.8"))
    tail = build_tail(guess, layers)
    end = last(module, count)
    x = torch.randn(2, tail.channels, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(tail.module(x), end(x))
        end[-2 if isinstance(end[-1], nn.Tanh) else -1].weight.add_(0.1)  # and it can fail
        assert not torch.allclose(tail.module(x), end(x))
    assert tail.factor == 4
    assert (tail.low == -1) == ("tanh" in words)
    assert tail.pictures(torch.randn(1, tail.channels, tail.side, tail.side)).shape == (1, 3, 64, 64)


def test_every_kind_of_layer_can_be_said() -> None:
    module = settled(
        nn.Sequential(
            nn.GroupNorm(2, 8),
            nn.SiLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.PixelShuffle(2),
            nn.InstanceNorm2d(4, affine=True),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(4, 3, 6, 2, 2),
            nn.Sigmoid(),
        )
    )
    said = "group:2 silu up:bilinear conv:1 shuffle instance leaky convt:2,2=7 sigmoid"
    tail = build_tail(parse_words(said), layers_of(module.state_dict()))
    x = torch.randn(2, 8, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(tail.module(x), module(x))
    assert (tail.channels, tail.factor, spoken(parse_words(said))) == (8, 8, said)


def test_statistics_of_a_first_batch_norm_are_kept() -> None:
    module = settled(build_generator("dcgan", 8))
    layers = layers_of(module.state_dict())
    tail = build_tail(guess_words(layers), layers)
    assert tail.statistics is not None
    found = [child for child in module.children() if isinstance(child, nn.BatchNorm2d)][-2]
    assert torch.equal(tail.statistics[0], found.running_mean)


def test_an_encoder_beside_the_decoder_is_left_out() -> None:
    inner = settled(build_generator("dcgan", 8)).state_dict()
    both = {f"decoder.{name}": x for name, x in inner.items()} | {"encoder.0.weight": torch.zeros(8, 3, 4, 4)}
    assert spoken(guess_words(decoder_only(layers_of(both)))) == CASES["dcgan"][1]


def named(**shapes: tuple[int, ...]) -> list[Layer]:
    return layers_of({f"{name}.weight": torch.zeros(shape) for name, shape in shapes.items()})


@pytest.mark.parametrize(
    ("words", "layers", "message"),
    [
        ("fold", named(a=(3, 8, 3, 3)), "there is no layer 'fold'; expected words among relu"),
        ("up conv=b", named(a=(3, 8, 3, 3)), r"has no 'b.weight'; its layers are a \[3, 8, 3, 3\]\."),
        ("up conv conv", named(a=(3, 8, 3, 3)), "fewer layers than words with weights"),
        ("up conv relu conv", named(a=(8, 9, 3, 3), b=(3, 16, 3, 3)), r"'b' is \[3, 16, 3, 3\]: .* reads 16 .* but 8"),
        ("convt conv", named(a=(8, 4, 4, 4), b=(4, 3, 4, 4)), "As 'convt' it would fit"),
        ("up conv", named(a=(4, 8, 3, 3)), "makes 4 channels; expected 3 or 1"),
        ("relu conv", named(a=(3, 8, 3, 3)), "does not enlarge"),
        ("up batch conv", named(a=(8,), b=(3, 8, 3, 3)), "no 'a.bias', 'a.running_mean', 'a.running_var'; a batch"),
        ("up batch:x conv", named(a=(8,), b=(3, 8, 3, 3)), "no 'a.bias'"),
        ("up group:3 conv", named(a=(8,), b=(3, 8, 3, 3)), "8 channels .* do not make 3 groups"),
        ("convt", named(a=(8, 3, 7, 7)), "kernel of 7; say its stride"),
        ("up block conv", named(a=(8, 8, 3, 3), b=(3, 8, 3, 3)), "'a' is no block"),
    ],
)
def test_what_does_not_fit_is_said(words: str, layers: list[Layer], message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        build_tail(parse_words(words), layers)


def test_a_bias_says_which_kind_of_convolution() -> None:
    layers = layers_of({"a.weight": torch.zeros(8, 3, 4, 4), "a.bias": torch.zeros(8)})
    with pytest.raises(MismatchError, match=r"with a bias of 8; as 'convt' it would have 3\. Is it 'conv'"):
        build_tail(parse_words("convt tanh"), layers)


def files(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {f"{name.replace('_', '.')}.weight": torch.zeros(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (files(up_1=(8, 8, 3, 3), up_2=(9, 8, 3, 3)), "no convolution makes 3 channels or 1"),
        (files(a_1=(3, 8, 3, 3), a_2=(8,)), "'a.2' comes after 'a.1', which makes the picture"),
        (files(a_1=(8, 8, 3, 3), a_2=(8,), a_5=(3, 8, 3, 3)), "'a.2' is a normalisation without statistics"),
        (files(a_1=(8, 8, 3, 3), a_6=(3, 8, 3, 3)), "4 layers without weights lie between 'a.1' and 'a.6'"),
        (files(a_1=(8, 8, 3, 3), a_3=(3, 8, 3, 3)), "nothing enlarges"),
        (files(lora_up=(8, 8, 3, 3)), "adapters, not a decoder"),
        ({"decoder.up_blocks.0.conv.weight": torch.zeros(3, 8, 3, 3)}, "U-Net or AutoencoderKL"),
        ({"synthesis.b8.torgb.weight": torch.zeros(3, 8, 1, 1)}, "style-based"),
    ],
)
def test_what_cannot_be_guessed_is_said(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        guess_words(layers_of(tensors))
