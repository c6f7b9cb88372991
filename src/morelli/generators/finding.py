"""Which of the linear operations that ran is the last layer: the one whose result, rearranged, explains the output."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from morelli.errors import HeadNotFound
from morelli.generators.activation_fit import CLOSE, Fit, activation_error, fit_activation
from morelli.generators.arrangement import Arrangement, arrangements
from morelli.generators.quantised import QUANTISED
from morelli.generators.tracing import HALVES, Call
from morelli.numerics.activation import Clip, Identity, OutputActivation, Rescaled, Sigmoid, Tanh

LOUD = 16.0  # images that reach beyond are no images in [−1, 1] or [0, 1] without a clamp
MEMBERS = (
    "If it is an ensemble, make a head and an attributor of each member; a sample is the ensemble's where one of them "
    "attributes it."
)


def allowed(call: Call, output: Tensor) -> float:
    """The error, as a share of the output's range, that precision and rounding explain."""
    if not output.is_floating_point():
        return 1.5 / max(1.0, float(output.max()) - float(output.min()))
    if output.dtype in HALVES:
        return 2 * torch.finfo(output.dtype).eps
    return QUANTISED / 2 if call.exact == QUANTISED else CLOSE


def find_layer(
    calls: list[Call], output: Tensor, layer: str | None, activation: OutputActivation | None
) -> tuple[int, Arrangement, Fit]:
    """The place of the last layer among `calls`, how its result is laid out, and what follows it.

    Args:
        layer, activation: as named by the user, or None to search.
    Raises:
        HeadNotFound: none explains the output; the text says what was seen and how to go on.
    """
    if not calls:
        raise HeadNotFound(
            "no linear layer ran in the forward pass. Supported are linear layers and 1-D and 2-D convolutions, plain "
            "or transposed. What runs outside torch, or as a plain product of matrices, is not seen: pass the original "
            "module."
        )
    named = [(position, call) for position, call in enumerate(calls) if layer is None or call.layer == layer]
    if not named:
        names = ", ".join(dict.fromkeys(f"'{call.layer}'" for call in calls))
        raise HeadNotFound(f"no linear operation ran in layer '{layer}'; those that ran are in {names}.")
    best: tuple[Call, Fit] | None = None
    for position, call in reversed(named):
        for arrangement in arrangements(call, output):
            fit = _fit(call, arrangement, output, activation)
            if fit.holds:
                return position, arrangement, bounded(fit, call.describe(), output)
            if best is None or fit.error < best[1].error:
                best = call, fit
    if mixed := _mixed([call for _, call in named], output):
        raise HeadNotFound(f"the module mixes the results of {mixed}, so it has no single last layer. {MEMBERS}")
    if best is None:
        last = named[-1][1]
        raise HeadNotFound(
            f"the last linear operation is {last.describe()} and gives {tuple(last.output.shape)}, but the module "
            f"returns {tuple(output.shape)}, and none gives as many values. What follows it is not elementwise. "
            "Padding and resizing after it are not supported: judge what was made before them."
        )
    raise HeadNotFound(
        f"{best[0].describe()} does not explain the output: the best activation, {best[1].activation}, is off by "
        f"{best[1].error:.2g} of the output range. Something is added, mixed or permuted after it. If you know "
        "better, name both: TorchGenerator(module, latent, layer='…', activation=…)."
    )


def _fit(call: Call, arrangement: Arrangement, output: Tensor, activation: OutputActivation | None) -> Fit:
    before, after = arrangement.placed(call.output), arrangement.samples(output)
    close = allowed(call, output)
    if activation is None:
        return fit_activation(before.flatten(), after.flatten(), close)
    return Fit(activation, activation_error(activation, before.reshape(after.shape), after), close)


def bounded(fit: Fit, said: str, output: Tensor) -> Fit:
    """Images up to 255 are clamped there even where no draw reached the ends.

    Raises HeadNotFound for images that reach farther and have no clamp.
    """
    found = fit.activation
    loud = output.ndim == 4 and float(output.abs().max()) > LOUD
    if math.isfinite(found.high - found.low) or not (loud or output.dtype == torch.uint8):
        return fit
    low, high = float(output.min()), float(output.max())
    if low < 0 or high > 255:
        raise HeadNotFound(
            f"after {said} the images reach from {low:.4g} to {high:.4g} and nothing bounds them. Stored "
            "images are: clamp the module's output to what you store, for example by .clamp(0, 255)."
        )
    line = found if isinstance(found, Rescaled) else Rescaled(Identity(), 1.0, 0.0)
    ends = -line.shift / line.scale, (255 - line.shift) / line.scale
    return replace(fit, activation=Rescaled(Clip(*ends), line.scale, line.shift))


def _mixed(calls: list[Call], output: Tensor) -> str:
    """The layers of which each draw takes one: together they make all draws, or each draw's values are one layer's."""
    ends = [call for call in calls if call.output.shape[1:] == output.shape[1:]]
    names = " and ".join(dict.fromkeys(f"'{call.layer}'" for call in ends))
    some = [call for call in ends if len(call.output) < len(output)]
    if len(some) > 1 and sum(len(call.output) for call in some) == len(output):
        return names
    whole = [call for call in ends if len(call.output) == len(output)]
    for inner in (Identity(), Tanh(), Sigmoid()) if len(whole) > 1 else ():
        errors = [(inner.forward(call.output.double()) - output.double()).abs().flatten(1).amax(1) for call in whole]
        if bool((torch.stack(errors).amin(0) <= CLOSE).all()):
            return names
    return ""
