"""A generator exported to ONNX, as a module: onnxruntime runs the graph and shows what goes in and out of linear nodes.

Finding the head, its activation and the anchor is then `TorchGenerator`'s business, as for any module.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morelli.errors import HeadNotFound, MorelliError
from morelli.generators.onnx_file import read_graph, start
from morelli.generators.onnx_nodes import call_of, linear_nodes, showing
from morelli.generators.torch_module import TorchGenerator
from morelli.generators.tracing import Call

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}


class OnnxModule(nn.Module):
    """An ONNX file as a module; after every forward pass `linear_calls` holds its last linear operations.

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
        model = read_graph(Path(path))
        outputs = [output.name for output in model.graph.output]
        if len(outputs) != 1:
            raise HeadNotFound(f"{path} returns {', '.join(outputs)}; export the generator with its samples alone.")
        content = model.SerializeToString(deterministic=True)
        self.register_buffer("graph", torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self.rounds = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        try:
            self.nodes, self.linear_calls = linear_nodes(model.graph, str(path)), list[Call]()
        except MorelliError:
            raise
        except Exception as error:  # a damaged graph: nodes without inputs, attributes of other types
            reason = f"{type(error).__name__}: {error}"[:120]
            raise MorelliError(f"{path} is no sound ONNX graph ({reason}). Export it again.") from error
        self.session = start(showing(model, self.nodes), str(path))
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
        self.linear_calls = [call_of(node, found, constant, self.rounds) for node in self.nodes]
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
    shape, kind = module.reads[0][1:] if len(module.reads) == 1 else ((), "")
    if kind not in ("tensor(float)", "tensor(float16)") or None in shape[1:] or len(shape) < 2:
        raise HeadNotFound(
            f"the graph reads {_listed(module.reads)}; only one latent [n, …] of known sizes is drawn from N(0, I). "
            "Write a factory that returns morelli.TorchGenerator(morelli.OnnxModule(path), latent=function)."
        )
    latent = tuple(n for n in shape[1:] if n is not None)
    return TorchGenerator(module, latent, announce=announce, **options)


def _listed(reads: list[tuple[str, tuple[int | None, ...], str]]) -> str:
    shown = (f"{name} {kind} [{', '.join('n' if n is None else str(n) for n in shape)}]" for name, shape, kind in reads)
    return ", ".join(shown)
