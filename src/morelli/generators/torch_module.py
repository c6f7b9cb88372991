"""TorchGenerator: any nn.Module whose output is an elementwise activation of a linear layer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from morelli.errors import HeadNotFound, MorelliError, UnsuitableProgram
from morelli.generators.activation_fit import Fit, activation_error, fit_activation
from morelli.generators.capture import capture
from morelli.generators.tracing import Call, watch
from morelli.numerics.activation import OutputActivation
from morelli.numerics.head import Head
from morelli.numerics.program import Program

Latent = tuple[int, ...] | Callable[[int, torch.Generator], Any]
PROBE = 16  # draws for finding and verifying the head


class TorchGenerator:
    """A generator given as a torch module. Its last linear layer and output activation are found by tracing.

    A forward pass is watched; going back from the last linear operation, the first one whose output, through
    some activation, is the module's output becomes the head. A second pass on fresh latents must agree.

    Args:
        module: returns samples [n, *shape]. Runs in evaluation mode here and is left in the mode it was in.
        latent: the shape of one latent, drawn from N(0, I); or `latent(n, rng)`, which returns the module's input
            for n samples (a tensor, or a tuple of tensors for several arguments) drawn with the torch.Generator
            `rng`, for uniform latents or conditional inputs.
        layer: the name of the last linear layer, as in `module.named_modules()`, instead of searching.
        activation: what follows it, instead of fitting.
        batch: samples per forward pass.
        announce: told in one line what was found; `print` by default.
    Raises:
        HeadNotFound: nothing reproduces the output; the text says what was seen and how to name it by hand.
    """

    def __init__(
        self,
        module: nn.Module,
        latent: Latent,
        *,
        layer: str | None = None,
        activation: OutputActivation | None = None,
        batch: int = 128,
        announce: Callable[[str], None] = print,
    ) -> None:
        self.module, self.latent, self.batch = module, latent, batch
        self._device = next((p.device for p in module.parameters()), torch.device("cpu"))
        output, calls = self._run(PROBE, seed=0)
        position, found = _find(calls, output, layer, activation)
        self.activation = found.activation
        self._from_end = len(calls) - position
        self._call = _shaped_like(calls[position], output)
        self._map, self._bias = self._call.linear_map()
        self._verify()
        announce(self.found)

    @property
    def found(self) -> str:
        """One line: the last linear layer, the shapes on both sides, and the activation."""
        shapes = f"{self._map.in_shape} → {self._map.out_shape}"
        return f"last linear layer: {self._call.describe()}, {shapes}; activation: {self.activation}"

    def head(self, n: int = 10_000, seed: int = 0, progress: Callable[[int], None] | None = None) -> Head:
        """The head, with mean, covariance and sign of n activations (float32, on the CPU)."""
        total, count = torch.zeros((), dtype=torch.float64), 0
        products, least = torch.zeros((), dtype=torch.float64), math.inf
        for activations, _ in self._batches(n, seed):
            exact = activations.double().cpu()
            total, count, least = total + exact.sum(0), count + len(exact), min(least, float(exact.min()))
            columns = exact.movedim(1, 0).flatten(1)
            products = products + columns @ columns.T
            if progress:
                progress(len(exact))
        anchor = total / count
        places, mean = math.prod(anchor.shape[1:]), anchor.flatten(1) if anchor.ndim > 1 else anchor[:, None]
        covariance = products / (count * places) - mean @ mean.T / places
        return Head(
            self._map.to("cpu", torch.float32),
            self._bias.float().cpu().clone(),
            self.activation,
            anchor.float(),
            least >= 0,
            covariance.float(),
        )

    def program(self) -> Program:
        """The whole generator, to be stored without its code. Raises UnsuitableProgram; see `capture`."""
        if callable(self.latent):
            raise UnsuitableProgram("latents are drawn by a function; only N(0, I) of a given shape can be searched.")
        return capture(self.module, self.latent)

    def activations(self, n: int, seed: int) -> Tensor:
        """[n, *map.in_shape], float32 on the CPU."""
        return torch.cat([activations.float().cpu() for activations, _ in self._batches(n, seed)])

    def samples(self, n: int, seed: int) -> Tensor:
        """[n, *map.out_shape], float32 on the CPU, in the activation's output range."""
        return torch.cat([samples.float().cpu() for _, samples in self._batches(n, seed)])

    def digest(self) -> str:
        """SHA-256 over names and values of all parameters and buffers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _batches(self, n: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        if n < 1:
            raise MorelliError(f"{n} samples were asked of a generator; ask for at least 1.")
        for start in range(0, n, self.batch):
            count = min(self.batch, n - start)
            output, calls = self._run(count, seed * 1_000_003 + start)
            yield calls[len(calls) - self._from_end].input, output.reshape(count, *self._map.out_shape)

    def _run(self, n: int, seed: int) -> tuple[Tensor, list[Call]]:
        rng = torch.Generator().manual_seed(seed)
        inputs = self.latent(n, rng) if callable(self.latent) else torch.randn(n, *self.latent, generator=rng)
        moved = [x.to(self._device) for x in (inputs if isinstance(inputs, tuple) else (inputs,))]
        with torch.no_grad(), _evaluating(self.module):
            output, calls = watch(self.module, lambda: self.module(*moved))
        if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != n:
            raise HeadNotFound(
                f"the module returned {_shape(output)} for {n} latents; expected a tensor [{n}, …]. "
                "Wrap it in a module that returns its samples alone."
            )
        return output, calls

    def _verify(self) -> None:
        output, calls = self._run(PROBE, seed=1)
        call = calls[len(calls) - self._from_end] if len(calls) >= self._from_end else None
        if call is None or call.describe() != self._call.describe():
            raise HeadNotFound("the module takes another path from draw to draw, so it has no single last layer.")
        again = self._map.apply(call.input) + self._bias
        error = activation_error(self.activation, again, output.reshape(again.shape))
        if error > 1e-3:
            raise HeadNotFound(
                f"{self.found} reproduces a second draw only to {error:.2g} of the output range: the layer's weights "
                "depend on the latent, or the module is not deterministic."
            )


def _find(calls: list[Call], output: Tensor, layer: str | None, activation: OutputActivation | None) -> tuple[int, Fit]:
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
            return position, fit
        if best is None or fit.error < best[1].error:
            best = call, fit
    if best is None:
        raise HeadNotFound(
            f"the last linear operation is {named[-1][1].describe()} and gives {_shape(named[-1][1].output)}, but the "
            f"module returns {_shape(output)}, and none gives as many values. What follows it is not elementwise."
        )
    raise HeadNotFound(
        f"{best[0].describe()} does not explain the output: the best activation, {best[1].activation}, is off by "
        f"{best[1].error:.2g} of the output range. Something is added, mixed or permuted after it. If you know "
        "better, name both: TorchGenerator(module, latent, layer='…', activation=…)."
    )


def _fit(call: Call, output: Tensor, activation: OutputActivation | None) -> Fit:
    if activation is None:
        return fit_activation(call.output, output)
    return Fit(activation, activation_error(activation, call.output.reshape(output.shape), output))


def _shaped_like(call: Call, output: Tensor) -> Call:
    """A dense layer whose output is reshaped into an image gives the image directly."""
    return call if call.output.shape == output.shape or call.kind != "linear" else call.reshaped(output)


def _shape(output: Any) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each layer's own mode restored after."""
    modes = [(inner, inner.training) for inner in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for inner, training in modes:
            inner.training = training
