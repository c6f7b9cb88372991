"""Watching a forward pass: which linear operations ran, with what in, out and weights.

Operations are intercepted where torch dispatches them, so layers and functional calls are seen alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from morelli.errors import HeadNotFound
from morelli.numerics.linear import Conv, Dense, Geometry, LinearMap, TransposedConv


@dataclass(frozen=True, eq=False)
class Call:
    """One linear operation of a forward pass. `layer` is the innermost named module that ran it."""

    kind: str
    layer: str
    input: Tensor
    weight: Tensor
    bias: Tensor | None
    options: Mapping[str, Any]
    output: Tensor

    def describe(self) -> str:
        sizes = "×".join(str(n) for n in self.weight.shape)
        return f"layer '{self.layer}' ({self.kind}, weight {sizes})"

    def linear_map(self) -> tuple[LinearMap, Tensor]:
        """The map, and its bias to be added to the map's output. Raises HeadNotFound for what is not supported."""
        in_shape, out_shape = tuple(self.input.shape[1:]), tuple(self.output.shape[1:])
        weight = self.weight.detach()
        bias = torch.zeros((), device=weight.device, dtype=weight.dtype) if self.bias is None else self.bias.detach()
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

    def reshaped(self, output: Tensor) -> Call:
        """The same operation, its result arranged like `output`."""
        return replace(self, output=self.output.reshape(output.shape))

    def _same_padding(self) -> tuple[int, ...]:
        dilation = _per_axis(self.options.get("dilation", 1), self.weight.ndim - 2)
        reach = [d * (k - 1) for d, k in zip(dilation, self.weight.shape[2:], strict=True)]
        if any(r % 2 for r in reach):
            raise HeadNotFound(f"{self.describe()} pads one side more than the other, which is not supported.")
        return tuple(r // 2 for r in reach)


def _per_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
LINEAR_OPERATIONS: dict[Any, tuple[str, tuple[str, ...]]] = {
    torch.nn.functional.linear: ("linear", ("input", "weight", "bias")),
    torch.conv1d: ("convolution", CONVOLUTION),
    torch.conv2d: ("convolution", CONVOLUTION),
    torch.conv_transpose1d: ("transposed convolution", TRANSPOSED),
    torch.conv_transpose2d: ("transposed convolution", TRANSPOSED),
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
            tensors = given.pop("input"), given.pop("weight"), given.pop("bias", None)
            # a copy: what follows may change the output in place, as nn.Hardtanh(inplace=True) does
            self.calls.append(Call(kind, self.layers[-1], *tensors, given, output.clone()))
        return output


def watch(module: nn.Module, run: Callable[[], Any]) -> tuple[Any, list[Call]]:
    """What `run` returns, and the linear operations that ran meanwhile, in order."""
    recorder = _Recorder()
    with layer_names(module, recorder.layers), recorder:
        output = run()
    return output, recorder.calls


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
