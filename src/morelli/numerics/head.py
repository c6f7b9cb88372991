"""Head: everything the inversion needs of a generator."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from morelli.errors import MismatchError, OutOfRange
from morelli.numerics.activation import Clip, OutputActivation, activation_from_settings
from morelli.numerics.conditioning import Conditioning
from morelli.numerics.file_form import USUAL, FileForm
from morelli.numerics.linear import LinearMap
from morelli.numerics.maps import map_from_state
from morelli.numerics.program import Program
from morelli.numerics.state import State

LARGEST = 3 * 256**2  # outputs up to which conditioning is measured
SLACK = 1e-3  # share of the output range by which a sample may stick out before it is refused


@dataclass(frozen=True, eq=False)
class Head:
    """The last linear map, its bias, the activation after it, and the mean of what enters the map.

    sample = activation(map(z) + bias), and `anchor` [*map.in_shape] is the mean of z over many draws.

    Attributes:
        bias: broadcasts over map.out_shape; zeros where the layer has none.
        nonnegative: whether no activation of those draws was below zero, as after a ReLU.
        covariance: [c, c], of the activations' channels (of all inputs of a dense map) around the anchor.
        conditioning: of the map, where it was measured.
        generator: the whole network from latents N(0, I) to samples, for the methods that need more than its end.
        autoencoder: of a latent decoder, from samples to samples that were encoded and decoded.
        form: how files hold what it makes.
    Raises:
        MismatchError: the anchor, the bias or the form's table does not suit the map.
    """

    map: LinearMap
    bias: Tensor
    activation: OutputActivation
    anchor: Tensor
    nonnegative: bool = False
    covariance: Tensor | None = None
    conditioning: Conditioning | None = None
    generator: Program | None = None
    autoencoder: Program | None = None
    form: FileForm = USUAL

    def __post_init__(self) -> None:
        table = self.form.table
        if table is not None and self.map.out_shape != (table.width,):
            raise MismatchError(f"the table's rows are ({table.width},); the map gives {self.map.out_shape}.")
        if tuple(self.anchor.shape) != self.map.in_shape:
            raise MismatchError(f"the anchor is {tuple(self.anchor.shape)}; the map reads {self.map.in_shape}.")
        try:
            self.bias.expand(self.map.out_shape)
        except RuntimeError:
            raise MismatchError(f"the bias is {tuple(self.bias.shape)}; the map gives {self.map.out_shape}.") from None

    def forward(self, z: Tensor) -> Tensor:
        """Activations [n, *in_shape] → samples [n, *out_shape]."""
        return self.activation.forward(self.map.apply(z) + self.bias)

    def target(self, samples: Tensor) -> Tensor:
        """What the map must reach from the anchor: σ⁻¹(samples) − (map(anchor) + bias).

        Args:
            samples: [n, *out_shape] in the activation's output range.
        Returns:
            [n, *out_shape] in pre-activation units. Saturated entries are finite but uncertain.
        Raises:
            MismatchError: another shape.
            OutOfRange: a sample lies outside the output range by more than a thousandth of it.
        Source: arXiv 2306.06210, final-layer inversion. The bias cancels.
        """
        if tuple(samples.shape[1:]) != self.map.out_shape:
            raise MismatchError(f"samples are {tuple(samples.shape[1:])}; this head makes {self.map.out_shape}.")
        low, high = self.activation.low, self.activation.high
        reach = SLACK * (high - low) if high - low < float("inf") else 0.0
        if samples.numel() and (samples.min() < low - reach or samples.max() > high + reach):
            raise OutOfRange(
                f"samples reach from {samples.min():.4g} to {samples.max():.4g}; this head makes values in "
                f"[{low:.4g}, {high:.4g}]. Bring them to that range first."
            )
        reached = self.map.apply(self.anchor[None]) + self.bias
        return self.activation.inverse(samples) - reached

    @property
    def stored(self) -> OutputActivation:
        """The activation with the range of stored samples: an image from an unbounded head is clamped to [−1, 1]."""
        span = self.activation.high - self.activation.low
        return Clip(-1.0, 1.0) if len(self.map.out_shape) == 3 and not math.isfinite(span) else self.activation

    def measured(self) -> Head:
        """This head with the conditioning of its map: a few seconds for 64², a minute for 256², not tried beyond."""
        known = self.conditioning is not None or math.prod(self.map.out_shape) > LARGEST
        return self if known else replace(self, conditioning=Conditioning.of(self.map))

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Head:
        return replace(
            self,
            map=self.map.to(device, dtype),
            bias=self.bias.to(device, dtype),
            anchor=self.anchor.to(device, dtype),
            covariance=None if self.covariance is None else self.covariance.to(device, dtype),
            generator=None if self.generator is None else self.generator.to(device),
            autoencoder=None if self.autoencoder is None else self.autoencoder.to(device),
        )

    def state(self) -> State:
        settings: dict[str, Any] = {"activation": self.activation.settings(), "nonnegative": self.nonnegative}
        settings |= self.form.settings()
        tensors = {"bias": self.bias, "anchor": self.anchor}
        if self.conditioning is not None:
            settings["conditioning"] = asdict(self.conditioning)
        if self.covariance is not None:
            tensors["covariance"] = self.covariance
        parts = {"map": self.map.state()}
        for name, program in (("generator", self.generator), ("autoencoder", self.autoencoder)):
            if program is not None:
                parts[name] = program.state()
        return State(settings, tensors, parts)

    @staticmethod
    def from_state(state: State) -> Head:
        measured = state.settings.get("conditioning")  # older heads have none of what is asked for by `get`
        programs = {name: Program.from_state(part) for name, part in state.parts.items() if name != "map"}
        return Head(
            map_from_state(state.parts["map"]),
            state.tensors["bias"],
            activation_from_settings(state.settings["activation"]),
            state.tensors["anchor"],
            state.settings.get("nonnegative", False),
            state.tensors.get("covariance"),
            None if measured is None else Conditioning(**measured),
            programs.get("generator"),
            programs.get("autoencoder"),
            FileForm.from_settings(state.settings),
        )
