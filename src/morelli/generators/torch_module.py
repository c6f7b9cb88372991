"""TorchGenerator: any nn.Module whose output is an elementwise activation of a linear layer, or of a sum of such."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from morelli.errors import HeadNotFound, MorelliError, UnsuitableProgram
from morelli.generators.capture import capture
from morelli.generators.graph import Graph, record
from morelli.generators.last_call import LastCall, find_call
from morelli.generators.moments import Moments
from morelli.generators.output_sum import OutputSum, find_sum
from morelli.generators.tracing import Call, watch
from morelli.generators.wrappers import COMPILED, evaluating, precision, unwrapped
from morelli.numerics.activation import OutputActivation
from morelli.numerics.head import Head
from morelli.numerics.program import Program

Look = Callable[[nn.Module, list[Tensor], Callable[[], Any]], tuple[Any, Any]]
Latent = tuple[int, ...] | Callable[[int, torch.Generator], Any]
PROBE = 16  # draws for finding and verifying the head


class TorchGenerator:
    """A generator given as a torch module. Its last linear layer and output activation are found by tracing.

    A forward pass is watched; going back from the last linear operation, the first one whose output, through
    some activation, is the module's output becomes the head. Where there is none, the output is taken apart as a sum:
    see `output_sum`. A second pass on fresh latents must agree. Random numbers that the module draws itself (noise
    inputs) follow from the seed.

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
        output, calls = self._run(PROBE, 0, _calls)
        self._seen: LastCall | OutputSum
        try:
            self._seen = find_call(calls, output, layer, activation)
        except HeadNotFound as refusal:
            if layer is not None or not calls:
                raise
            self._seen = self._as_sum(activation, refusal)
        self.activation, self._map, self._bias = self._seen.activation, self._seen.map, self._seen.bias
        self._seen.verify(*self._run(PROBE, 1, self._look))
        announce(self.found)

    def _as_sum(self, activation: OutputActivation | None, refusal: HeadNotFound) -> OutputSum:
        def run(places: tuple[int, ...]) -> tuple[Tensor, Graph]:
            return self._run(PROBE, 0, partial(record, wanted=places))

        try:
            return find_sum(run, PROBE, activation)
        except HeadNotFound as other:
            raise HeadNotFound(f"{refusal} Taken as a sum: {other}") from None

    @property
    def found(self) -> str:
        """One line: the last linear layer, the shapes on both sides, and the activation."""
        return self._seen.describe()

    def head(
        self, n: int = 10_000, seed: int = 0, progress: Callable[[int], None] | None = None, *, whole: bool = False
    ) -> Head:
        """The head, with mean, covariance and sign of n activations (float32, on the CPU).

        whole: it also holds the `program` of the whole generator.
        """
        moments = Moments(self._map)
        for activations, _ in self._batches(n, seed):
            moments.add(activations)
            if progress:
                progress(len(activations))
        return Head(
            self._map.to("cpu", torch.float32),
            self._bias.float().cpu().clone(),
            self.activation,
            moments.mean.float(),
            moments.least >= 0,
            moments.covariance.float(),
            generator=self.program() if whole else None,
        )

    def program(self) -> Program:
        """The whole generator, to be stored without its code. Raises UnsuitableProgram; see `capture`.

        Noise that the module draws by `randn` counts as 0, its mean: it is no latent that anything could search for.
        """
        if callable(self.latent):
            raise UnsuitableProgram("latents are drawn by a function; only N(0, I) of a given shape can be searched.")
        return capture(self.module, self.latent, noiseless=True)

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
            output, seen = self._run(count, seed * 1_000_003 + start, self._look)
            yield self._seen.activations(seen, count), self._seen.samples(output)

    @property
    def _look(self) -> Look:
        return _calls if isinstance(self._seen, LastCall) else partial(record, wanted=self._seen.places)

    def _run(self, n: int, seed: int, look: Look) -> tuple[Tensor, Any]:
        """What the module returns for n latents, and what `look` saw of it."""
        rng = torch.Generator().manual_seed(seed)
        inputs = self.latent(n, rng) if callable(self.latent) else torch.randn(n, *self.latent, generator=rng)
        moved = [self._suited(x) for x in (inputs if isinstance(inputs, tuple) else (inputs,))]
        cards = [self._device] if self._device.type == "cuda" else []
        with torch.no_grad(), evaluating(self.module), torch.random.fork_rng(cards):
            torch.manual_seed(seed)  # of noise that the module draws itself
            try:
                output, seen = look(self.module, moved, lambda: self.module(*moved))
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
        return output, seen

    def _suited(self, x: Tensor) -> Tensor:
        x = x.to(self._device)
        return x.to(precision(self.module)) if x.is_floating_point() else x


def _calls(module: nn.Module, inputs: list[Tensor], run: Callable[[], Any]) -> tuple[Any, list[Call]]:
    return watch(module, run)


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
