"""From a torch module to a program: its forward pass as operations and weights."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, export
from torch.utils._python_dispatch import TorchDispatchMode

from morelli.errors import UnsuitableProgram
from morelli.numerics.program import DTYPES, PLACING, PYTHON, Program, Step

EXACT = 1e-4  # largest difference between module and program, relative to the output's largest value


def capture(
    module: nn.Module, in_shape: tuple[int, ...], tolerance: float = EXACT, *, noiseless: bool = False
) -> Program:
    """The program of a module that reads one tensor [n, *in_shape] and returns one.

    It is checked against the module on batches of 1 and 5, to `tolerance` of the largest output. The weights are copied
    to the CPU.

    Args:
        noiseless: what the module draws by `randn` or `randn_like` is 0, its mean, in place of being refused.
    Raises:
        UnsuitableProgram: the module cannot be traced, draws random numbers, depends on the number of samples, or uses
            an operation that a stored network may not.
    """
    modes = [(inner, inner.training) for inner in module.modules()]
    module.eval()
    try:
        with _Noiseless() if noiseless else nullcontext():
            return _capture(module, in_shape, tolerance)
    finally:
        for inner, training in modes:
            inner.training = training


class _Noiseless(TorchDispatchMode):
    """Gives zeros where normal random numbers are asked for without a generator of their own."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _SILENT.get(func, func)(*args, **(kwargs or {}))


_SILENT = {
    torch.ops.aten.randn.default: torch.ops.aten.zeros.default,
    torch.ops.aten.randn_like.default: torch.ops.aten.zeros_like.default,
}


def _capture(module: nn.Module, in_shape: tuple[int, ...], tolerance: float) -> Program:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    example = torch.randn(3, *in_shape, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's exporter warns of its own parts
            exported = export(module, (example,), dynamic_shapes=({0: Dim.AUTO},)).run_decompositions()
    except Exception as error:  # whatever the user's code or the exporter raises becomes one line
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise UnsuitableProgram(f"the module cannot be stored as a list of operations ({reason}).") from error
    weights = exported.graph_signature.inputs_to_parameters | exported.graph_signature.inputs_to_buffers
    held = exported.state_dict | exported.constants
    constants = exported.graph_signature.inputs_to_lifted_tensor_constants
    program = _of_graph(exported.graph, in_shape, {**weights, **constants}, held)
    try:
        program.checked()
    except UnsuitableProgram as error:
        try:
            program.checked((len(example),))
        except UnsuitableProgram:
            raise error from None
        raise UnsuitableProgram(
            "the module works for one number of samples alone once it is traced, as where it asks for `len(x)`. "
            "Use `x.shape[0]` there."
        ) from error
    for count in (1, 5):
        inputs = torch.randn(count, *in_shape, generator=torch.Generator().manual_seed(count)).to(device)
        with torch.no_grad():
            expected, found, alone = module(inputs), program(inputs), program(inputs[:1])
        if found.shape != expected.shape or not _same(found, expected, tolerance):
            raise UnsuitableProgram("as a list of operations the module gives other results than by itself.")
        if not _same(found[:1], alone, tolerance):
            raise UnsuitableProgram("what the module makes of an input depends on the others in its batch.")
    return program.to("cpu")


def _same(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())


def _of_graph(graph: fx.Graph, in_shape: tuple[int, ...], weights: dict[str, str], held: dict[str, Any]) -> Program:
    meaning: dict[fx.Node, dict[str, Any]] = {}
    tensors: dict[str, Tensor] = {}
    steps: list[Step] = []

    def encoded(value: Any) -> Any:
        match value:
            case fx.Node() if value.name in weights:
                tensor = held[weights[value.name]].detach().clone().contiguous()
                if tensor.is_floating_point() and not tensor.isfinite().all():
                    raise UnsuitableProgram(f"the module holds a tensor, {weights[value.name]}, that is not finite.")
                tensors[value.name] = tensor
                return {"tensor": value.name}
            case fx.Node():
                return meaning[value]
            case torch.dtype() if (name := str(value).removeprefix("torch.")) in DTYPES:
                return {"dtype": name}
            case list() | tuple():
                return [encoded(inner) for inner in value]
            case float() if not math.isfinite(value):
                return {"float": str(value)}
            case None | bool() | int() | float() | str():
                return value
        raise UnsuitableProgram(f"the module cannot be stored as a list of operations: it uses {value!r}.")

    for node in graph.nodes:
        if node.op == "placeholder" and node.name not in weights:
            meaning[node] = {"step": 0}
        elif node.op == "call_function" and _name(node.target) not in _IGNORED:
            options = {key: encoded(v) for key, v in node.kwargs.items() if key not in PLACING}
            steps.append(Step(_name(node.target), tuple(encoded(arg) for arg in node.args), options))
            meaning[node] = {"step": len(steps)}
        elif node.op == "output" and [encoded(value) for value in node.args[0]] != [{"step": len(steps)}]:
            raise UnsuitableProgram("the module does not return one tensor. Wrap it in one that does.")
    return Program(in_shape, tuple(steps), tensors)


_IGNORED = ("_assert_tensor_metadata.default",)


def _name(target: Any) -> str:
    named = {function: name for name, function in PYTHON.items()}
    return named[target] if target in named else str(target).removeprefix("aten.")
