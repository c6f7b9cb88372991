"""Generators exported to ONNX: the same head and verdicts as in torch, and refusals in one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from toys import LATENT, audio, convolution_images, deconvolution_images, table

import morelli
from morelli.errors import HeadNotFound, MorelliError
from morelli.numerics.cropped import Cropped
from morelli.numerics.linear import TransposedConv

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def exported(
    module: nn.Module, path: Path, latent: tuple[int, ...] = (LATENT,), free: bool = True, dtype: Any = torch.float32
) -> Path:
    """By torch's older exporter, which is quick."""
    options: dict[str, Any] = {"dynamic_axes": {"z": {0: "n"}, "x": {0: "n"}}} if free else {}
    inputs = (torch.randn(4, *latent).to(dtype),)
    options |= {"input_names": ["z"], "output_names": ["x"], "dynamo": False, "opset_version": 17}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(module.eval(), inputs, str(path), **options)
    return path


def found(path: Path, **options: Any) -> morelli.TorchGenerator:
    return morelli.onnx_generator(path, announce=lambda line: None, **options)


def in_torch(module: nn.Module, latent: tuple[int, ...] = (LATENT,)) -> morelli.TorchGenerator:
    return morelli.TorchGenerator(module.eval(), latent, announce=lambda line: None)


def assert_same(one: morelli.TorchGenerator, other: morelli.TorchGenerator, close: float = 1e-6) -> None:
    a, b = one.head(200, 0), other.head(200, 0)
    assert type(a.map) is type(b.map)
    assert (a.map.in_shape, a.map.out_shape, a.activation) == (b.map.in_shape, b.map.out_shape, b.activation)
    theirs = b.state().flatten()
    for name, tensor in a.state().flatten().items():
        torch.testing.assert_close(tensor, theirs[name].expand_as(tensor), rtol=close, atol=close)
    torch.testing.assert_close(one.samples(8, 1), other.samples(8, 1), rtol=1e-5, atol=1e-5)


class After(nn.Module):
    def __init__(self, last: nn.Module, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.run = nn.Conv2d(4, 4, 1), last, run

    def forward(self, z: Tensor) -> Tensor:
        return self.run(self.last(self.first(z).relu()))


@pytest.mark.parametrize("build", [deconvolution_images, convolution_images, table, audio])
def test_the_head_is_that_of_the_torch_module(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    module = build()
    generator = found(exported(module, tmp_path / "g.onnx"))
    assert_same(generator, in_torch(module))
    assert generator.digest() == found(tmp_path / "g.onnx").digest()


@pytest.mark.parametrize(
    ("last", "run", "kind"),
    [
        (nn.Conv2d(4, 3, 3, padding=1), lambda a: (a * 127.5 + 128).clamp(0, 255), None),
        (nn.Conv2d(4, 12, 3, padding=1), lambda a: functional.pixel_shuffle(a, 2).tanh(), TransposedConv),
        (nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1), lambda a: a[..., 1:-1, 1:-1].sigmoid(), Cropped),
        (nn.Conv2d(4, 3, 3, padding=1), lambda a: a.tanh().permute(0, 2, 3, 1), None),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 3, padding=1)), torch.tanh, None),
    ],
    ids=["255", "pixel shuffle", "crop", "channels last", "weight norm"],
)
def test_what_comes_after_the_last_layer(last: nn.Module, run: Any, kind: type | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = After(last, run)
    generator = found(exported(module, tmp_path / "g.onnx", (4, 6, 6)))
    assert kind is None or type(generator.head(4).map) is kind
    assert_same(generator, in_torch(module, (4, 6, 6)))


def test_a_fixed_batch(tmp_path: Path) -> None:
    module = deconvolution_images()
    assert_same(found(exported(module, tmp_path / "g.onnx", free=False)), in_torch(module))


def test_the_same_verdicts(tmp_path: Path) -> None:
    module = deconvolution_images()
    generators, other = (
        (found(exported(module, tmp_path / "g.onnx")), in_torch(module)),
        in_torch(deconvolution_images(1)),
    )
    own, foreign = eight_bits(generators[1].samples(200, 2)), eight_bits(other.samples(150, 2))
    tests = [eight_bits(g.samples(40, 3)) for g in (*generators, other)]
    options = {"method": "flipad", "inversion": "closed-form", "detector": "lda", "rate": 0.05}
    verdicts = []
    for generator in generators:
        attributor = morelli.train(generator.head(500), own, foreign, **options)
        verdicts.append([[v.outcome for v in attributor.judge(x)] for x in tests])
    assert verdicts[0] == verdicts[1]
    assert verdicts[0][0] == verdicts[0][1]
    assert sum(v.value == "attributed" for v in verdicts[0][0]) >= 34
    assert sum(v.value == "attributed" for v in verdicts[0][2]) <= 6


def eight_bits(samples: Tensor) -> Tensor:
    return ((samples + 1) * 127.5).round() / 127.5 - 1


# Graphs written node by node.


def graph(nodes: list[Any], weights: dict[str, np.ndarray], inputs: Any = None, opset: int = 17) -> Any:
    helper, kinds = onnx.helper, onnx.TensorProto
    read = inputs or [helper.make_tensor_value_info("z", kinds.FLOAT, ["n", 5])]
    held = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "g", read, [helper.make_tensor_value_info("x", kinds.FLOAT, None)], held)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs, [output], name=f"{kind}_{output}", **attributes)


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def test_a_product_and_a_sum_are_one_layer(tmp_path: Path) -> None:
    w, b = weights(5, 6), weights(6)
    path = tmp_path / "g.onnx"
    onnx.save(graph([node("MatMul", ["z", "w"], "p"), node("Add", ["b", "p"], "a"), node("Tanh", ["a"], "x")],
                    {"w": w, "b": b}), path)  # fmt: skip
    head = found(path).head(16)
    assert head.activation == morelli.Tanh()
    assert torch.equal(head.map.weight, torch.from_numpy(w.T))
    assert torch.equal(head.bias, torch.from_numpy(b))


def test_a_graph_inside_a_module(tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    onnx.save(graph([node("MatMul", ["z", "w"], "x")], {"w": weights(5, 6)}), path)
    generator = in_torch(nn.Sequential(morelli.OnnxModule(path), nn.Tanh()), (5,))
    assert generator.activation == morelli.Tanh()
    assert torch.equal(generator.head(8).map.weight, torch.from_numpy(weights(5, 6).T))


def test_gemm_scales(tmp_path: Path) -> None:
    w, b = weights(5, 6), weights(6)
    onnx.save(graph([node("Gemm", ["z", "w", "b"], "x", alpha=2.0, beta=0.5)], {"w": w, "b": b}), tmp_path / "g.onnx")
    head = found(tmp_path / "g.onnx").head(16)
    assert torch.equal(head.map.weight, 2 * torch.from_numpy(w.T))
    assert torch.equal(head.bias, torch.from_numpy(b) / 2)


@pytest.mark.parametrize("pads", [{"pads": [1, 1, 1, 1]}, {"auto_pad": "SAME_UPPER"}], ids=["pads", "same"])
def test_a_convolution_and_a_sum_are_one_layer(pads: dict[str, Any], tmp_path: Path) -> None:
    read = [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["n", 4, 6, 6])]
    nodes = [node("Conv", ["z", "w"], "p", kernel_shape=[3, 3], **pads), node("Add", ["p", "b"], "a")]
    w, b = weights(3, 4, 3, 3), weights(1, 3, 1, 1)
    onnx.save(graph([*nodes, node("Clip", ["a", "l", "h"], "x")],
                    {"w": w, "b": b, "l": np.float32(-1).reshape(()), "h": np.float32(1).reshape(())}, read),
              tmp_path / "g.onnx")  # fmt: skip
    generator = found(tmp_path / "g.onnx")
    head = generator.head(16)
    assert (head.activation.low, head.activation.high) == (-1, 1)
    assert torch.equal(head.bias.flatten(), torch.from_numpy(b).flatten())
    torch.testing.assert_close(head.forward(generator.activations(4, 1)), generator.samples(4, 1), rtol=1e-4, atol=1e-5)


def test_half_precision(tmp_path: Path) -> None:
    module = deconvolution_images()
    generator = found(exported(module.half(), tmp_path / "g.onnx", dtype=torch.float16))
    assert generator.activation == morelli.Tanh()
    assert torch.equal(generator.head(4).map.weight, module[3].weight.float())


def test_sums_of_another_shape_are_refused(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["z", "w"], "p"), node("Add", ["p", "b"], "x")]
    onnx.save(graph(nodes, {"w": weights(5, 1), "b": weights(6)}), tmp_path / "g.onnx")
    with pytest.raises(HeadNotFound, match="gives 1 channels, and 6 values are added"):
        found(tmp_path / "g.onnx")


def test_quantised_weights_are_read_as_what_they_stand_for(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(-127, 127, (5, 6)).astype(np.int8)
    parts = {
        "q": whole,
        "s": np.float32(0.01).reshape(()),
        "t": np.float32(0.02).reshape(()),
        "o": np.int8(0).reshape(()),
    }
    nodes = [
        node("QuantizeLinear", ["z", "t", "o"], "zq"),
        node("DequantizeLinear", ["zq", "t", "o"], "zd"),
        node("DequantizeLinear", ["q", "s", "o"], "w"),
        node("MatMul", ["zd", "w"], "p"),
        node("Tanh", ["p"], "x"),
    ]
    onnx.save(graph(nodes, parts), tmp_path / "g.onnx")
    head = found(tmp_path / "g.onnx").head(16)
    torch.testing.assert_close(head.map.weight, torch.from_numpy(whole.T * np.float32(0.01)))
    assert head.activation == morelli.Tanh()


def test_integer_arithmetic_is_refused(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("DynamicQuantizeLinear", ["z"], ["q", "s", "o"]),
        node("MatMulInteger", ["q", "w", "o"], "p"),
        node("Cast", ["p"], "x", to=1),
    ]
    onnx.save(graph(nodes, {"w": np.ones((5, 6), np.int8)}), tmp_path / "g.onnx")
    with pytest.raises(HeadNotFound, match=r"computes in integers or fused steps \(MatMulInteger\).*QDQ"):
        found(tmp_path / "g.onnx")


def labelled(path: Path) -> Path:
    """Reads a latent and a label."""
    kinds = onnx.TensorProto
    inputs = [("z", kinds.FLOAT, ["n", 5]), ("y", kinds.INT64, ["n"])]
    read = [onnx.helper.make_tensor_value_info(*entry) for entry in inputs]
    nodes = [node("Gather", ["e", "y"], "c"), node("Add", ["z", "c"], "s"), node("Gemm", ["s", "w"], "p")]
    content = graph([*nodes, node("Sigmoid", ["p"], "x")], {"e": weights(3, 5), "w": weights(5, 6)}, read)
    onnx.save(content, path)
    return path


def test_several_inputs_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = labelled(tmp_path / "g.onnx")
    with pytest.raises(HeadNotFound, match=r"z tensor\(float\) \[n, 5\], y tensor\(int64\) \[n\].*OnnxModule\(path\)"):
        found(path)

    def latent(n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.randn(n, 5, generator=rng), torch.randint(3, (n,), generator=rng)

    generator = morelli.TorchGenerator(morelli.OnnxModule(path), latent, announce=lambda line: None)
    assert generator.activation == morelli.Sigmoid()
    head = generator.head(32)
    torch.testing.assert_close(head.forward(generator.activations(9, 1)), generator.samples(9, 1))


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([("Tanh", ["z"], "x")], "no linear node with weights of its own; supported are Conv"),
        ([("MatMul", ["z", "w"], "p"), ("Softmax", ["p"], "x")], "does not explain the output"),
        ([("MatMul", ["z", "w"], "p"), ("Foo", ["p"], "x")], "cannot be run by onnxruntime"),
        ([("MatMul", ["z", "w"], "p"), ("MatMul", ["z", "v"], "q"), ("Add", ["p", "q"], "x")], "added, mixed"),
    ],
    ids=["no layer", "softmax", "unknown operator", "skip"],
)
def test_refused_in_one_line(nodes: list[tuple], says: str, tmp_path: Path) -> None:
    content = graph([node(*entry) for entry in nodes], {"w": weights(5, 6), "v": weights(5, 6)[:, ::-1].copy()})
    onnx.save(content, tmp_path / "g.onnx")
    with pytest.raises(MorelliError, match=says) as caught:
        found(tmp_path / "g.onnx")
    assert "\n" not in str(caught.value)


def external(path: Path, location: str, dims: tuple[int, ...] = (5, 6)) -> Path:
    content = graph([node("MatMul", ["z", "w"], "p"), node("Tanh", ["p"], "x")], {"w": weights(5, 6)})
    held = content.graph.initializer[0]
    held.ClearField("raw_data")
    held.ClearField("dims")
    held.dims.extend(dims)
    held.data_location = onnx.TensorProto.EXTERNAL
    held.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
    path.write_bytes(content.SerializeToString())
    return path


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(weights(5, 6).tobytes())
    head = found(external(tmp_path / "g.onnx", "w.bin")).head(8)
    assert torch.equal(head.map.weight, torch.from_numpy(weights(5, 6).T))


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "sub/w.bin", "nothing.bin", "link.bin", ""])
def test_weights_elsewhere_are_not_read(location: str, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    (inner / "sub").mkdir(parents=True)
    for place in (tmp_path / "w.bin", inner / "sub" / "w.bin"):
        place.write_bytes(weights(5, 6).tobytes())
    (inner / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(MorelliError, match=r"'w' are in '.*', which is no file in the same folder"):
        found(external(inner / "g.onnx", location))


def test_broken_and_huge_files(tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    with pytest.raises(MorelliError, match="is no file"):
        found(path)
    path.write_bytes(b"not a graph")
    with pytest.raises(MorelliError, match="is no ONNX graph"):
        found(path)
    (tmp_path / "w.bin").write_bytes(b"\0" * 16)
    with pytest.raises(MorelliError, match=r"'w' is \(100000, 100000\), which is too large"):
        found(external(path, "w.bin", (100_000, 100_000)))
    with pytest.raises(MorelliError, match=r"g\.onnx") as caught:
        found(external(path, "w.bin", (5, 6)))
    assert "\n" not in str(caught.value)


def test_without_onnxruntime_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = labelled(tmp_path / "g.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MorelliError, match=r"pip install .morelli\[onnx\]"):
        found(path)
