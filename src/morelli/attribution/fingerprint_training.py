"""Training the fingerprint network on a bank, one step at a time. A run can be stopped after any step and resumed.

Source: arXiv 2307.15977. Differs: batches hold P generators and the same K photographs through each, so that every
image has K − 1 likes, and nothing but the generator tells one group from another; images pass through 8 bits, and half
of the batches through what happens to files in the wild; a supervised-contrastive loss in place of the triplets'.

Every step draws from the seed and the step number alone, so a checkpoint needs no random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from morelli.errors import MismatchError, TooFewSamples
from morelli.features.denoiser import Denoiser
from morelli.features.fingerprint import Backbone, FingerprintNetwork
from morelli.numerics.perturbations import Blur, Crop, Jpeg, Noise, Perturbation, Resize, Webp
from morelli.numerics.state import State

CLIP = 1.0  # of the gradient's norm
BATCH = 16
KINDS = 4  # perturbations in a batch that has any; a fifth of it has none


@dataclass(frozen=True)
class TrainingSettings:
    """How the fingerprint network is trained.

    Attributes:
        models, photographs: P and K, in a batch.
        temperatures: of the cross-entropy over all models, and of the contrastive loss.
        perturbed: share of batches whose images are perturbed.
        warm: share of the steps during which the rate rises; then it falls to zero like a cosine.
    """

    steps: int
    models: int = 32
    photographs: int = 6
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warm: float = 0.05
    temperatures: tuple[float, float] = (0.05, 0.1)
    perturbed: float = 0.5
    seed: int = 0
    bf16: bool = False
    backbone: Backbone = field(default_factory=Backbone)


class FingerprintTraining:
    """The network between two steps.

    Args:
        pool: uint8 [models, images, 3, 64, 64]; the i-th image of every model shows the same, see `pooled`.
        start: a network of the same backbone to begin from; its classes are left behind.
    Raises:
        TooFewSamples: fewer models or images than a batch holds.
    """

    def __init__(
        self, settings: TrainingSettings, pool: Tensor, denoiser: Denoiser, start: FingerprintNetwork | None = None
    ) -> None:
        from pytorch_metric_learning.losses import NormalizedSoftmaxLoss, SupConLoss  # the `train` extra

        if len(pool) < settings.models or pool.shape[1] < settings.photographs:
            raise TooFewSamples(
                f"{len(pool)} models with {pool.shape[1]} images each do not fill a batch of {settings.models} models "
                f"and {settings.photographs} images."
            )
        self.settings, self.pool, self.done = settings, pool, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = FingerprintNetwork(settings.backbone, denoiser)
            if start is not None:
                self.network.load_state_dict(start.state_dict())
            self.classes = NormalizedSoftmaxLoss(len(pool), settings.backbone.dimensions, settings.temperatures[0])
        self.contrast = SupConLoss(settings.temperatures[1])
        self.device = pool.device
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classes.to(self.device)
        self.trained = [p for part in (self.network, self.classes) for p in part.parameters() if p.requires_grad]
        self._adam = torch.optim.AdamW(self.trained, settings.learning_rate, weight_decay=settings.weight_decay)

    def step(self) -> dict[str, float]:
        """One update. Returns both losses and how often the right model was named."""
        rng = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.done)
        windows, labels = self._batch(rng)
        self.network.train()
        self.network.denoiser.eval()
        with self._autocast():
            codes = self.network(windows)
        entropy, contrast = self.classes(codes, labels), self.contrast(codes, labels)
        for group in self._adam.param_groups:
            group["lr"] = self._rate()
        self._adam.zero_grad()
        (entropy + contrast).backward()
        nn.utils.clip_grad_norm_(self.trained, CLIP)
        self._adam.step()
        self.done += 1
        with torch.no_grad():
            right = (self.classes.get_logits(codes).argmax(1) == labels).double().mean()
        return {"entropy": entropy.item(), "contrast": contrast.item(), "right": right.item()}

    def _rate(self) -> float:
        whole, warm = self.settings.steps, max(1, round(self.settings.warm * self.settings.steps))
        if self.done < warm:
            return self.settings.learning_rate * (self.done + 1) / warm
        share = min(1.0, (self.done - warm) / max(1, whole - warm))
        return self.settings.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def _batch(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Windows [P·K, 3, 64, 64] in [0, 1], which went through files, and the number of the model of each."""
        models = torch.randperm(len(self.pool), generator=rng)[: self.settings.models]
        photographs = torch.randperm(self.pool.shape[1], generator=rng)[: self.settings.photographs]
        pixels = self.pool[models.to(self.device)][:, photographs.to(self.device)].flatten(0, 1)
        if torch.rand((), generator=rng) < self.settings.perturbed:
            pixels = wild(pixels, rng)
        labels = models.repeat_interleave(len(photographs)).to(self.device)
        return (pixels.float() / 255).contiguous(memory_format=torch.channels_last), labels

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16)

    def finished(self) -> FingerprintNetwork:
        return self.network.eval()

    def state(self) -> State:
        tensors = {f"network.{name}": x for name, x in self.network.state_dict().items()}
        tensors |= {f"classes.{name}": x for name, x in self.classes.state_dict().items()}
        for number, entry in self._adam.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": value for name, value in entry.items()}
        settings = {"settings": asdict(self.settings), "classes": len(self.pool), "done": self.done}
        return State(settings, {name: x.detach().cpu().clone() for name, x in tensors.items()})

    def restore(self, state: State) -> None:
        """Go on from `state`. Raises MismatchError where it is of another training; more steps may be asked for."""
        mine = asdict(self.settings) | {"steps": 0, "classes": len(self.pool)}
        theirs = dict(state.settings["settings"]) | {"steps": 0, "classes": state.settings["classes"]}
        if _plain(mine) != _plain(theirs):
            raise MismatchError(
                "the checkpoint was made with other settings or another bank. Remove it to start again."
            )
        parts: dict[str, dict[str, Any]] = {"network": {}, "classes": {}, "adam": {}}
        for name, tensor in state.tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.network.load_state_dict(parts["network"])
        self.classes.load_state_dict(parts["classes"])
        entries: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["adam"].items():
            number, _, rest = name.partition(".")
            entries.setdefault(int(number), {})[rest] = tensor
        self._adam.load_state_dict(self._adam.state_dict() | {"state": entries})
        self.done = state.settings["done"]


def pooled(
    images: Tensor,
    generators: Sequence[nn.Module],
    *,
    bf16: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Images uint8 [k, 3, h, w], and what every generator makes of them: uint8 [1 + generators, k, 3, h, w]."""
    found = torch.empty(1 + len(generators), *images.shape, dtype=torch.uint8, device=images.device)
    found[0] = images
    for place, generator in zip(found[1:], generators, strict=True):
        for some, part in zip(place.split(BATCH), images.split(BATCH), strict=True):
            some.copy_(made(part.float() / 255, [generator], bf16=bf16))
        if progress:
            progress(1)
    return found


@torch.no_grad()
def made(images: Tensor, generators: Sequence[nn.Module], *, bf16: bool = False) -> Tensor:
    """Images [k, 3, h, w] in [0, 1] through every generator, as 8-bit files hold them: uint8 [p·k, 3, h, w]."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        found = torch.cat([generator(images).float() for generator in generators])
    return (found * 255).round().clamp(0, 255).to(torch.uint8)


def wild(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """A fifth of the images as they are; the others through one of four perturbations of random kind and strength."""
    group = torch.randint(KINDS + 1, (len(pixels),), generator=rng).to(pixels.device)
    result = pixels.clone()
    for i in range(KINDS):
        mine = group == i
        if mine.any():
            result[mine] = some(rng).apply(pixels[mine], rng)
    return result


def some(rng: torch.Generator) -> Perturbation:
    """JPEG and WebP as often as all others together."""
    kind = int(torch.randint(8, (), generator=rng))
    u = float(torch.rand((), generator=rng))
    if kind < 3:
        return Jpeg(round(60 + 38 * u))
    if kind == 3:
        return Webp(round(60 + 38 * u))
    return (Resize(0.6 + 0.38 * u), Crop(round(44 + 18 * u)), Blur(3, 0.3 + u), Noise(0.03 * u))[kind - 4]


def _plain(settings: dict[str, Any]) -> Any:
    """As JSON gives it back: lists for tuples."""
    return {
        k: _plain(v) if isinstance(v, dict) else list(v) if isinstance(v, tuple) else v for k, v in settings.items()
    }
