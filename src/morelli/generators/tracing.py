"""Watching a forward pass: which linear operations ran, with what in, out and weights.

Operations are intercepted where torch dispatches them, so layers and functional calls are seen alike. Scripted modules
call torch's core operations without that; they are intercepted one level below (`_CoreRecorder`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from morelli.errors import HeadNotFound
from morelli.generators.quantised import QUANTISED, is_quantised, unpacked
from morelli.numerics.linear import Conv, Dense, Geometry, LinearMap, TransposedConv


@dataclass(frozen=True, eq=False)
class Call:
    """One linear operation of a forward pass. `layer` is the innermost named module that ran it.

    `exact`: how far map(input) + bias may be from the output, as a share of its range, by the precision it ran in.
    """

    kind: str
    layer: str
    input: Tensor
    weight: Tensor
    bias: Tensor | None
    options: Mapping[str, Any]
    output: Tensor
    exact: float = 1e-3

    def describe(self) -> str:
        sizes = "×".join(str(n) for n in self.weight.shape)
        return f"layer '{self.layer}' ({self.kind}, weight {sizes})"

    def linear_map(self) -> tuple[LinearMap, Tensor]:
        """The map, and its bias to be added to the map's output. Raises HeadNotFound for what is not supported."""
        in_shape, out_shape = tuple(self.input.shape[1:]), tuple(self.output.shape[1:])
        weight = _at_least_single(self.weight.detach())
        bias = weight.new_zeros(()) if self.bias is None else self.bias.detach().to(weight)
        if self.kind == "linear":
            if len(in_shape) != 1:
                raise HeadNotFound(
                    f"{self.describe()} acts on {in_shape} position by position; flatten its input first."
                )
            return Dense(weight, in_shape, out_shape), bias.reshape(out_shape) if bias.ndim else bias
        axes = weight.ndim - 2
        padding = self.options.get("padding", 0)
        if padding in ("same", "valid"):
            padding = self._same_padding() if padding == "same" else 0
        geometry = Geometry(
            _per_axis(self.options.get("stride", 1), axes),
            _per_axis(padding, axes),
            _per_axis(self.options.get("dilation", 1), axes),
            int(self.options.get("groups", 1)),
        )
        spread = bias.reshape(-1, *[1] * axes) if bias.ndim else bias
        if self.kind == "convolution":
            return Conv(weight, in_shape, geometry), spread
        return TransposedConv(weight, in_shape, out_shape, geometry), spread

    def arranged(self, place: Callable[[Tensor], Tensor]) -> Call:
        """The same dense operation, its results, weights and bias in the order that `place` gives to results [n, …]."""
        weight = place(self.weight.movedim(0, -1)).flatten(1).T
        bias = None if self.bias is None else place(self.bias[None])[0].flatten()
        return replace(self, weight=weight, bias=bias, output=place(self.output))

    def at_every_place(self) -> Call:
        """A linear layer on the last axis of [n, *places, d] as the 1×1 convolution it is; others as they are."""
        axes = self.input.ndim - 2
        if self.kind != "linear" or axes not in (1, 2):
            return self
        weight = self.weight.reshape(*self.weight.shape, *[1] * axes)
        moved = self.input.movedim(-1, 1), self.output.movedim(-1, 1)
        return replace(self, kind="convolution", weight=weight, input=moved[0], output=moved[1], options={})

    def _same_padding(self) -> tuple[int, ...]:
        dilation = _per_axis(self.options.get("dilation", 1), self.weight.ndim - 2)
        reach = [d * (k - 1) for d, k in zip(dilation, self.weight.shape[2:], strict=True)]
        if any(r % 2 for r in reach):
            raise HeadNotFound(f"{self.describe()} pads one side more than the other, which is not supported.")
        return tuple(r // 2 for r in reach)


def _at_least_single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in HALVES else tensor


def _per_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


HALVES = (torch.float16, torch.bfloat16)
CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
LINEAR_OPERATIONS: dict[Any, tuple[str, tuple[str, ...]]] = {
    torch.nn.functional.linear: ("linear", ("input", "weight", "bias")),
    torch.conv1d: ("convolution", CONVOLUTION),
    torch.conv2d: ("convolution", CONVOLUTION),
    torch.conv_transpose1d: ("transposed convolution", TRANSPOSED),
    torch.conv_transpose2d: ("transposed convolution", TRANSPOSED),
}
ATEN = torch.ops.aten  # what modules made by torch.export call
LINEAR_OPERATIONS |= {
    ATEN.linear.default: LINEAR_OPERATIONS[torch.nn.functional.linear],
    ATEN.conv1d.default: LINEAR_OPERATIONS[torch.conv1d],
    ATEN.conv2d.default: LINEAR_OPERATIONS[torch.conv2d],
    ATEN.conv_transpose1d.default: LINEAR_OPERATIONS[torch.conv_transpose1d],
    ATEN.conv_transpose2d.input: LINEAR_OPERATIONS[torch.conv_transpose2d],
}


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.layers: list[str] = [""]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in LINEAR_OPERATIONS:
            kind, names = LINEAR_OPERATIONS[func]
            given = dict(zip(names, args, strict=False)) | (kwargs or {})
            self.calls.append(_call(kind, self.layers[-1], given, output))
        elif is_quantised(func):
            self.calls.append(_quantised(func, self.layers[-1], args, output))
        return output


class _CoreRecorder(TorchDispatchMode):
    """The same for scripted and traced modules, of which only torch's core operations are seen."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self.layers: list[str] = [""]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket)
        if name in ("aten.convolution", "aten._convolution"):
            given = dict(zip(CORE_CONVOLUTION, args, strict=False))
            turned = "transposed convolution" if given.pop("transposed") else "convolution"
            self.calls.append(_call(turned, self.layers[-1], given, output))
        elif name == "aten.addmm":
            bias, rows, columns = args
            given = {"input": rows, "weight": columns.T, "bias": bias}
            self.calls.append(_call("linear", self.layers[-1], given, output))
        elif name == "aten.mm":
            self.calls.append(_call("linear", self.layers[-1], {"input": args[0], "weight": args[1].T}, output))
        elif is_quantised(func):
            self.calls.append(_quantised(func, self.layers[-1], args, output))
        return output


CORE_CONVOLUTION = (*CONVOLUTION[:5], "dilation", "transposed", "output_padding", "groups")


def _call(kind: str, layer: str, given: dict[str, Any], output: Tensor) -> Call:
    tensors = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    exact = max(Call.exact, 4 * torch.finfo(output.dtype).eps)
    # a copy: what follows may change the output in place, as nn.Hardtanh(inplace=True) does
    return Call(kind, layer, *tensors, given, output.clone(), exact).at_every_place()


def _quantised(func: Any, layer: str, args: Any, output: Tensor) -> Call:
    kind, weight, bias, options = unpacked(func, args[1])
    made, read = (x.dequantize() if x.is_quantized else x.clone() for x in (output, args[0]))
    return Call(kind, layer, read, weight, bias, options, made, QUANTISED).at_every_place()


def watch(module: nn.Module, run: Callable[[], Any]) -> tuple[Any, list[Call]]:
    """What `run` returns, and the linear operations that ran meanwhile, in order.

    Modules that run outside torch keep those of their last pass as `linear_calls`; these come last.
    """
    scripted = any(isinstance(inner, torch.jit.ScriptModule) for inner in module.modules())
    recorder = _CoreRecorder() if scripted else _Recorder()
    with layer_names(module, recorder.layers), recorder:
        output = run()
    reported = [call for inner in module.modules() for call in getattr(inner, "linear_calls", [])]
    return output, [*recorder.calls, *reported]


@contextmanager
def layer_names(module: nn.Module, layers: list[str]) -> Iterator[None]:
    """Keeps `layers[-1]` at the name of the module that is running."""

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: layers.append(name)

    def leave(*_: Any) -> None:
        layers.pop()

    handles = []
    for name, inner in module.named_modules():
        if not isinstance(inner, torch.jit.ScriptModule):
            handles += [inner.register_forward_pre_hook(enter(name)), inner.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
