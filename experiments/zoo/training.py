"""One loop for all models of the zoo; interrupted, it goes on where it last wrote a checkpoint."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

EVERY = 50  # steps between checkpoints
RISE = 0.1  # share of the steps in which the rate grows


@dataclass(frozen=True)
class Settings:
    """How a model is trained; the rate grows and falls in one cycle."""

    steps: int
    batch: int
    rate: float
    seed: int = 0
    data: str = "clothing64"

    def tensor(self) -> Tensor:
        return torch.tensor(list(json.dumps(asdict(self)).encode()), dtype=torch.uint8)


class Training:
    """A model on its way.

    Attributes:
        losses: of all steps so far.
        seconds: of CPU time so far.
    """

    def __init__(self, model: nn.Module, settings: Settings, checkpoint: Path) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.settings, self.checkpoint = settings, checkpoint
        self.adam = torch.optim.Adam(model.parameters(), settings.rate, betas=(0.9, 0.99))
        self.plan = torch.optim.lr_scheduler.OneCycleLR(self.adam, settings.rate, settings.steps, pct_start=RISE)
        self.losses: list[float] = []
        self.seconds = 0.0

    def run(self, images: Tensor) -> None:
        """On photographs, uint8 [n, 3, 64, 64], to the last step."""
        if self.checkpoint.exists():
            self._restore()
        start = time.process_time() - self.seconds
        while len(self.losses) < self.settings.steps:
            self._step(images)
            if len(self.losses) % EVERY == 0:
                self.seconds = time.process_time() - start
                self._keep()
                recent = sum(self.losses[-EVERY:]) / EVERY
                print(f"{self.checkpoint.name} {len(self.losses)}: {recent:.4f}  {self.seconds:.0f} s", flush=True)
        self.seconds = time.process_time() - start

    def _step(self, images: Tensor) -> None:
        chosen = images[torch.randint(len(images), (self.settings.batch,))].float() / 255
        mirrored = torch.where(torch.rand(len(chosen), 1, 1, 1) < 0.5, chosen.flip(3), chosen)
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.model.loss(mirrored.contiguous(memory_format=torch.channels_last))
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        self.plan.step()
        self.losses.append(loss.item())

    def _keep(self) -> None:
        held = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        for i, state in self.adam.state_dict()["state"].items():
            held |= {f"adam.{i}.{key}": value for key, value in state.items()}
        held |= {"settings": self.settings.tensor(), "rng": torch.get_rng_state()}
        held |= {"losses": torch.tensor(self.losses).double(), "seconds": torch.tensor(self.seconds)}
        fresh = self.checkpoint.with_suffix(".new")
        fresh.write_bytes(save({key: value.contiguous() for key, value in held.items()}))
        fresh.replace(self.checkpoint)

    def _restore(self) -> None:
        """Goes on from the checkpoint, if it is one of the same settings."""
        held = load(self.checkpoint.read_bytes())
        if not torch.equal(held["settings"], self.settings.tensor()):
            return
        self.model.load_state_dict(
            {key.removeprefix("model."): value for key, value in held.items() if key.startswith("model.")}
        )
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in held.items():
            if key.startswith("adam."):
                _, i, what = key.split(".")
                state.setdefault(int(i), {})[what] = value
        self.adam.load_state_dict(self.adam.state_dict() | {"state": state})
        self.losses, self.seconds = held["losses"].tolist(), held["seconds"].item()
        torch.set_rng_state(held["rng"])
        done = len(self.losses)
        self.plan.load_state_dict({"last_epoch": done - 1, "_step_count": done})
        self.plan.step()
