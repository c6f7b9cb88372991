"""Layers of int8 modules (torch.ao.quantization): their weights are packed, and read here as what they stand for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from morelli.errors import HeadNotFound

QUANTISED = 0.05  # share of the output's range by which rounding of inputs and outputs to 8 bits may move them
KINDS = {
    "linear": "linear",
    "linear_dynamic": "linear",
    "linear_dynamic_fp16": "linear",
    "conv1d": "convolution",
    "conv2d": "convolution",
    "conv_transpose1d": "transposed convolution",
    "conv_transpose2d": "transposed convolution",
}


def is_quantised(operation: Any) -> bool:
    namespace, _, name = _full_name(operation).partition("::")
    return namespace == "quantized" and name in KINDS


def unpacked(operation: Any, packed: Any) -> tuple[str, Tensor, Tensor | None, dict[str, Any]]:
    """Kind, weight as float32, bias and options of a quantised layer. Raises HeadNotFound if it cannot be read."""
    name = _full_name(operation).partition("::")[2]
    kind = KINDS[name]
    try:
        if kind == "linear":
            half = name.endswith("fp16")
            unpack = torch.ops.quantized.linear_unpack_fp16 if half else torch.ops.quantized.linear_unpack
            weight, bias = unpack(packed)
            return kind, _single(weight), bias, {}
        ops, flat = torch.ops.quantized, name.replace("1d", "2d")  # one axis is packed as the last of two
        weight, bias = getattr(ops, f"{name}_unpack")(packed)
        options: dict[str, Any] = {
            part: list(getattr(ops, f"{flat}_{part}")(packed)) for part in ("stride", "padding", "dilation")
        }
        options["groups"] = int(getattr(ops, f"{flat}_groups")(packed))
    except (RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise HeadNotFound(f"the packed weights of a quantised layer ({name}) cannot be read ({reason}).") from error
    weight = _single(weight)
    axes = weight.ndim - 2
    return kind, weight, bias, {k: v[-axes:] if isinstance(v, list) else v for k, v in options.items()}


def _single(weight: Tensor) -> Tensor:
    return weight.dequantize() if weight.is_quantized else weight.float()


def _full_name(operation: Any) -> str:
    schema = getattr(operation, "_schema", None)
    return str(schema.name) if schema is not None else str(getattr(operation, "_qualified_op_name", ""))
