"""TorchGenerator: heads found by tracing, and refusals that say what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from morelli import Clip, Identity, Rescaled, Sigmoid, Tanh, TorchGenerator
from morelli.errors import HeadNotFound, MorelliError
from morelli.numerics.linear import Conv, Dense, TransposedConv


class Module(nn.Module):
    """A module from a few layers and what to do with them and the input."""

    def __init__(self, run: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.run = nn.ModuleDict(layers), run

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.run(self.layers, *inputs)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def find(module: nn.Module, latent=(4, 6, 6), **options) -> TorchGenerator:
    return TorchGenerator(module, latent, announce=lambda line: None, **options)


def conv(out: int = 3) -> nn.Conv2d:
    return nn.Conv2d(4, out, 3, padding=1)


def assert_reproduces(generator: TorchGenerator) -> None:
    head = generator.head(32, 3)
    activations, samples = generator.activations(32, 3), generator.samples(32, 3)
    torch.testing.assert_close(head.forward(activations), samples, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(head.anchor, activations.mean(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "latent", "kind"),
    [
        (nn.Linear(5, 7), (5,), Dense),
        (nn.Linear(5, 7, bias=False), (5,), Dense),
        (nn.Conv1d(2, 3, 5, stride=2, padding=1), (2, 16), Conv),
        (nn.Conv2d(4, 3, 3, padding="same", dilation=2), (4, 6, 6), Conv),
        (nn.Conv2d(4, 6, 3, padding="valid", groups=2), (4, 6, 6), Conv),
        (nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), (4, 6, 6), Conv),
        (nn.ConvTranspose1d(2, 3, 4, 2, 1), (2, 16), TransposedConv),
        (nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1), (4, 6, 6), TransposedConv),
        (nn.ConvTranspose2d(4, 3, 3, 1, dilation=2, output_padding=1), (4, 6, 6), TransposedConv),
        (nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 3, 3)), (4, 6, 6), Conv),
        (nn.utils.parametrizations.weight_norm(nn.Linear(5, 7)), (5,), Dense),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_finds_the_layer(layer: nn.Module, latent: tuple[int, ...], kind: type) -> None:
    generator = find(nn.Sequential(nn.Identity(), layer, nn.Tanh()), latent)
    assert type(generator.head(4).map) is kind
    assert generator.activation == Tanh()
    assert_reproduces(generator)


@pytest.mark.parametrize(
    ("after", "activation"),
    [
        (lambda x: x, Identity()),
        (torch.tanh, Tanh()),
        (torch.tanh_, Tanh()),
        (torch.sigmoid, Sigmoid()),
        (nn.Hardtanh(-0.25, 0.5), Clip(-0.25, 0.5)),
        (nn.Hardtanh(-0.25, 0.5, inplace=True), Clip(-0.25, 0.5)),
        (torch.relu, Clip(0.0, float("inf"))),
        (lambda x: (x.tanh() + 1) / 2, Rescaled(Tanh(), 0.5, 0.5)),
        (lambda x: 255 * x.sigmoid(), Rescaled(Sigmoid(), 255.0, 0.0)),
        (lambda x: 0.5 * x + 0.25, Rescaled(Identity(), 0.5, 0.25)),
    ],
    ids=range(10),
)
def test_finds_the_activation(after: Callable[[Tensor], Tensor], activation: object) -> None:
    generator = find(Module(lambda layers, z: after(layers["last"](z)), last=conv()))
    assert generator.activation == activation
    assert_reproduces(generator)


def test_finds_a_rescaled_clamp() -> None:
    """As latent diffusion ends: (x/2 + 0.5).clamp(0, 1)."""
    generator = find(Module(lambda layers, z: (layers["last"](2 * z) / 2 + 0.5).clamp(0, 1), last=conv()))
    found = generator.activation
    assert isinstance(found, Rescaled)
    assert (found.low, found.high) == pytest.approx((0.0, 1.0))
    samples = generator.samples(8, 0)
    assert torch.equal(found.saturated(samples), (samples <= 0) | (samples >= 1))
    assert_reproduces(generator)


def test_a_dense_output_made_an_image() -> None:
    generator = find(nn.Sequential(nn.Linear(5, 48), nn.Unflatten(1, (3, 4, 4)), nn.Sigmoid()), (5,))
    head = generator.head(4)
    assert (head.map.in_shape, head.map.out_shape) == ((5,), (3, 4, 4))
    assert_reproduces(generator)


def test_a_functional_call() -> None:
    weight = torch.randn(3, 4, 3, 3)
    generator = find(Module(lambda layers, z: functional.conv2d(layers["first"](z), weight).tanh(), first=conv(4)))
    assert type(generator.head(4).map) is Conv
    assert_reproduces(generator)


def test_what_is_found_is_announced() -> None:
    lines: list[str] = []
    TorchGenerator(nn.Sequential(conv(), nn.Tanh()), (4, 6, 6), announce=lines.append)
    (line,) = lines
    assert "layer '0' (convolution, weight 3×4×3×3), (4, 6, 6) → (3, 6, 6)" in line
    assert "Tanh" in line


def test_the_last_layer_that_explains_the_output_wins() -> None:
    """A critic-like branch that runs later does not count."""

    def run(layers: nn.ModuleDict, z: Tensor) -> Tensor:
        made = layers["last"](z).tanh()
        layers["side"](made)
        return made

    generator = find(Module(run, last=conv(), side=nn.Conv2d(3, 3, 3, padding=1)))
    assert "'layers.last'" in generator.found
    assert_reproduces(generator)


def test_conditional_latents_come_from_a_callable() -> None:
    module = Module(lambda layers, z, y: layers["last"](z + layers["label"](y)).tanh(),
                    last=nn.Linear(5, 6), label=nn.Embedding(3, 5))  # fmt: skip

    def latent(n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.rand(n, 5, generator=rng), torch.randint(3, (n,), generator=rng)

    assert_reproduces(find(module, latent))


def test_modes_are_restored_and_evaluation_is_used() -> None:
    module = nn.Sequential(conv(4), nn.BatchNorm2d(4), nn.Dropout(), conv(), nn.Tanh())
    module.train()
    module[1].eval()
    before = [inner.training for inner in module.modules()]
    statistics = module[1].running_mean.clone()
    generator = find(module)
    first, again = generator.samples(8, 1), generator.samples(8, 1)
    assert torch.equal(first, again)
    assert [inner.training for inner in module.modules()] == before
    assert torch.equal(module[1].running_mean, statistics)
    with pytest.raises(HeadNotFound):
        find(nn.Sequential(module, nn.PixelShuffle(1), nn.Softmax(1)))
    assert [inner.training for inner in module.modules()] == before


def test_no_hooks_and_no_gradients_are_left() -> None:
    module = nn.Sequential(conv(), nn.Tanh())
    head = find(module).head(4)
    assert not any(inner._forward_hooks or inner._forward_pre_hooks for inner in module.modules())
    assert not any(t.requires_grad for t in head.state().flatten().values())


def test_batches_are_draws_in_order() -> None:
    module = nn.Sequential(conv(), nn.Tanh())
    generator = find(module, batch=8)
    assert generator.samples(20, 1).shape == (20, 3, 6, 6)
    assert torch.equal(generator.samples(20, 1)[:16], generator.samples(16, 1))
    assert not torch.equal(generator.samples(8, 2), generator.samples(8, 1))
    with pytest.raises(MorelliError, match="at least 1"):
        generator.samples(0, 1)


def test_the_digest_follows_every_weight_and_buffer() -> None:
    module = nn.Sequential(conv(4), nn.BatchNorm2d(4), conv(), nn.Tanh())
    generator = find(module)
    digests = {generator.digest()}
    assert digests == {generator.digest()}
    with torch.no_grad():
        for tensor in (module[0].weight, module[1].running_var, module[1].num_batches_tracked):
            tensor += 1
            digests.add(generator.digest())
    assert len(digests) == 4


# Refusals.


def _modulated(layers: nn.ModuleDict, z: Tensor) -> Tensor:
    return functional.conv2d(z, layers["last"].weight * (1 + z.mean()), padding=1).tanh()


@pytest.mark.parametrize(
    ("run", "layers", "says"),
    [
        (lambda m, z: m["last"](z).tanh() + z[:, :3], {"last": conv()}, "added, mixed"),
        (lambda m, z: m["last"](z).flip(3), {"last": conv(12)}, "permuted"),
        (lambda m, z: functional.interpolate(m["last"](z), scale_factor=2), {"last": conv()}, "not elementwise"),
        (lambda m, z: m["last"](z).softmax(1), {"last": conv()}, "does not explain the output"),
        (_modulated, {"last": conv()}, "depend on the latent"),
        (lambda m, z: z.tanh(), {}, "no linear layer ran"),
        (lambda m, z: m["last"](z).mean(), {"last": conv()}, "Wrap it"),
        (lambda m, z: (m["last"](z), z), {"last": conv()}, "Wrap it"),
        (lambda m, z: m["last"](z), {"last": nn.Conv2d(4, 3, 2, padding="same")}, "one side more than the other"),
    ],
    ids=["input", "mirrored", "resize", "softmax", "modulated", "none", "scalar", "tuple", "uneven"],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_refused_with_advice(run: Callable[..., Tensor], layers: dict[str, nn.Module], says: str) -> None:
    with pytest.raises(HeadNotFound, match=says):
        find(Module(run, **layers))


def test_a_layer_that_changes_from_draw_to_draw_is_refused() -> None:
    taken: list[str] = []

    def run(layers: nn.ModuleDict, z: Tensor) -> Tensor:
        taken.append("b" if "a" in taken else "a")
        return layers[taken[-1]](z)

    with pytest.raises(HeadNotFound, match="another path"):
        find(Module(run, a=conv(), b=conv()))


def test_a_wrong_layer_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(HeadNotFound, match=r"in layer 'to_rgb'; those that ran are in '0', '1'"):
        find(nn.Sequential(conv(4), conv(), nn.Tanh()), layer="to_rgb")
    with pytest.raises(HeadNotFound, match="does not explain"):
        find(nn.Sequential(conv(4), conv(4), nn.Tanh()), layer="0")


def test_naming_the_activation_is_the_way_out() -> None:
    """An activation that fitting does not know, given as an object."""

    class Softsign(Tanh):
        def forward(self, a: Tensor) -> Tensor:
            return functional.softsign(a)

        def inverse(self, y: Tensor) -> Tensor:
            return y / (1 - y.abs())

    module = nn.Sequential(conv(4), conv(), nn.Softsign())
    with pytest.raises(HeadNotFound, match=r"layer='…', activation=…"):
        find(module)
    assert_reproduces(find(module, layer="1", activation=Softsign()))
    with pytest.raises(HeadNotFound, match="does not explain"):
        find(module, layer="1", activation=Tanh())
