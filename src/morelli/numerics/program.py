"""Program: a network as a list of tensor operations and their weights, stored and run without its code."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from morelli.errors import MismatchError, UnsuitableProgram
from morelli.numerics.state import State

PYTHON = {  # of sizes, and the choice of one of several results
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "getitem": operator.getitem,
}
# Of torch's core operations, those that compute and do nothing else: no files, no randomness, no memory.
OPERATIONS = frozenset(
    """
    _adaptive_avg_pool2d.default _log_softmax.default _native_batch_norm_legit_no_training.default _softmax.default
    _to_copy.default _unsafe_view.default abs.default add.Scalar add.Tensor addmm.default alias.default amax.default
    amin.default any.dim arange.default arange.start_step argmax.default avg_pool1d.default avg_pool2d.default
    bitwise_and.Tensor bitwise_not.default bmm.default cat.default ceil.default clamp.default clamp.Tensor
    clone.default constant_pad_nd.default convolution.default copy.default cos.default cumsum.default div.Scalar
    div.Tensor elu.default embedding.default eq.Scalar eq.Tensor erf.default exp.default expand.default
    expm1.default floor.default full.default full_like.default gather.default ge.Scalar ge.Tensor gelu.default
    gt.Scalar gt.Tensor hardtanh.default index.Tensor index_select.default le.Scalar le.Tensor leaky_relu.default
    log.default log1p.default logical_and.default logical_not.default lt.Scalar lt.Tensor
    max_pool2d_with_indices.default maximum.default mean.default mean.dim minimum.default mm.default mul.Scalar
    mul.Tensor native_group_norm.default native_layer_norm.default ne.Scalar ne.Tensor neg.default ones.default
    ones_like.default permute.default pixel_shuffle.default pixel_unshuffle.default pow.Scalar pow.Tensor_Scalar
    pow.Tensor_Tensor prod.dim_int reciprocal.default reflection_pad1d.default reflection_pad2d.default relu.default
    repeat.default replication_pad2d.default round.default rsqrt.default rsub.Scalar scalar_tensor.default
    select.int sigmoid.default sign.default sin.default slice.Tensor split_with_sizes.default sqrt.default
    squeeze.default squeeze.dim squeeze.dims sub.Scalar sub.Tensor sum.default sum.dim_IntList sym_size.int
    t.default tanh.default transpose.int unsqueeze.default upsample_bilinear2d.vec upsample_nearest2d.vec
    var.correction var.dim view.default where.self zeros.default zeros_like.default
    """.split()  # noqa: SIM905
)
PLACING = ("device", "layout", "pin_memory", "memory_format")  # options that say where, not what
LARGEST = 2**28  # values that a result may hold for one sample
CREATORS = ("arange", "full", "ones", "scalar_tensor", "zeros")  # told the device of the input
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.float32, torch.float64, torch.int64, torch.bool)}


@dataclass(frozen=True)
class Step:
    """One operation. In its arguments {"step": i} stands for an earlier result, {"tensor": name} for a weight."""

    operation: str
    args: tuple[Any, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Program:
    """What a network computes in evaluation mode, from one input [n, *in_shape] to one output; differentiable.

    Attributes:
        steps: in order; the input is result 0, the first step's result 1. The last result is the output.
    Raises:
        UnsuitableProgram: an operation that is not in `OPERATIONS`, or a reference that leads nowhere.
    """

    in_shape: tuple[int, ...]
    steps: tuple[Step, ...]
    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for number, step in enumerate(self.steps, 1):
            _operation(step.operation)
            if any(name in step.options for name in PLACING):
                raise UnsuitableProgram(f"step {number} says where its result is kept, which is not its business.")
            for kind, value in references([step.args, step.options]):
                found = value in self.tensors if kind == "tensor" else isinstance(value, int) and 0 <= value < number
                if not found:
                    raise UnsuitableProgram(f"step {number} reads {kind} {value!r}, which does not exist before it.")

    def __call__(self, inputs: Tensor) -> Tensor:
        """[n, *in_shape] → [n, …].

        Raises:
            MismatchError: another shape.
            UnsuitableProgram: the operations do not fit each other.
        """
        if tuple(inputs.shape[1:]) != self.in_shape:
            raise MismatchError(f"inputs are {tuple(inputs.shape[1:])}; this program reads {self.in_shape}.")
        try:
            output: Tensor = self._run(inputs, self.tensors)[-1]
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UnsuitableProgram(f"a stored network cannot be run ({str(error).splitlines()[0][:200]}).") from error
        return output

    def _run(self, inputs: Tensor, tensors: Mapping[str, Tensor], largest: float = math.inf) -> list[Any]:
        results: list[Any] = [inputs]
        for step in self.steps:
            args = [_filled(value, results, tensors) for value in step.args]
            options = {name: _filled(value, results, tensors) for name, value in step.options.items()}
            if step.operation.split(".")[0] in CREATORS:
                options["device"] = inputs.device
            result = _operation(step.operation)(*args, **options)
            for part in result if isinstance(result, tuple | list) else (result,):
                if isinstance(part, Tensor) and part.numel() > largest:
                    raise UnsuitableProgram(f"{step.operation} makes {part.numel()} values, which are too many.")
            results.append(result)
        return results

    def checked(self, counts: tuple[int, ...] = (1, 256)) -> Program:
        """This program, after runs without values for so many samples, which need no memory.

        Raises UnsuitableProgram; see `LARGEST`.
        """
        for count in counts:
            try:
                self.results(count)
            except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
                reason = str(error).splitlines()[0][:200]
                raise UnsuitableProgram(
                    f"the operations of a stored network do not fit each other ({reason})."
                ) from error
        return self

    def results(self, count: int) -> list[Any]:
        """The input and what every step gives for `count` samples, of shapes and types alone."""
        weights = {name: tensor.to("meta") for name, tensor in self.tensors.items()}
        return self._run(torch.empty(count, *self.in_shape, device="meta"), weights, count * LARGEST)

    def to(self, device: torch.device | str) -> Program:
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})

    def channels_last(self) -> Program:
        """The same with its kernels stored channel by channel, which is faster on a CPU; sums round otherwise."""
        kernels = {name: tensor for name, tensor in self.tensors.items() if tensor.ndim == 4}
        stored = {name: tensor.contiguous(memory_format=torch.channels_last) for name, tensor in kernels.items()}
        return replace(self, tensors={**self.tensors, **stored})

    def state(self) -> State:
        steps = [[step.operation, list(step.args), dict(step.options)] for step in self.steps]
        return State({"in_shape": list(self.in_shape), "steps": steps}, self.tensors)

    @staticmethod
    def from_state(state: State) -> Program:
        steps = [Step(name, tuple(args), options) for name, args, options in state.settings["steps"]]
        return Program(tuple(state.settings["in_shape"]), tuple(steps), dict(state.tensors)).checked()


def _operation(name: str) -> Any:
    if name in PYTHON:
        return PYTHON[name]
    if name == "_native_batch_norm_legit_no_training.default":
        return _batch_norm
    if name == "native_group_norm.default":
        return _group_norm
    if name not in OPERATIONS:
        raise UnsuitableProgram(f"operation '{name}' is not among those that a stored network may use.")
    if name in ("view.default", "_unsafe_view.default"):
        return torch.ops.aten.reshape.default  # whatever the memory layout
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


def _batch_norm(x: Tensor, *options: Any) -> Any:
    """Torch's own does not look at the sizes of weight, bias, mean and variance, and reads beyond their ends."""
    for vector in options[:4]:
        if vector is not None and tuple(vector.shape) != tuple(x.shape[1:2]):
            raise UnsuitableProgram(f"a batch norm of {tuple(x.shape)} has statistics of {tuple(vector.shape)}.")
    return torch.ops.aten._native_batch_norm_legit_no_training.default(x, *options)


def _group_norm(x: Tensor, *options: Any) -> Any:
    """Whatever the memory layout; torch's own takes one only."""
    return torch.ops.aten.native_group_norm.default(x.contiguous(), *options)


def references(value: Any) -> list[tuple[str, Any]]:
    """What arguments refer to: ("step", number) and ("tensor", name)."""
    match value:
        case {"step": int(number)}:
            return [("step", number)]
        case {"tensor": name}:
            return [("tensor", name)]
        case Mapping():
            return [found for inner in value.values() for found in references(inner)]
        case list() | tuple():
            return [found for inner in value for found in references(inner)]
    return []


def _filled(value: Any, results: list[Any], tensors: Mapping[str, Tensor]) -> Any:
    match value:
        case {"step": number}:
            return results[number]
        case {"tensor": name}:
            return tensors[name]
        case {"dtype": str(name)}:
            return DTYPES[name]
        case {"float": str(name)}:
            return float(name)
        case Mapping():
            return {key: _filled(inner, results, tensors) for key, inner in value.items()}
        case list() | tuple():
            return [_filled(inner, results, tensors) for inner in value]
    return value
