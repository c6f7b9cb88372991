"""TorchGenerator: any nn.Module whose output is an elementwise activation of a linear layer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from morelli.errors import HeadNotFound, MorelliError, UnsuitableProgram
from morelli.generators.activation_fit import activation_error
from morelli.generators.capture import capture
from morelli.generators.finding import MEMBERS, allowed, find_layer
from morelli.generators.quantised import QUANTISED
from morelli.generators.tracing import Call, watch
from morelli.generators.wrappers import COMPILED, evaluating, precision, unwrapped
from morelli.numerics.activation import Identity, OutputActivation
from morelli.numerics.head import Head
from morelli.numerics.program import Program

Latent = tuple[int, ...] | Callable[[int, torch.Generator], Any]
MOST = 0.9  # share of a quantised layer's values that must be right
PROBE = 16  # draws for finding and verifying the head


class TorchGenerator:
    """A generator given as a torch module. Its last linear layer and output activation are found by tracing.

    A forward pass is watched; going back from the last linear operation, the first one whose output, through
    some activation, is the module's output becomes the head. A second pass on fresh latents must agree.

    Args:
        module: returns samples [n, *shape] or [n, *sizes, channels]. Runs in evaluation mode here, in its own precision
            and uncompiled, and is left in the mode it was in. Parallel, compiled and averaging wrappers are taken off.
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
        self.module, self.latent, self.batch = unwrapped(module), latent, batch
        self._device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        output, calls = self._run(PROBE, seed=0)
        position, self._arrangement, found = find_layer(calls, output, layer, activation)
        self.activation = found.activation
        self._from_end = len(calls) - position
        self._call = calls[position]
        self._map, self._bias = self._arrangement.linear_map(self._call)
        self._verify()
        announce(self.found)

    @property
    def found(self) -> str:
        """One line: the last linear layer, the shapes on both sides, and the activation."""
        shapes = f"{self._map.in_shape} → {self._map.out_shape}{self._arrangement.said}"
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
        """SHA-256 over names and values of all parameters and buffers, the same for a compiled module."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(name.replace(COMPILED, "").encode())
            digest.update(_bytes(tensor))
        return digest.hexdigest()

    def _batches(self, n: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        if n < 1:
            raise MorelliError(f"{n} samples were asked of a generator; ask for at least 1.")
        for start in range(0, n, self.batch):
            count = min(self.batch, n - start)
            output, calls = self._run(count, seed * 1_000_003 + start)
            made = self._arrangement.samples(output).reshape(count, *self._map.out_shape)
            yield self._last_of(calls).input, made

    def _run(self, n: int, seed: int) -> tuple[Tensor, list[Call]]:
        rng = torch.Generator().manual_seed(seed)
        inputs = self.latent(n, rng) if callable(self.latent) else torch.randn(n, *self.latent, generator=rng)
        moved = [self._suited(x) for x in (inputs if isinstance(inputs, tuple) else (inputs,))]
        with torch.no_grad(), evaluating(self.module):
            try:
                output, calls = watch(self.module, lambda: self.module(*moved))
            except MorelliError:
                raise
            except Exception as error:  # it is the user's code: whatever it raises becomes one line
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                given = ", ".join(f"{_shape(x)} {str(x.dtype).removeprefix('torch.')}" for x in moved)
                raise HeadNotFound(
                    f"the module cannot be run on latents {given} ({reason}). Is that what it reads? If it is the "
                    "precision that fails on this device, pass module.float()."
                ) from error
        if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != n:
            raise HeadNotFound(
                f"the module returned {_shape(output)} for {n} latents; expected a tensor [{n}, …]. "
                "Wrap it in a module that returns its samples alone."
            )
        return output, calls

    def _suited(self, x: Tensor) -> Tensor:
        x = x.to(self._device)
        return x.to(precision(self.module)) if x.is_floating_point() else x

    def _last_of(self, calls: list[Call]) -> Call:
        """The found layer's call in another run. Raises HeadNotFound where another layer ran in its place."""
        call = calls[len(calls) - self._from_end] if len(calls) >= self._from_end else None
        if (
            call is None
            or call.describe() != self._call.describe()
            or call.input.shape[1:] != self._call.input.shape[1:]
        ):
            raise HeadNotFound(
                f"the module takes another path from draw to draw, so it has no single last layer. {MEMBERS}"
            )
        return call

    def _verify(self) -> None:
        output, calls = self._run(PROBE, seed=1)
        call = self._last_of(calls)
        again, made = self._map.apply(call.input.to(self._bias)) + self._bias, self._arrangement.placed(call.output)
        if call.exact == QUANTISED:  # values beyond the calibrated range are clamped; most are not
            apart = (again.reshape(made.shape) - made).abs().flatten()
            most = apart.kthvalue(math.ceil(MOST * len(apart))).values
            error = float(most / (made.max() - made.min()))
        else:
            error = activation_error(Identity(), again.reshape(made.shape), made)
        if error > call.exact:
            raise HeadNotFound(
                f"{self.found} reproduces a second draw only to {error:.2g} of its range: the layer's weights "
                "depend on the latent, or the module is not deterministic."
            )
        samples = self._arrangement.samples(output)
        error = activation_error(self.activation, made, samples.reshape(made.shape))
        if error > 10 * allowed(call, output):
            raise HeadNotFound(
                f"{self.found} reproduces a second draw only to {error:.2g} of the output range: the activation is "
                "another, or the module is not deterministic."
            )


def _bytes(tensor: Any) -> bytes:
    if not isinstance(tensor, Tensor):  # packed weights of quantised layers, and their types
        parts = tensor if isinstance(tensor, tuple) else (str(tensor),)
        return b"".join(_bytes(part) if isinstance(part, Tensor | tuple) else str(part).encode() for part in parts)
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    values: bytes = tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
    return values


def _shape(output: Any) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
