"""Training a vocoder on speech, one step at a time; resumable to the same bits, like `gan_training`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import remove_parametrizations

from morelli.errors import MismatchError
from morelli.generators.gan_training import optimiser_from_state, optimiser_state, update, weights_state
from morelli.generators.vocoder import HOP, VOCODERS, Score, build_vocoder
from morelli.numerics.mel import MARGIN, log_mel, magnitudes, mel_bands
from morelli.numerics.state import State

RESOLUTIONS = ((2048, 512), (512, 128), (128, 32))
FEATURES = 2.0  # weight of what the critics' layers see


@dataclass(frozen=True)
class VocoderSettings:
    """Attributes:
    steps: in all; the learning rate falls along a cosine to a tenth.
    alone: steps by the spectral losses alone, before the critics join.
    frames: of a training clip.
    """

    family: str
    steps: int
    alone: int
    seed: int = 0
    width: int | None = None
    mels: int = 80
    rate: int = 16_000
    batch: int = 4
    frames: int = 16
    learning_rate: float = 1e-3
    bf16: bool = False


class VocoderTraining:
    """Least-squares GAN with feature matching, log-mel and multi-resolution log-STFT losses.

    Differs from both papers: MelGAN has a hinge loss and no spectral loss, HiFi-GAN no STFT loss.

    Args:
        speech: [samples] in [−1, 1], utterances one after another, at `settings.rate`.
    Raises:
        MismatchError: less speech than one clip.
    """

    def __init__(self, settings: VocoderSettings, speech: Tensor) -> None:
        self.settings, self.speech, self.done = settings, speech, 0
        self.length = settings.frames * HOP
        if len(speech) <= self.length + 2 * MARGIN:
            raise MismatchError(f"{len(speech)} samples of speech are less than one clip of {self.length}.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed * 1_000_003)
            self.generator = build_vocoder(settings.family, width=settings.width, mels=settings.mels)
            self.critic = VOCODERS[settings.family].critic()
        self.bands = mel_bands(settings.mels, settings.rate)
        rate = settings.learning_rate
        self._adam_generator = torch.optim.Adam(self.generator.parameters(), rate, (0.8, 0.99))
        self._adam_critic = torch.optim.Adam(self.critic.parameters(), rate / 2, (0.8, 0.99))

    def step(self) -> dict[str, float]:
        """One update of the generator and, from step `alone` on, of the critic."""
        settings = self.settings
        factor = 0.55 + 0.45 * math.cos(math.pi * self.done / settings.steps)
        for optimiser, rate in ((self._adam_generator, 1.0), (self._adam_critic, 0.5)):
            for group in optimiser.param_groups:
                group["lr"] = factor * rate * settings.learning_rate
        clips = self._clips()
        mels, real = log_mel(clips, self.bands), clips[:, None, MARGIN:-MARGIN]
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bf16):
            fake = self.generator(mels).float()
        found = {"spectral": spectral_loss(fake[:, 0], real[:, 0], self.bands)}
        if self.done >= settings.alone:
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bf16):
                found["critic"] = _critic_loss(self.critic(real), self.critic(fake.detach()))
                update(self._adam_critic, found["critic"])
                with torch.no_grad():
                    wanted = self.critic(real)
                found["adversarial"] = _adversarial_loss(wanted, self.critic(fake))
        update(self._adam_generator, 10 * found["spectral"] + found.get("adversarial", 0))
        self.done += 1
        return {name: float(loss.detach()) for name, loss in found.items()}

    def _clips(self) -> Tensor:
        rng = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.done + 1)
        length = self.length + 2 * MARGIN
        starts = torch.randint(len(self.speech) - length, (self.settings.batch,), generator=rng)
        return torch.stack([self.speech[start : start + length] for start in starts.tolist()])

    def finished_generator(self) -> nn.Module:
        """A copy for use, in evaluation mode, with plain weights instead of normalised ones."""
        copy = build_vocoder(self.settings.family, width=self.settings.width, mels=self.settings.mels)
        copy.load_state_dict(self.generator.state_dict())
        return without_parametrisation(copy).eval()

    def state(self) -> State:
        """Everything a later `restore` needs."""
        parts = {
            "generator": weights_state(self.generator),
            "critic": weights_state(self.critic),
            "adam_generator": optimiser_state(self._adam_generator),
            "adam_critic": optimiser_state(self._adam_critic),
        }
        return State({"training": asdict(self.settings), "done": self.done}, parts=parts)

    def restore(self, state: State) -> None:
        """Go on from `state`. Raises MismatchError if it was made with other settings."""
        if state.settings["training"] != asdict(self.settings):
            raise MismatchError(f"the checkpoint is of {state.settings['training']}, this run of {self.settings}.")
        self.generator.load_state_dict(dict(state.parts["generator"].tensors))
        self.critic.load_state_dict(dict(state.parts["critic"].tensors))
        optimiser_from_state(self._adam_generator, state.parts["adam_generator"])
        optimiser_from_state(self._adam_critic, state.parts["adam_critic"])
        self.done = int(state.settings["done"])


def without_parametrisation(module: nn.Module) -> nn.Module:
    """The same network, each weight a tensor of its own. Changes the module and returns it."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d) and hasattr(layer, "parametrizations"):
            remove_parametrizations(layer, "weight")
    return module


def spectral_loss(fake: Tensor, real: Tensor, bands: Tensor | None = None) -> Tensor:
    """Mean absolute difference of log-STFT magnitudes at three resolutions; with `bands`, of log-mels too."""
    total = torch.zeros(())
    for window, hop in RESOLUTIONS:
        of_both = [magnitudes(waves, window, hop).clamp_min(1e-3).log() for waves in (fake, real)]
        total = total + (of_both[0] - of_both[1]).abs().mean()
    total = total / len(RESOLUTIONS)
    if bands is None:
        return total
    return total + (log_mel(fake, bands) - log_mel(real, bands)).abs().mean()


def _critic_loss(real: list[Score], fake: list[Score]) -> Tensor:
    pairs = zip(real, fake, strict=True)
    return torch.stack([(r.float() - 1).square().mean() + f.float().square().mean() for (r, _), (f, _) in pairs]).sum()


def _adversarial_loss(real: list[Score], fake: list[Score]) -> Tensor:
    total = torch.zeros(())
    for (_, wanted), (logits, seen) in zip(real, fake, strict=True):
        total = total + (logits.float() - 1).square().mean()
        for ours, theirs in zip(seen, wanted, strict=True):
            total = total + FEATURES * (ours.float() - theirs.float()).abs().mean()
    return total
