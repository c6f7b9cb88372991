"""Linear nodes of an ONNX graph, and what they computed in one pass as the calls of which a head is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morelli.errors import HeadNotFound
from morelli.generators.onnx_file import imported
from morelli.generators.quantised import QUANTISED
from morelli.generators.tracing import Call

LAST = 6  # linear nodes, counted from the end, among which the last layer is looked for
LINEAR = {"Conv": "convolution", "ConvTranspose": "transposed convolution", "Gemm": "linear", "MatMul": "linear"}
HIDDEN = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "FusedConv", "FusedMatMul")


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


def linear_nodes(graph: Any, path: str) -> list[Node]:
    hidden = [node.op_type for node in graph.node if node.op_type in HIDDEN]
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    constant = _constants(graph)
    found = [
        _linear_node(node, readers, constant)
        for node in graph.node
        if node.op_type in LINEAR and not node.domain and set(node.input[1:2]) & constant and _axes(node) <= 2
    ]
    if hidden and (not found or _after(graph, hidden, found[-1])):
        raise HeadNotFound(
            f"{path} computes in integers or fused steps ({', '.join(dict.fromkeys(hidden))}). Export it with "
            "QuantizeLinear and DequantizeLinear nodes (QDQ), or give the graph before it was quantised."
        )
    if not found:
        raise HeadNotFound(
            f"{path} has no linear node with weights of its own; supported are {', '.join(LINEAR)}. Loops and "
            "functions hide theirs: inline them on export."
        )
    return found[-LAST:]


def _after(graph: Any, hidden: list[str], last: Node) -> bool:
    """Whether a node whose weights are hidden comes after the last linear node."""
    places = [i for i, node in enumerate(graph.node) if node.op_type in hidden]
    return max(places) > next(i for i, node in enumerate(graph.node) if last.output in node.output)


def _axes(node: Any) -> int:
    return max([len(a.ints) for a in node.attribute if a.name == "kernel_shape"], default=0)


def _linear_node(node: Any, readers: Mapping[str, list[Any]], constant: set[str]) -> Node:
    onnx = imported("onnx")
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


def showing(model: Any, nodes: list[Node]) -> bytes:
    """The graph with the values of its linear nodes as further outputs."""
    onnx = imported("onnx")
    shown = {output.name for output in model.graph.output}
    for name in dict.fromkeys(value for node in nodes for value in node.values):
        if name not in shown:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    content: bytes = model.SerializeToString()
    return content


def call_of(node: Node, sampled: Mapping[str, np.ndarray], constant: Mapping[str, np.ndarray], rounds: bool) -> Call:
    made, read = (torch.from_numpy(sampled[name].astype(np.float32)) for name in (node.output, node.input))
    weight = torch.from_numpy(constant[node.weight].astype(np.float32))
    bias = torch.from_numpy(constant[node.bias].astype(np.float32)) if node.bias else None
    turned = 0 if node.attributes.get("transB", 0) else -1
    outputs = weight.shape[turned] if node.kind == "linear" else made.shape[1]
    if bias is not None and bias.numel() not in (1, outputs):
        raise HeadNotFound(f"node '{node.name}' gives {outputs} channels, and {bias.numel()} values are added to them.")
    half = sampled[node.output].dtype == np.float16
    exact = QUANTISED if rounds else 4 * torch.finfo(torch.float16).eps if half else Call.exact
    if node.kind == "linear":
        weight, bias = _dense(node, weight, bias)
        return Call("linear", node.name, read, weight, bias, {}, made, exact).at_every_place()
    if bias is not None:
        bias = bias.flatten().expand(outputs)
    return Call(node.kind, node.name, read, weight, bias, _geometry(node, weight), made, exact)


def _dense(node: Node, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """As torch has it, [outputs, inputs]."""
    if node.attributes.get("transA", 0):
        raise HeadNotFound(f"node '{node.name}' reads its input transposed, which is not supported.")
    weight = weight * node.attributes.get("alpha", 1.0)
    weight = weight if node.attributes.get("transB", 0) else weight.T
    if bias is not None:
        bias = (bias * node.attributes.get("beta", 1.0)).flatten().expand(len(weight)).clone()
    return weight, bias


def _geometry(node: Node, weight: Tensor) -> dict[str, Any]:
    """Options as torch names them. Raises HeadNotFound where one side is padded more than the other."""
    axes = weight.ndim - 2
    get = node.attributes.get
    pads = list(get("pads", [0] * 2 * axes))
    same = (get("auto_pad") or b"NOTSET").decode()
    reach = [d * (k - 1) for d, k in zip(get("dilations", [1] * axes), weight.shape[2:], strict=True)]
    plain = node.kind == "convolution" and set(get("strides", [1])) == {1} and not any(r % 2 for r in reach)
    if same.startswith("SAME") and plain:
        pads, same = [r // 2 for r in reach] * 2, "NOTSET"
    if same not in ("NOTSET", "VALID") or (node.kind == "convolution" and pads[:axes] != pads[axes:]):
        raise HeadNotFound(f"node '{node.name}' pads one side more than the other, which is not supported.")
    return {
        "stride": list(get("strides", [1] * axes)),
        "padding": pads[:axes],
        "dilation": list(get("dilations", [1] * axes)),
        "groups": int(get("group", 1)),
    }
