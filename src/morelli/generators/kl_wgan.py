"""KL-WGAN for tables: the generator, its critic, and their training, one step at a time and resumable."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from morelli.errors import MismatchError, MorelliError
from morelli.generators.gan_training import optimiser_from_state, optimiser_state, update, weights_state
from morelli.numerics.state import State

LATENT = 10
SLOPE = 0.01  # of the leaky ReLUs
CRITIC_STEPS = 5
LOSSES = ("kl", "hinge")


@dataclass(frozen=True)
class KlWganSettings:
    """The paper's settings are the defaults.

    Attributes:
        loss: "kl", the KL-weighted hinge loss of the method's own paper; or "hinge", the plain one, by which the
            scripts of arXiv 2306.06210 train it.
    """

    loss: str = "kl"
    width: int = 300
    batch: int = 256
    learning_rate: float = 2e-4
    seed: int = 0


def build_kl_wgan(columns: int, width: int = 300) -> nn.Sequential:
    """A fresh generator in evaluation form, without spectral norm: latent [n, 10] → rows [n, columns], unbounded."""
    return nn.Sequential(
        nn.Linear(LATENT, width),
        nn.LeakyReLU(SLOPE),
        nn.Linear(width, width),
        nn.LeakyReLU(SLOPE),
        nn.Linear(width, columns),
    )


class KlWganTraining:
    """A KL-WGAN between two training steps: `step` moves it on, `state` and `restore` carry it over a restart.

    Generator 10→w→w→columns, the layer between the hidden ones with spectral norm; critic columns→w→w→1, all with
    spectral norm; leaky ReLU 0.01, RMSprop, five updates of the critic for one of the generator. Every step draws
    batches and latents from the seed and the step number alone.

    Args:
        data: [n, columns], standardised or whitened rows.
    Raises:
        MismatchError: data of another shape, or fewer rows than a batch.
        MorelliError: an unknown loss.

    Source: arXiv 2306.06210, appendix G; Song & Ermon, "Bridging the Gap Between f-GANs and Wasserstein GANs" (ICML
    2020), for the loss. Differs: which of the generator's layers have spectral norm is not said; we take the middle.
    """

    def __init__(self, settings: KlWganSettings, data: Tensor) -> None:
        if data.ndim != 2 or len(data) < settings.batch:
            raise MismatchError(
                f"training rows are {tuple(data.shape)}; expected [n, columns] with at least one batch of "
                f"{settings.batch} rows."
            )
        if settings.loss not in LOSSES:
            raise MorelliError(f"there is no loss '{settings.loss}' of a KL-WGAN; there are {', '.join(LOSSES)}.")
        self.settings, self.data, self.done = settings, data, 0
        columns, width = data.shape[1], settings.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.generator = build_kl_wgan(columns, width)
            spectral_norm(self.generator[2])
            self.critic = nn.Sequential(
                spectral_norm(nn.Linear(columns, width)),
                nn.LeakyReLU(SLOPE),
                spectral_norm(nn.Linear(width, width)),
                nn.LeakyReLU(SLOPE),
                spectral_norm(nn.Linear(width, 1)),
                nn.Flatten(0),
            )
        for network in (self.generator, self.critic):
            network.to(data.device)
        self._optimiser_generator = torch.optim.RMSprop(self.generator.parameters(), settings.learning_rate)
        self._optimiser_critic = torch.optim.RMSprop(self.critic.parameters(), settings.learning_rate)

    def step(self) -> dict[str, float]:
        """One update of the generator and five of the critic. Returns both losses."""
        rng = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.done + 1)
        for _ in range(CRITIC_STEPS):
            index = torch.randint(len(self.data), (self.settings.batch,), generator=rng).to(self.data.device)
            with torch.no_grad():
                fake = self._made(rng)
            real, made = self.critic(self.data[index]), self._weighted(self.critic(fake))
            loss_critic = (1 - real).relu().mean() + (1 + made).relu().mean()
            update(self._optimiser_critic, loss_critic)
        loss_generator = -self._weighted(self.critic(self._made(rng))).mean()
        update(self._optimiser_generator, loss_generator)
        self.done += 1
        return {"critic": float(loss_critic.detach()), "generator": float(loss_generator.detach())}

    def _made(self, rng: torch.Generator) -> Tensor:
        return self.generator(torch.randn(self.settings.batch, LATENT, generator=rng).to(self.data.device))

    def _weighted(self, scores: Tensor) -> Tensor:
        """Scores of generated rows, times their estimated density ratio exp(score)/mean exp(score)."""
        return scores if self.settings.loss == "hinge" else scores * len(scores) * scores.softmax(0)

    def finished_generator(self) -> nn.Sequential:
        """A copy for use, in evaluation mode, with the normed weights as plain ones."""
        copy = build_kl_wgan(self.data.shape[1], self.settings.width).to(self.data.device)
        self.generator.eval()  # in training mode reading a normed weight moves its power iteration on
        with torch.no_grad():
            for index in (0, 2, 4):
                layer, plain = self.generator[index], copy[index]
                assert isinstance(layer, nn.Linear) and isinstance(plain, nn.Linear)
                plain.weight.copy_(layer.weight)
                plain.bias.copy_(layer.bias)
        self.generator.train()
        return copy.eval()

    def state(self) -> State:
        """Everything a later `restore` needs, on the CPU."""
        parts = {"generator": weights_state(self.generator), "critic": weights_state(self.critic)}
        parts |= {
            "optimiser_generator": optimiser_state(self._optimiser_generator),
            "optimiser_critic": optimiser_state(self._optimiser_critic),
        }
        return State({"training": asdict(self.settings), "done": self.done}, parts=parts)

    def restore(self, state: State) -> None:
        """Go on from `state`. Raises MismatchError if it was made with other settings or of another table."""
        if state.settings["training"] != asdict(self.settings):
            raise MismatchError(
                f"the checkpoint is of {state.settings['training']}, this run of {asdict(self.settings)}."
            )
        for name, network in (("generator", self.generator), ("critic", self.critic)):
            try:
                network.load_state_dict(dict(state.parts[name].tensors))
            except RuntimeError:
                raise MismatchError(
                    f"the checkpoint's {name} is of a table with another number of columns than {self.data.shape[1]}."
                ) from None
        optimiser_from_state(self._optimiser_generator, state.parts["optimiser_generator"])
        optimiser_from_state(self._optimiser_critic, state.parts["optimiser_critic"])
        self.done = int(state.settings["done"])
