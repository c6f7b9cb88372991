"""The last linear operation of a forward pass whose output, through some activation, is the module's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from morelli.errors import HeadNotFound
from morelli.generators.activation_fit import activation_error
from morelli.generators.arrangement import Arrangement
from morelli.generators.finding import MEMBERS, allowed, find_layer
from morelli.generators.quantised import QUANTISED
from morelli.generators.tracing import Call
from morelli.numerics.activation import Identity, OutputActivation
from morelli.numerics.linear import LinearMap

MOST = 0.9  # share of a quantised layer's values that must be right


@dataclass(frozen=True, eq=False)
class LastCall:
    """Found by `find_call`: the operation, how its result is laid out, and its place among all calls, from the end."""

    call: Call
    arrangement: Arrangement
    map: LinearMap
    bias: Tensor
    activation: OutputActivation
    from_end: int

    def samples(self, output: Tensor) -> Tensor:
        """What the module returned, [n, *map.out_shape]."""
        return self.arrangement.samples(output).reshape(len(output), *self.map.out_shape)

    def activations(self, calls: list[Call], count: int) -> Tensor:
        """[count, *map.in_shape] of a pass. Raises HeadNotFound where it took another path."""
        return self._again(calls).input

    def describe(self) -> str:
        shapes = f"{self.map.in_shape} → {self.map.out_shape}{self.arrangement.said}"
        return f"last linear layer: {self.call.describe()}, {shapes}; activation: {self.activation}"

    def verify(self, output: Tensor, calls: list[Call]) -> None:
        """Raises HeadNotFound where another pass is not explained."""
        call = self._again(calls)
        again, made = self.map.apply(call.input.to(self.bias)) + self.bias, self.arrangement.placed(call.output)
        if call.exact == QUANTISED:  # values beyond the calibrated range are clamped; most are not
            apart = (again.reshape(made.shape) - made).abs().flatten()
            most = apart.kthvalue(math.ceil(MOST * len(apart))).values
            error = float(most / (made.max() - made.min()))
        else:
            error = activation_error(Identity(), again.reshape(made.shape), made)
        if error > call.exact:
            raise HeadNotFound(
                f"{self.describe()} reproduces a second draw only to {error:.2g} of its range: the layer's weights "
                "depend on the latent, or the module is not deterministic."
            )
        samples = self.arrangement.samples(output)
        error = activation_error(self.activation, made.reshape(samples.shape), samples)
        if error > 10 * allowed(call, output):
            raise HeadNotFound(
                f"{self.describe()} reproduces a second draw only to {error:.2g} of the output range: the activation "
                "is another, or the module is not deterministic."
            )

    def _again(self, calls: list[Call]) -> Call:
        call = calls[len(calls) - self.from_end] if len(calls) >= self.from_end else None
        same = call is not None and call.describe() == self.call.describe()
        if call is None or not same or call.input.shape[1:] != self.call.input.shape[1:]:
            raise HeadNotFound(
                f"the module takes another path from draw to draw, so it has no single last layer. {MEMBERS}"
            )
        return call


def find_call(calls: list[Call], output: Tensor, layer: str | None, activation: OutputActivation | None) -> LastCall:
    """Raises HeadNotFound: no call explains the output, or none ran in the layer of that name."""
    position, arrangement, fit = find_layer(calls, output, layer, activation)
    call = calls[position]
    return LastCall(call, arrangement, *arrangement.linear_map(call), fit.activation, len(calls) - position)
