"""Training a small GAN, one step at a time. A run can be stopped after any step and resumed to the same bits.

Every step draws its batch, latents and dropout from the seed and the step number alone, so a checkpoint needs
no random state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize, one_hot, softplus

from morelli.errors import MismatchError, MorelliError
from morelli.generators.labels import DrawnLabel
from morelli.generators.small_gans import FAMILIES, build_generator, check_size, initialise, latent_shape
from morelli.numerics.state import State

PENALTY = 10.0  # WGAN-GP
MARGIN = 0.2  # EBGAN, in mean squared error on [−1, 1]; the paper names none, and 1 left checkerboards
PULL_AWAY = 0.1  # EBGAN
R1, R1_SHARE = 1.0, 1 / 16  # StyleGAN2's penalty, and the share of steps that take it


@dataclass(frozen=True)
class GanSettings:
    """The paper's settings are the defaults.

    Attributes:
        critic_width: base channels of the critic; None takes `width`.
        bf16: compute in bfloat16; weights stay float32.
    """

    family: str
    width: int = 64
    critic_width: int | None = None
    batch: int = 128
    learning_rate: float = 2e-4
    seed: int = 0
    bf16: bool = False


class GanTraining:
    """A GAN between two training steps: `step` moves it on, `state` and `restore` carry it over a restart.

    Args:
        settings: family, width and seed.
        data: [n, channels, 64, 64] or [n, channels, 128, 128] in [−1, 1], on the device to train on.
        labels: [n], whole numbers from 0 on, of a conditional family alone.
    Raises:
        MismatchError: another sample size, fewer samples than a batch, or labels that do not suit data and family.
        MorelliError: an unknown family.
    """

    def __init__(self, settings: GanSettings, data: Tensor, labels: Tensor | None = None) -> None:
        if data.ndim != 4:
            raise MismatchError(f"training images are {tuple(data.shape[1:])}; expected (channels, height, width).")
        check_size(*data.shape[2:])
        if len(data) < settings.batch:
            raise MismatchError(f"{len(data)} images are fewer than one batch of {settings.batch}.")
        if settings.family not in FAMILIES:
            raise MorelliError(f"there is no GAN family '{settings.family}'; there are {', '.join(FAMILIES)}.")
        self.settings = settings
        if labels is not None and len(labels) != len(data):
            raise MismatchError(f"there are {len(labels)} labels for {len(data)} images; expected one for each.")
        self.family = FAMILIES[settings.family]
        self.data = data
        self.done = 0
        self.classes = 0 if labels is None else int(labels.max()) + 1
        _, channels, size, _ = data.shape
        rng = self._rng(-1)
        layout: Any = {"device": data.device, "memory_format": torch.channels_last}
        self.generator = self._fresh_generator()
        self.critic = self.family.critic(settings.critic_width or settings.width, channels + self.classes, size)
        for network in (self.generator, self.critic):
            initialise(network, rng)
            network.to(**layout)
        if labels is not None:
            self._label().share_like(labels)
            self._codes = one_hot(labels).to(data)[..., None, None]
        self.average = self._fresh_generator().to(data.device) if self.family.average else None
        if self.average is not None:
            self.average.load_state_dict(self.generator.state_dict())
        rate = settings.learning_rate
        self._adam_generator = torch.optim.Adam(self.generator.parameters(), rate, self.family.betas)
        self._adam_critic = torch.optim.Adam(self.critic.parameters(), rate, self.family.betas)

    def _rng(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.settings.seed * 1_000_003 + step + 1)

    def _fresh_generator(self) -> nn.Module:
        _, channels, size, _ = self.data.shape
        return build_generator(self.settings.family, self.settings.width, channels, size, classes=self.classes)

    def _label(self) -> DrawnLabel:
        return next(layer for layer in self.generator.modules() if isinstance(layer, DrawnLabel))

    def _latents(self, rng: torch.Generator) -> Tensor:
        shape = latent_shape(self.settings.family)
        return torch.randn(self.settings.batch, *shape, generator=rng).to(self.data.device)

    def _batch(self, rng: torch.Generator) -> Tensor:
        index = torch.randint(len(self.data), (self.settings.batch,), generator=rng).to(self.data.device)
        images = self.data[index].contiguous(memory_format=torch.channels_last)
        return _labelled(images, self._codes[index]) if self.classes else images

    def _made(self, rng: torch.Generator) -> Tensor:
        latents = self._latents(rng)
        images = self.generator(latents)
        return _labelled(images, self._label().code(latents)) if self.classes else images

    def step(self) -> dict[str, float]:
        """One update of the generator and `critic_steps` of the critic. Returns both losses."""
        rng = self._rng(self.done)
        critic_loss, generator_loss = LOSSES[self.settings.family]
        with torch.random.fork_rng(devices=[]), self._autocast():
            torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))  # dropout reads the global state
            for _ in range(self.family.critic_steps):
                with torch.no_grad():
                    fake = self._made(rng)
                loss_critic = critic_loss(self.critic, self._batch(rng), fake, rng)
                update(self._adam_critic, loss_critic)
            loss_generator = generator_loss(self.critic, self._made(rng))
            update(self._adam_generator, loss_generator)
        self._move_average()
        self.done += 1
        return {"critic": float(loss_critic.detach()), "generator": float(loss_generator.detach())}

    @torch.no_grad()
    def _move_average(self) -> None:
        if self.average is not None:
            keep = min(self.family.average or 0.0, (1 + self.done) / (10 + self.done))  # a young average forgets faster
            for slow, fast in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.data.device.type, torch.bfloat16, enabled=self.settings.bf16)

    def finished_generator(self, batches: int = 50) -> nn.Module:
        """A copy for use, in evaluation mode, whose batch-norm statistics are averages over fresh latents.

        Differs from the paper's scripts, which sample in training mode: there a sample depends on its batch.
        """
        copy = self._fresh_generator().to(self.data.device)
        copy.load_state_dict((self.average or self.generator).state_dict())
        norms = [layer for layer in copy.modules() if isinstance(layer, nn.BatchNorm2d)]
        for layer in norms:
            layer.reset_running_stats()
            layer.momentum = None  # cumulative average
        rng = self._rng(-2)
        with torch.no_grad():
            for _ in range(batches if norms else 0):
                copy(self._latents(rng))
        return copy.eval()

    def state(self) -> State:
        """Everything a later `restore` needs, on the CPU."""
        parts = {"generator": weights_state(self.generator), "critic": weights_state(self.critic)}
        if self.average is not None:
            parts["average"] = weights_state(self.average)
        parts |= {
            "adam_generator": optimiser_state(self._adam_generator),
            "adam_critic": optimiser_state(self._adam_critic),
        }
        return State({"training": asdict(self.settings), "done": self.done}, parts=parts)

    def restore(self, state: State) -> None:
        """Go on from `state`. Raises MismatchError if it was made with other settings."""
        if state.settings["training"] != asdict(self.settings):
            raise MismatchError(
                f"the checkpoint is of {state.settings['training']}, this run of {asdict(self.settings)}."
            )
        for name, network in (("generator", self.generator), ("critic", self.critic), ("average", self.average)):
            if network is None:
                continue
            try:
                network.load_state_dict(dict(state.parts[name].tensors))
            except RuntimeError:
                raise MismatchError(
                    f"the checkpoint's {name} is of images of another size, or of other channels or labels than "
                    f"these: {tuple(self.data.shape[1:])}, {self.classes} labels."
                ) from None
        optimiser_from_state(self._adam_generator, state.parts["adam_generator"])
        optimiser_from_state(self._adam_critic, state.parts["adam_critic"])
        self.done = int(state.settings["done"])


def _labelled(images: Tensor, codes: Tensor) -> Tensor:
    """What the critic of a conditional family sees: images, and a plane for each label, full of one or zero."""
    return torch.cat([images, codes.to(images).expand(-1, -1, *images.shape[2:])], 1)


def update(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of `loss`."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def weights_state(module: nn.Module) -> State:
    """Parameters and buffers, copied to the CPU."""
    return State(tensors={name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()})


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """What it remembers of every parameter, copied to the CPU."""
    moments = optimiser.state_dict()["state"]
    return State(
        tensors={
            f"{index}.{name}": value.cpu().clone() for index, slots in moments.items() for name, value in slots.items()
        }
    )


def optimiser_from_state(optimiser: torch.optim.Optimizer, state: State) -> None:
    """The inverse of `optimiser_state`; changes the optimiser."""
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in state.tensors.items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})


# The losses. critic_loss(critic, real, fake, rng) and generator_loss(critic, fake), each a mean over the batch.


def _cross_entropy(logits: Tensor, label: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits.float(), label))


def _dcgan_critic(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    return _cross_entropy(critic(real), 0.9) + _cross_entropy(critic(fake), 0.1)


def _dcgan_generator(critic: nn.Module, fake: Tensor) -> Tensor:
    return _cross_entropy(critic(fake), 0.9)


def _wgan_critic(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    mix = torch.rand(len(real), 1, 1, 1, generator=rng).to(real.device)
    between = (mix * real + (1 - mix) * fake.float()).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).float().sum(), between, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return critic(fake).float().mean() - critic(real).float().mean() + PENALTY * penalty


def _wgan_generator(critic: nn.Module, fake: Tensor) -> Tensor:
    return -critic(fake).float().mean()


def _lsgan_critic(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    return 0.5 * ((critic(real).float() - 1).square().mean() + critic(fake).float().square().mean())


def _lsgan_generator(critic: nn.Module, fake: Tensor) -> Tensor:
    return (critic(fake).float() - 1).square().mean()


def _ebgan_critic(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    return critic(real)[0].mean() + (MARGIN - critic(fake)[0].mean()).clamp_min(0)


def _ebgan_generator(critic: nn.Module, fake: Tensor) -> Tensor:
    energy, code = critic(fake)
    cosine = normalize(code.float()) @ normalize(code.float()).T
    n = len(fake)
    pull_away = (cosine.square().sum() - n) / (n * (n - 1))
    return energy.mean() + PULL_AWAY * pull_away


def _style_critic(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """Non-saturating, with R1 at a share of the steps drawn by lot ("lazy"), weighted so that its mean is the same."""
    penalised = float(torch.rand((), generator=rng)) < R1_SHARE
    real = real.requires_grad_(penalised)
    judged = critic(real).float()
    loss = softplus(-judged).mean() + softplus(critic(fake).float()).mean()
    if penalised:
        (slope,) = torch.autograd.grad(judged.sum(), real, create_graph=True)
        loss = loss + R1 / 2 / R1_SHARE * slope.square().sum((1, 2, 3)).mean()
    return loss


def _style_generator(critic: nn.Module, fake: Tensor) -> Tensor:
    return softplus(-critic(fake).float()).mean()


CriticLoss = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
GeneratorLoss = Callable[[nn.Module, Tensor], Tensor]
LOSSES: dict[str, tuple[CriticLoss, GeneratorLoss]] = {
    "dcgan": (_dcgan_critic, _dcgan_generator),
    "wgan-gp": (_wgan_critic, _wgan_generator),
    "lsgan": (_lsgan_critic, _lsgan_generator),
    "ebgan": (_ebgan_critic, _ebgan_generator),
    "c-dcgan": (_dcgan_critic, _dcgan_generator),
    "style": (_style_critic, _style_generator),
}
