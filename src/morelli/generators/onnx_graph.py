"""A generator exported to ONNX, as a module: onnxruntime runs the graph and shows what goes in and out of linear nodes.

Finding the head, its activation and the anchor is then `TorchGenerator`'s business, as for any module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morelli.errors import HeadNotFound, MorelliError
from morelli.generators.quantised import QUANTISED
from morelli.generators.torch_module import TorchGenerator
from morelli.generators.tracing import Call

INSTALL = 'pip install "morelli[onnx]"'
LARGEST = 2**31 - 1  # bytes of a graph with its weights: what protobuf holds
LAST = 6  # linear nodes, counted from the end, among which the last layer is looked for
LINEAR = {"Conv": "convolution", "ConvTranspose": "transposed convolution", "Gemm": "linear", "MatMul": "linear"}
HIDDEN = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "FusedConv", "FusedMatMul")
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}


@dataclass(frozen=True)
class Node:
    """A linear node: the names of its values, and where a bias is added by a node of its own, that sum's."""

    name: str
    kind: str
    input: str
    weight: str
    bias: str
    output: str
    attributes: Mapping[str, Any]

    @property
    def values(self) -> list[str]:
        return [name for name in (self.input, self.weight, self.bias, self.output) if name]


class OnnxModule(nn.Module):
    """An ONNX file as a module; after every forward pass `calls` holds its last linear operations.

    Weights are read as the graph computes them, so that they may be quantised (QuantizeLinear, DequantizeLinear) or
    normalised. The file's bytes are a buffer, which is what the digest is taken of.

    Args:
        path: of the file; weights in files next to it are read, in other folders not.
    Raises:
        HeadNotFound: no linear node, integer arithmetic, or not one output.
        MorelliError: the file cannot be read or run, or onnx or onnxruntime is not installed.
    """

    graph: Tensor

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        model = _read(Path(path))
        outputs = [output.name for output in model.graph.output]
        if len(outputs) != 1:
            raise HeadNotFound(f"{path} returns {', '.join(outputs)}; export the generator with its samples alone.")
        content = model.SerializeToString(deterministic=True)
        self.register_buffer("graph", torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self.rounds = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        self.nodes, self.calls = _linear_nodes(model.graph, str(path)), list[Call]()
        self.session = _session(_showing(model, self.nodes), str(path))
        self.output = outputs[0]

    @property
    def reads(self) -> list[tuple[str, tuple[int | None, ...], str]]:
        """Name, shape and type of every input; None where a size is free."""
        return [
            (x.name, tuple(n if isinstance(n, int) and n > 0 else None for n in x.shape), x.type)
            for x in self.session.get_inputs()
        ]

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) != len(self.reads):
            raise HeadNotFound(f"the graph reads {_listed(self.reads)}; it was given {len(inputs)}.")
        n, fixed = len(inputs[0]), self.reads[0][1][0]
        parts = [self._run([x[i : i + (fixed or n)] for x in inputs], fixed) for i in range(0, n, fixed or n)]
        found = {name: np.concatenate([part[name] for part in parts]) for name in self._sampled()}
        constant = parts[0]
        self.calls = [_call(node, found, constant, self.rounds) for node in self.nodes]
        return torch.from_numpy(found[self.output])

    def _sampled(self) -> list[str]:
        return [self.output, *(name for node in self.nodes for name in (node.input, node.output))]

    def _run(self, inputs: list[Tensor], fixed: int | None) -> dict[str, np.ndarray]:
        """One pass; where the batch is fixed, a smaller one is filled up with its first sample."""
        count, names = len(inputs[0]), list(dict.fromkeys([self.output, *(v for x in self.nodes for v in x.values)]))
        given = {}
        for (name, _, kind), x in zip(self.reads, inputs, strict=True):
            full = torch.cat([x, x[:1].expand((fixed or count) - count, *x.shape[1:])])
            given[name] = full.cpu().numpy().astype(TYPES.get(kind, full.numpy().dtype), copy=False)
        values = dict(zip(names, self.session.run(names, given), strict=True))
        return {name: x[:count] if name in self._sampled() else x for name, x in values.items()}


def onnx_generator(path: str | Path, announce: Callable[[str], None] = print, **options: Any) -> TorchGenerator:
    """The generator of an ONNX file whose one input is a latent drawn from N(0, I).

    Raises:
        HeadNotFound: several inputs, or sizes that are free; also what `TorchGenerator` raises.
        MorelliError: see `OnnxModule`.
    """
    module = OnnxModule(path)
    _, shape, kind = module.reads[0]
    if len(module.reads) > 1 or kind not in ("tensor(float)", "tensor(float16)") or None in shape[1:] or len(shape) < 2:
        raise HeadNotFound(
            f"the graph reads {_listed(module.reads)}; only one latent [n, …] of known sizes is drawn from N(0, I). "
            "Write a factory that returns morelli.TorchGenerator(morelli.OnnxModule(path), latent=function)."
        )
    latent = tuple(n for n in shape[1:] if n is not None)
    return TorchGenerator(module, latent, announce=announce, **options)


def _listed(reads: list[tuple[str, tuple[int | None, ...], str]]) -> str:
    shown = (f"{name} {kind} [{', '.join('n' if n is None else str(n) for n in shape)}]" for name, shape, kind in reads)
    return ", ".join(shown)


def _read(path: Path) -> Any:
    """The model with its weights in it. Nothing is read from outside the file's folder."""
    onnx = _imported("onnx")
    if not path.is_file():
        raise MorelliError(f"{path} is no file; expected a generator exported to ONNX.")
    if path.stat().st_size > LARGEST:
        raise MorelliError(f"{path} is larger than 2 GB, which one ONNX file cannot be.")
    try:
        model = onnx.load(str(path), load_external_data=False)
        assert model.graph.node
    except Exception as error:  # protobuf's errors have no common base
        raise MorelliError(f"{path} is no ONNX graph ({type(error).__name__}).") from error
    folder, size = path.parent.resolve(), path.stat().st_size
    for tensor in onnx.external_data_helper._get_all_tensors(model):
        values = math.prod(tensor.dims)
        if min(tensor.dims, default=1) < 0 or values > LARGEST:
            raise MorelliError(f"{path}: '{tensor.name}' is {tuple(tensor.dims)}, which is too large.")
        where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        target = (folder / where).resolve()
        if not where or target.parent != folder or not target.is_file():
            raise MorelliError(
                f"{path}: the weights of '{tensor.name}' are in '{where}', which is no file in the same folder. Bring "
                "it there, or export the model as one file."
            )
        size += values
        if size > LARGEST:
            raise MorelliError(f"{path}: graph and weights are larger than 2 GB, which is not supported.")
    try:
        onnx.load_external_data_for_model(model, str(folder))
    except Exception as error:
        reason = str(error).splitlines()[0][:160]
        raise MorelliError(f"{path}: its weights cannot be read ({reason}).") from error
    return model


def _linear_nodes(graph: Any, path: str) -> list[Node]:
    hidden = [node.op_type for node in graph.node if node.op_type in HIDDEN]
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    constant = _constants(graph)
    found = [
        _linear_node(node, readers, constant)
        for node in graph.node
        if node.op_type in LINEAR and not node.domain and node.input[1] in constant
    ]
    if hidden and (not found or graph.node[-1].op_type in HIDDEN or _after(graph, hidden, found[-1])):
        raise HeadNotFound(
            f"{path} computes in integers ({', '.join(dict.fromkeys(hidden))}). Export it with QuantizeLinear and "
            "DequantizeLinear nodes (QDQ), or give the graph before it was quantised."
        )
    if not found:
        raise HeadNotFound(
            f"{path} has no linear node with weights of its own; supported are {', '.join(LINEAR)}. Loops and "
            "functions hide theirs: inline them on export."
        )
    return found[-LAST:]


def _after(graph: Any, hidden: list[str], last: Node) -> bool:
    """Whether integer arithmetic comes after the last linear node."""
    places = [i for i, node in enumerate(graph.node) if node.op_type in hidden]
    return max(places) > next(
        i for i, node in enumerate(graph.node) if node.name == last.name or last.output in node.output
    )


def _linear_node(node: Any, readers: Mapping[str, list[Any]], constant: set[str]) -> Node:
    onnx = _imported("onnx")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    bias, output = node.input[2] if len(node.input) > 2 else "", node.output[0]
    following = readers.get(output, [])
    if not bias and len(following) == 1 and following[0].op_type == "Add":
        others = [name for name in following[0].input if name != output]
        if len(others) == 1 and others[0] in constant:
            bias, output = others[0], following[0].output[0]
    name = node.name or node.output[0]
    return Node(name, LINEAR[node.op_type], node.input[0], node.input[1], bias, output, attributes)


def _constants(graph: Any) -> set[str]:
    """Names of values that no input of the graph reaches."""
    known = {tensor.name for tensor in graph.initializer} | {""}
    for node in graph.node:
        if set(node.input) <= known and not node.op_type.startswith("Random"):
            known |= set(node.output)
    return known


def _showing(model: Any, nodes: list[Node]) -> bytes:
    """The graph with the values of its linear nodes as further outputs."""
    onnx = _imported("onnx")
    shown = {output.name for output in model.graph.output}
    for name in dict.fromkeys(value for node in nodes for value in node.values):
        if name not in shown:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    content: bytes = model.SerializeToString()
    return content


def _session(content: bytes, path: str) -> Any:
    runtime = _imported("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever the runtime raises becomes one line
        reason = " ".join(str(error).split())[:200]
        raise MorelliError(f"{path} cannot be run by onnxruntime ({reason}).") from error


def _call(node: Node, sampled: Mapping[str, np.ndarray], constant: Mapping[str, np.ndarray], rounds: bool) -> Call:
    made, read = (torch.from_numpy(sampled[name].astype(np.float32)) for name in (node.output, node.input))
    weight = torch.from_numpy(constant[node.weight].astype(np.float32))
    bias = torch.from_numpy(constant[node.bias].astype(np.float32)) if node.bias else None
    half = sampled[node.output].dtype == np.float16
    exact = QUANTISED if rounds else 4 * torch.finfo(torch.float16).eps if half else Call.exact
    if node.kind == "linear":
        weight, bias = _dense(node, weight, bias)
        return Call("linear", node.name, read, weight, bias, {}, made, exact).at_every_place()
    if bias is not None:
        bias = bias.flatten() if bias.numel() > 1 else bias.flatten().expand(made.shape[1])
    return Call(node.kind, node.name, read, weight, bias, _geometry(node, weight, made), made, exact)


def _dense(node: Node, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """As torch has it, [outputs, inputs]."""
    if node.attributes.get("transA", 0):
        raise HeadNotFound(f"node '{node.name}' reads its input transposed, which is not supported.")
    weight = weight * node.attributes.get("alpha", 1.0)
    weight = weight if node.attributes.get("transB", 0) else weight.T
    if bias is not None:
        bias = (bias * node.attributes.get("beta", 1.0)).flatten().expand(len(weight)).clone()
    return weight, bias


def _geometry(node: Node, weight: Tensor, made: Tensor) -> dict[str, Any]:
    """Options as torch names them. Raises HeadNotFound where one side is padded more than the other."""
    axes = weight.ndim - 2
    get = node.attributes.get
    pads = list(get("pads", [0] * 2 * axes))
    same = (get("auto_pad") or b"NOTSET").decode()
    if same not in ("NOTSET", "VALID") or (node.kind == "convolution" and pads[:axes] != pads[axes:]):
        raise HeadNotFound(f"node '{node.name}' pads one side more than the other, which is not supported.")
    return {
        "stride": list(get("strides", [1] * axes)),
        "padding": pads[:axes],
        "dilation": list(get("dilations", [1] * axes)),
        "groups": int(get("group", 1)),
    }


def _imported(name: str) -> Any:
    try:
        return __import__(name, fromlist=["helper", "external_data_helper"])
    except Exception as error:  # a broken installation raises whatever it likes
        raise MorelliError(f"ONNX graphs need onnx and onnxruntime; install them by {INSTALL}.") from error
