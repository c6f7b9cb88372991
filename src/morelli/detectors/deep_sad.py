"""Deep SAD: a network that draws own samples to a centre and pushes others away from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from morelli.detectors.deep_sad_network import build_network
from morelli.detectors.protocol import Progress
from morelli.detectors.standardise import Standardisation
from morelli.errors import MorelliError, OutOfRange
from morelli.numerics.state import State

CENTRE_FLOOR = 0.1  # no component of the centre is closer to zero, or the zero network would be optimal
SCORING_BATCH = 256


@dataclass(frozen=True, eq=False)
class DeepSad:
    """Score = squared distance of φ(standardised features) to the centre."""

    standardisation: Standardisation
    channels: Tensor  # which channels are looked at
    network: nn.Module
    centre: Tensor
    shape: tuple[int, ...]  # of the network's input

    def score(self, features: Tensor) -> Tensor:
        """[n, *shape] → [n]."""
        self.network.to(features.device)
        with torch.no_grad():
            codes = [self.network(self._prepared(batch)) for batch in features.split(SCORING_BATCH)]
        return (torch.cat(codes) - self.centre.to(features)).square().sum(1) if codes else features.new_zeros(0)

    def _prepared(self, features: Tensor) -> Tensor:
        return self.standardisation(features)[:, self.channels.to(features.device)]

    def state(self) -> State:
        weights = {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
        parts = {"standardisation": self.standardisation.state(), "network": State(tensors=weights)}
        tensors = {"centre": self.centre.cpu(), "channels": self.channels.cpu()}
        return State({"type": "deep_sad", "shape": list(self.shape)}, tensors, parts)

    @staticmethod
    def from_state(state: State) -> DeepSad:
        shape = tuple(state.settings["shape"])
        network = build_network(shape)
        network.load_state_dict(dict(state.parts["network"].tensors))
        standardisation = Standardisation.from_state(state.parts["standardisation"])
        return DeepSad(standardisation, state.tensors["channels"], network.eval(), state.tensors["centre"], shape)


@dataclass(frozen=True)
class DeepSadRecipe:
    """Adam on η·(d + 1e-6)^y, d the squared distance to the centre, y = +1 own, −1 other.

    Attributes:
        epochs, learning_rate, drops: passes over the data; the rate falls tenfold after each epoch in `drops`.
        standardise: statistics of "own" samples, of "both", or "none".
        channels: keep only so many channels, those whose class means differ most; None keeps all.
        bf16: multiply in bfloat16 while training; twice as fast on CPUs and GPUs that have it.

    Source: Ruff et al., ICLR 2020; settings of arXiv 2306.06210: no biases, the centre is the mean code of all
    training samples under the fresh network, no pretraining, last epoch used.
    """

    epochs: int = 50
    learning_rate: float = 5e-4
    drops: tuple[int, ...] = (25,)
    batch: int = 128
    weight_decay: float = 0.5e-6
    eta: float = 1.0
    standardise: str = "own"
    channels: int | None = None
    bf16: bool = False

    def steps(self, own: int, other: int) -> int:
        whole, rest = divmod(own + other, self.batch)
        return self.epochs * max(1, whole + (rest > 1))  # a last batch of one is left out, see `_train`

    def settings(self) -> dict[str, Any]:
        return {"type": "deep_sad"} | asdict(self)

    def fit(self, own: Tensor, other: Tensor | None, seed: int, progress: Progress | None = None) -> DeepSad:
        """Features [n, *shape] and [m, *shape] (or None) → detector.

        Raises:
            OutOfRange: features are not finite, or `standardise` is none of the three.
            MorelliError: the network collapsed: all training scores are the same.
        """
        other = own[:0] if other is None else other
        both = torch.cat([own, other])
        if not both.isfinite().all():
            raise OutOfRange("features for Deep SAD are not finite; check the range of the samples.")
        if self.standardise not in ("own", "both", "none"):
            raise OutOfRange(f"standardise is '{self.standardise}'; expected own, both or none.")
        statistics = {"own": own, "both": both}.get(self.standardise)
        standardisation = Standardisation.none(own) if statistics is None else Standardisation.fit(statistics)
        data = standardisation(both)
        channels = self._most_different(data[: len(own)], data[len(own) :])
        data = data[:, channels]
        labels = torch.cat([torch.ones(len(own)), -torch.ones(len(other))]).to(own)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(tuple(data.shape[1:])).to(own.device)
        centre = _centre(network, data)
        self._train(network, centre, data, labels, torch.Generator().manual_seed(seed), progress)
        detector = DeepSad(standardisation, channels, network.eval(), centre, tuple(data.shape[1:]))
        _refuse_collapse(detector.score(both))
        return detector

    def _most_different(self, own: Tensor, other: Tensor) -> Tensor:
        count = own.shape[1]
        if self.channels is None or len(other) == 0 or self.channels >= count:
            return torch.arange(count)
        differences = (own.mean(0) - other.mean(0)).abs().reshape(count, -1).mean(1)
        return differences.topk(self.channels).indices.sort().values.cpu()

    def _train(
        self,
        network: nn.Module,
        centre: Tensor,
        data: Tensor,
        labels: Tensor,
        rng: torch.Generator,
        progress: Progress | None,
    ) -> None:
        adam = torch.optim.Adam(network.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.MultiStepLR(adam, list(self.drops), 0.1)
        network.train()
        for _ in range(self.epochs):
            order = torch.randperm(len(data), generator=rng).to(data.device)
            batches = order.split(self.batch)
            for index in batches if len(batches[-1]) > 1 or len(batches) == 1 else batches[:-1]:
                with torch.autocast(data.device.type, torch.bfloat16, enabled=self.bf16):
                    codes = network(data[index]).float()
                distance = (codes - centre).square().sum(1)
                loss = (self.eta * (distance + 1e-6) ** labels[index]).mean()
                adam.zero_grad(set_to_none=True)
                loss.backward()
                adam.step()
                if progress:
                    progress(1)
            schedule.step()


def _centre(network: nn.Module, data: Tensor) -> Tensor:
    network.eval()
    with torch.no_grad():
        centre = torch.stack([network(batch).sum(0) for batch in data.split(SCORING_BATCH)]).sum(0) / len(data)
    floor = torch.where(centre < 0, -CENTRE_FLOOR, CENTRE_FLOOR)
    return torch.where(centre.abs() < CENTRE_FLOOR, floor, centre)


def _refuse_collapse(scores: Tensor) -> None:
    spread = float(scores.std(correction=0))
    if not spread > 1e-6 * float(scores.abs().mean()):
        raise MorelliError(
            "Deep SAD collapsed: it gives every training sample the same score. Train with another seed, a smaller "
            "learning rate, or another detector (`--detector lda`)."
        )
