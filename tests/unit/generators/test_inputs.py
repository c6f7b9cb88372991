"""What owners hold besides a plain float32 module: other precisions, wrappers, scripts, layouts, ensembles."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from morelli import Rescaled, Sigmoid, Tanh, TorchGenerator, train
from morelli.errors import HeadNotFound
from morelli.numerics.activation import Clip
from morelli.numerics.cropped import Cropped
from morelli.numerics.linear import Conv, Dense, TransposedConv

LATENT = (4, 6, 6)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def find(module: nn.Module, latent=LATENT, **options) -> TorchGenerator:
    return TorchGenerator(module, latent, announce=lambda line: None, **options)


def toy() -> nn.Sequential:
    layers = nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh()
    return nn.Sequential(*layers).eval()


def dense() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 6), nn.Tanh()).eval()


class Run(nn.Module):
    def __init__(self, run: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.run = nn.ModuleDict(layers), run

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.run(self.layers, *inputs)


def assert_reproduces(generator: TorchGenerator, close: float = 1e-4, share: float = 1.0) -> None:
    """Head and activations give this share of the samples' values to `close` of their range; the anchor is the mean."""
    head = generator.head(32, 3)
    activations, samples = generator.activations(32, 3), generator.samples(32, 3)
    error = (head.forward(activations) - samples).abs().flatten().quantile(share) / (samples.max() - samples.min())
    assert error <= close
    torch.testing.assert_close(head.anchor, activations.mean(0), rtol=1e-4, atol=1e-5)
    assert all(t.dtype == torch.float32 for t in head.state().flatten().values())


def assert_same_head(found: TorchGenerator, plain: TorchGenerator, close: float = 1e-6) -> None:
    one, other = found.head(64, 0), plain.head(64, 0)
    assert type(one.map) is type(other.map)
    assert one.activation == other.activation
    for name, tensor in one.state().flatten().items():
        torch.testing.assert_close(tensor, other.state().flatten()[name], rtol=close, atol=close)


# Precision.


@pytest.mark.parametrize(("dtype", "close"), [(torch.bfloat16, 0.02), (torch.float16, 0.003)])
@pytest.mark.parametrize("last", [nn.Tanh(), nn.Sigmoid(), nn.Hardtanh(-0.25, 0.5), nn.Identity()], ids=repr)
def test_half_precision_runs_as_it_is(dtype: torch.dtype, close: float, last: nn.Module) -> None:
    module = toy()
    module[3] = last
    plain = find(copy.deepcopy(module))
    found = find(module.to(dtype))
    assert type(found.activation) is type(plain.activation)
    assert_reproduces(found, close)
    assert_same_head(found, plain, 0.02)
    assert found.digest() == find(copy.deepcopy(module)).digest() != plain.digest()
    assert all(p.dtype == dtype for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_does_not_hide_the_activation(dtype: torch.dtype) -> None:
    """A tanh of small values is nearly a straight line, and rounding must not make it one."""
    module = toy()
    with torch.no_grad():
        module[2].weight *= 0.2
        module[2].bias *= 0
    found = find(module.to(dtype))
    assert float(found.samples(32, 0).abs().max()) < 0.3
    assert found.activation == Tanh()


def test_weights_that_depend_on_the_latent_are_seen_in_half_precision() -> None:
    def run(layers: nn.ModuleDict, z: Tensor) -> Tensor:
        return functional.conv2d(z, layers["last"].weight * (1 + 10 * z.mean()), padding=1).tanh()

    with pytest.raises(HeadNotFound, match="depend on the latent"):
        find(Run(run, last=nn.Conv2d(4, 3, 3)).bfloat16())


def test_a_precision_that_does_not_run_is_said() -> None:
    mixed = nn.Sequential(nn.Conv2d(4, 4, 3).bfloat16(), nn.Conv2d(4, 3, 3))
    with pytest.raises(HeadNotFound, match=r"\(16, 4, 6, 6\) bfloat16 .*pass module.float\(\)"):
        find(mixed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16])
def test_dynamic_quantisation(dtype: torch.dtype) -> None:
    plain = dense()
    module = torch.ao.quantization.quantize_dynamic(copy.deepcopy(plain), {nn.Linear}, dtype=dtype)
    found = find(module, (5,))
    assert "'2' (linear" in found.found
    assert type(found.head(4).map) is Dense
    assert_reproduces(found, 0.05)
    assert_same_head(found, find(plain, (5,)), 0.05)
    assert found.digest() == find(module, (5,)).digest()


class Framed(nn.Module):
    """As static quantisation wants it: what is converted lies between two stubs."""

    def __init__(self, body: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.enter, self.body = torch.ao.quantization.QuantStub(), body
        self.leave, self.last = torch.ao.quantization.DeQuantStub(), last

    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.leave(self.body(self.enter(z))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("inside", [True, False], ids=["tanh in int8", "tanh in float32"])
@pytest.mark.parametrize(
    "last", [nn.Conv2d(8, 3, 3, padding=1), nn.ConvTranspose2d(8, 3, 4, 2, 1)], ids=["conv", "transposed"]
)
def test_static_int8(inside: bool, last: nn.Module) -> None:
    if "qnnpack" not in torch.backends.quantized.supported_engines:
        pytest.skip("this build of torch has no qnnpack")
    before, torch.backends.quantized.engine = torch.backends.quantized.engine, "qnnpack"
    try:
        layers = [nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), copy.deepcopy(last)]
        body = nn.Sequential(*layers, *([nn.Tanh()] if inside else []))
        plain = Framed(body, nn.Identity() if inside else nn.Tanh()).eval()
        module = copy.deepcopy(plain)
        module.qconfig = torch.ao.quantization.get_default_qconfig("qnnpack")
        torch.ao.quantization.prepare(module, inplace=True)
        module(torch.randn(64, *LATENT))
        torch.ao.quantization.convert(module, inplace=True)
        found = find(module)
        assert found.activation == Tanh()
        assert_reproduces(found, 0.05, 0.9)
        assert_same_head(found, find(plain), 0.1)
    finally:
        torch.backends.quantized.engine = before


# Wrappers and scripts.


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, torch.compile, torch.optim.swa_utils.AveragedModel, lambda m: torch.compile(nn.DataParallel(m))],
    ids=["parallel", "compiled", "averaged", "both"],
)
def test_wrappers_are_taken_off(wrap: Callable[[nn.Module], nn.Module]) -> None:
    module = toy()
    found, plain = find(wrap(module)), find(module)
    assert found.found == plain.found
    assert found.digest() == plain.digest()
    assert_same_head(found, plain)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_compiled_part_runs_uncompiled() -> None:
    module = toy()
    whole = nn.Sequential(torch.compile(module), nn.Identity())
    found = find(whole)
    assert found.digest() == find(nn.Sequential(module, nn.Identity())).digest()
    assert_same_head(found, find(module))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("made", ["script", "trace", "freeze", "part"])
@pytest.mark.parametrize("build", [toy, dense])
def test_scripted_and_traced_modules(build: Callable[[], nn.Module], made: str) -> None:
    module, latent = build(), LATENT if build is toy else (5,)
    scripted = torch.jit.trace(module, torch.randn(2, *latent)) if made == "trace" else torch.jit.script(module)
    if made == "freeze":
        scripted = torch.jit.freeze(scripted)
    found = find(nn.Sequential(scripted) if made == "part" else scripted, latent)
    assert_same_head(found, find(module, latent))
    assert_reproduces(found)


def test_exported_modules() -> None:
    module = toy()
    shapes = ({0: torch.export.Dim("n")},)
    exported = torch.export.export(module, (torch.randn(3, *LATENT),), dynamic_shapes=shapes).module()
    assert_same_head(find(exported), find(module))


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize(
    "norm", [nn.utils.weight_norm, nn.utils.spectral_norm, parametrizations.weight_norm, parametrizations.orthogonal]
)
def test_normalised_and_parametrised_layers(norm: Callable[[nn.Module], nn.Module]) -> None:
    found = find(nn.Sequential(nn.Conv2d(4, 4, 1), norm(nn.Conv2d(4, 3, 3, padding=1)), nn.Tanh()).train())
    assert type(found.head(4).map) is Conv
    assert_reproduces(found)


# What happens to places after the last layer.


@pytest.mark.parametrize(
    "last",
    [
        nn.Conv2d(4, 12, 3, padding=1),
        nn.Conv2d(4, 12, (5, 3), padding=(2, 0)),
        nn.Conv2d(4, 12, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(4, 12, 3, padding=2, dilation=2),
        nn.ConvTranspose2d(4, 12, 4, 2, 1),
        nn.ConvTranspose2d(4, 12, 3, 2, 1, output_padding=1, groups=2),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("after", ["shuffle", "depth to space"])
def test_a_pixel_shuffle_is_folded_into_the_layer(last: nn.Module, after: str) -> None:
    def run(layers: nn.ModuleDict, z: Tensor) -> Tensor:
        made = layers["last"](z)
        if after == "depth to space":  # TensorFlow's order of channels
            n, _, h, w = made.shape
            return made.reshape(n, 2, 2, 3, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, 3, 2 * h, 2 * w).tanh()
        return functional.pixel_shuffle(made, 2).tanh()

    found = find(Run(run, last=last))
    assert type(found.head(4).map) is TransposedConv
    assert "pixel shuffle by 2" in found.found
    assert_reproduces(found)


@pytest.mark.parametrize("last", [nn.Conv2d(4, 27, 3, 2, 1), nn.Conv2d(4, 27, 1, padding=1)], ids=["stride", "padding"])
def test_a_pixel_shuffle_that_cannot_be_folded_is_refused(last: nn.Module) -> None:
    with pytest.raises(HeadNotFound, match="found, pixel shuffle by 3, but a pixel shuffle after a convolution"):
        find(Run(lambda m, z: functional.pixel_shuffle(m["last"](z), 3), last=last))


@pytest.mark.parametrize(
    ("run", "last"),
    [
        (lambda m, z: m["last"](z).tanh().permute(0, 2, 3, 1), nn.Conv2d(4, 3, 3, padding=1)),
        (lambda m, z: functional.pixel_shuffle(m["last"](z), 2).movedim(1, 3), nn.Conv2d(4, 12, 3, padding=1)),
        (lambda m, z: m["last"](z.movedim(1, 3)).sigmoid(), nn.Linear(4, 3)),
        (lambda m, z: m["last"](z.flatten(1)).reshape(-1, 8, 8, 3).tanh(), nn.Linear(144, 192)),
        (lambda m, z: m["last"](z.flatten(1)).reshape(-1, 3, 8, 8).movedim(1, 3), nn.Linear(144, 192)),
    ],
    ids=["conv", "shuffled", "linear at every place", "dense", "dense, moved"],
)
def test_channels_last(run: Callable[..., Tensor], last: nn.Module) -> None:
    module = Run(run, last=last)
    found = find(module)
    head = found.head(4)
    assert head.map.out_shape[0] == 3
    assert len(set(head.map.out_shape[1:])) == 1
    rng = torch.Generator().manual_seed(3 * 1_000_003)
    with torch.no_grad():
        direct = module(torch.randn(8, *LATENT, generator=rng))
    assert torch.equal(found.samples(8, 3), direct.movedim(-1, 1))
    assert_reproduces(found)


def test_a_linear_layer_at_every_place_is_a_convolution() -> None:
    found = find(Run(lambda m, z: m["last"](z.movedim(1, -1)).movedim(-1, 1), last=nn.Linear(4, 3)))
    assert type(found.head(4).map) is Conv
    assert found.activations(2, 0).shape == (2, *LATENT)
    assert_reproduces(found)


@pytest.mark.parametrize(
    "cut", [lambda x: x[..., 1:-1, 1:-1], lambda x: x[..., :10, :9], lambda x: x[..., 3:, :-2]], ids=range(3)
)
def test_crops(cut: Callable[[Tensor], Tensor]) -> None:
    found = find(Run(lambda m, z: cut(m["last"](z)).tanh(), last=nn.ConvTranspose2d(4, 3, 4, 2, 1)))
    assert type(found.head(4).map) is Cropped
    assert "cropped to" in found.found
    assert_reproduces(found)


def test_a_crop_after_a_pixel_shuffle() -> None:
    found = find(
        Run(lambda m, z: functional.pixel_shuffle(m["last"](z), 2)[..., :11, :9], last=nn.Conv2d(4, 12, 3, padding=1))
    )
    assert type(found.head(4).map) is Cropped
    assert_reproduces(found)


def test_a_frame_is_refused() -> None:
    with pytest.raises(HeadNotFound, match="Padding and resizing after it are not supported"):
        find(Run(lambda m, z: functional.pad(m["last"](z).tanh(), (1, 1, 1, 1)), last=nn.Conv2d(4, 3, 3)))


# Ranges.


@pytest.mark.parametrize(
    ("after", "close"),
    [
        (lambda a: a.tanh() * 127.5 + 127.5, 1e-4),
        (lambda a: (a * 127.5 + 127.5).clamp(0, 255), 1e-4),
        (lambda a: (a * 127.5 + 128).clamp(0, 255).to(torch.uint8), 0.005),
        (lambda a: (a * 20 + 128).to(torch.uint8), 0.01),
        (lambda a: a.sigmoid().mul(255).round().byte().permute(0, 2, 3, 1), 0.005),
    ],
    ids=["tanh", "clamp", "bytes", "bytes, no end reached", "bytes, channels last"],
)
def test_images_up_to_255(after: Callable[[Tensor], Tensor], close: float) -> None:
    found = find(Run(lambda m, z: after(m["last"](z)), last=nn.Conv2d(4, 3, 3, padding=1)))
    assert isinstance(found.activation, Rescaled)
    assert isinstance(found.activation.inner, Tanh | Sigmoid | Clip)
    assert (found.activation.low, found.activation.high) == pytest.approx((0, 255), abs=0.6)
    assert_reproduces(found, close)


def test_loud_images_without_a_clamp_are_refused() -> None:
    with pytest.raises(HeadNotFound, match=r"\.clamp\(0, 255\)"):
        find(Run(lambda m, z: m["last"](z) * 200 + 127.5, last=nn.Conv2d(4, 3, 3)))


# Ensembles.


def _by_sample(layers: nn.ModuleDict, z: Tensor) -> Tensor:
    some = z[:, 0, 0, 0] > 0
    out = z.new_zeros(len(z), 3, 6, 6)
    out[some], out[~some] = layers["a"](z[some]).tanh(), layers["b"](z[~some]).tanh()
    return out


def _chosen(layers: nn.ModuleDict, z: Tensor) -> Tensor:
    return torch.where((z[:, :1, :1, :1] > 0), layers["a"](z), layers["b"](z)).tanh()


@pytest.mark.parametrize("run", [_by_sample, _chosen])
def test_ensembles_are_refused_by_name(run: Callable[..., Tensor]) -> None:
    module = Run(run, a=nn.Conv2d(4, 3, 3, padding=1), b=nn.Conv2d(4, 3, 3, padding=1))
    with pytest.raises(HeadNotFound, match=r"'layers.a' and 'layers.b'.*a head and an attributor of each member"):
        find(module)


def test_an_ensemble_that_changes_later_is_refused_then() -> None:
    runs: list[int] = []

    def run(layers: nn.ModuleDict, z: Tensor) -> Tensor:
        runs.append(1)
        return layers["a" if len(runs) < 4 else "b"](z)

    found = find(Run(run, a=nn.Conv2d(4, 3, 3), b=nn.Conv2d(4, 3, 3)), batch=16)
    with pytest.raises(HeadNotFound, match="another path"):
        found.head(64, 0)


# All the way to verdicts.


def _bytes(a: Tensor) -> Tensor:
    return (a * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("last", "after", "dtype"),
    [
        (nn.Conv2d(8, 12, 3, padding=1), lambda a: functional.pixel_shuffle(a, 2).tanh(), torch.float32),
        (nn.ConvTranspose2d(8, 3, 4, 2, 1), lambda a: a[..., 1:-1, 1:-1].tanh(), torch.float32),
        (nn.ConvTranspose2d(8, 3, 4, 2, 1), _bytes, torch.float32),
        (nn.ConvTranspose2d(8, 3, 4, 2, 1), torch.tanh, torch.bfloat16),
    ],
    ids=["pixel shuffle", "crop", "bytes", "bf16"],
)
def test_attributors_of_such_generators(last: nn.Module, after: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    """Own samples are attributed, the same module's with another last layer are not."""

    def made(seed: int) -> TorchGenerator:
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), copy.deepcopy(last))
        with torch.no_grad():
            layers[2].weight.copy_(torch.randn(layers[2].weight.shape) / 12)
        return find(Run(lambda m, z: after(m["all"](z)), all=layers).to(dtype))

    def stored(samples: Tensor) -> Tensor:
        low, high = own.activation.low, own.activation.high
        return ((samples - low) / (high - low) * 255).round().clamp(0, 255) / 255 * (high - low) + low

    own, other = made(0), made(1)
    options = {"method": "flipad", "inversion": "closed-form", "detector": "lda", "rate": 0.1}
    attributor = train(own.head(300), stored(own.samples(160, 1)), stored(other.samples(100, 1)), **options)
    mine, theirs = (
        [v.outcome.value == "attributed" for v in attributor.judge(stored(g.samples(60, 2)))] for g in (own, other)
    )
    assert sum(mine) >= 44
    assert sum(theirs) <= 6
