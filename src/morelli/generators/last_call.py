"""The last linear operation of a forward pass whose output, through some activation, is the module's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from morelli.errors import HeadNotFound
from morelli.generators.activation_fit import Fit, activation_error, fit_activation
from morelli.generators.tracing import Call
from morelli.numerics.activation import OutputActivation
from morelli.numerics.linear import LinearMap


@dataclass(frozen=True, eq=False)
class LastCall:
    """Found by `find_call`: the operation, its map and bias, and its place among all calls, from the end."""

    call: Call
    map: LinearMap
    bias: Tensor
    activation: OutputActivation
    from_end: int

    def activations(self, calls: list[Call], count: int) -> Tensor:
        """[count, *map.in_shape] of a pass. Raises HeadNotFound where it took another path."""
        call = calls[len(calls) - self.from_end] if len(calls) >= self.from_end else None
        if call is None or call.describe() != self.call.describe():
            raise HeadNotFound("the module takes another path from draw to draw, so it has no single last layer.")
        return call.input

    def describe(self) -> str:
        return self.call.describe()


def find_call(calls: list[Call], output: Tensor, layer: str | None, activation: OutputActivation | None) -> LastCall:
    """Raises HeadNotFound: no call explains the output, or none ran in the layer of that name."""
    if not calls:
        raise HeadNotFound(
            "no linear layer ran in the forward pass. Supported are linear layers and 1-D and 2-D convolutions, "
            "plain or transposed; compiled or scripted modules hide theirs: pass the original module."
        )
    named = [(position, call) for position, call in enumerate(calls) if layer is None or call.layer == layer]
    if not named:
        names = ", ".join(dict.fromkeys(f"'{call.layer}'" for call in calls))
        raise HeadNotFound(f"no linear operation ran in layer '{layer}'; those that ran are in {names}.")
    best: tuple[Call, Fit] | None = None
    for position, call in reversed(named):
        if len(call.output) != len(output) or call.output.numel() != output.numel():
            continue
        fit = _fit(call, output, activation)
        if fit.holds:
            call = _shaped_like(call, output)
            return LastCall(call, *call.linear_map(), fit.activation, len(calls) - position)
        if best is None or fit.error < best[1].error:
            best = call, fit
    if best is None:
        raise HeadNotFound(
            f"the last linear operation is {named[-1][1].describe()} and gives {shape_of(named[-1][1].output)}, but "
            f"the module returns {shape_of(output)}, and none gives as many values. What follows it is not elementwise."
        )
    raise HeadNotFound(
        f"{best[0].describe()} does not explain the output: the best activation, {best[1].activation}, is off by "
        f"{best[1].error:.2g} of the output range. Something is added, mixed or permuted after it. If you know "
        "better, name both: TorchGenerator(module, latent, layer='…', activation=…)."
    )


def _fit(call: Call, output: Tensor, activation: OutputActivation | None) -> Fit:
    if activation is None:
        return fit_activation(call.output, output)
    return Fit(activation, activation_error(activation, call.output.flatten(), output.flatten()))


def _shaped_like(call: Call, output: Tensor) -> Call:
    """A dense layer whose output is reshaped into an image gives the image directly."""
    return call if call.output.shape == output.shape or call.kind != "linear" else call.reshaped(output)


def shape_of(output: Any) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
