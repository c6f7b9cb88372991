"""A small GAN in minutes: its game is played beside a regression, which keeps the images from falling apart.

On its own the game gave nothing within minutes of a CPU: the DCGAN made grey noise after 1,200 steps, and dots where it
began from a regression. Latents are the whitened principal components of the images, so that new draws from N(0, I)
make new images. Architectures and losses are the families' own, in `morelli.generators`.
"""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, mse_loss

from morelli import SampleSpec
from morelli.app.gans import read_labels
from morelli.generators.gan_training import LOSSES, GanSettings, GanTraining, _labelled
from morelli.generators.small_gans import FAMILIES, LATENT
from morelli.numerics.file_form import ANY, FileForm
from morelli.storage.generators import save_generator
from morelli.storage.samples import find, read_all

RATE, BETAS = 2e-3, (0.5, 0.99)  # Adam's, for both networks; the critic's rate is a tenth
COARSE = 4  # pixels a side that are averaged before components are taken


def components(images: Tensor, rng: torch.Generator) -> Tensor:
    """[n, 100], each with mean 0 and variance 1: the images' leading components, turned by lot."""
    coarse = avg_pool2d(images, COARSE).flatten(1)
    left = torch.linalg.svd(coarse - coarse.mean(0), full_matrices=False).U[:, :LATENT]
    turned = torch.linalg.qr(torch.randn(LATENT, LATENT, generator=rng)).Q
    return left @ turned * len(images) ** 0.5


def train(
    folder: Path,
    out: Path,
    spec: SampleSpec,
    family: str,
    *,
    steps: int,
    width: int,
    batch: int,
    game: float,
    seed: int,
) -> None:
    """Writes the generator to `out`. It minimises mean squared error + `game` · its family's loss."""
    paths = find(folder)
    images = read_all(paths, replace(spec, form=FileForm(levels=ANY))).samples
    labels = read_labels(folder, paths)[1] if FAMILIES[family].conditional else None
    training = GanTraining(GanSettings(family, width, None, batch, seed=seed, bf16=True), images, labels)
    rng = torch.Generator().manual_seed(seed)
    latents = components(images, rng)
    if labels is not None:
        latents = torch.cat([latents, drawing(labels, training, rng)], 1)
    learn(training, images, latents[..., None, None], steps=steps, game=game, rng=rng)
    about = asdict(training.settings) | {"steps": steps, "game": game, "images": len(images)}
    save_generator(training.finished_generator(), family, out, about, size=spec.shape[1])


def learn(training: GanTraining, images: Tensor, latents: Tensor, *, steps: int, game: float, rng: torch.Generator):
    """Critic and generator in turn. With labels the critic sees the image's own planes beside both."""
    critic_loss, generator_loss = LOSSES[training.settings.family]
    critic = torch.optim.Adam(training.critic.parameters(), RATE / 10, BETAS)
    generator = torch.optim.Adam(training.generator.parameters(), RATE, BETAS)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(generator, steps)
    for step in range(steps):
        some = torch.randint(len(images), (training.settings.batch,), generator=rng)
        codes = training._codes[some] if training.classes else None

        def shown(pictures: Tensor, codes: Tensor | None = codes) -> Tensor:
            return pictures if codes is None else _labelled(pictures, codes)

        with torch.autocast("cpu", torch.bfloat16):
            made = training.generator(latents[some])
            against = critic_loss(training.critic, shown(images[some]), shown(made.detach()), rng)
            critic.zero_grad(set_to_none=True)
            against.backward()
            critic.step()
            error = mse_loss(made.float(), images[some])
            loss = error + game * generator_loss(training.critic, shown(made))
        generator.zero_grad(set_to_none=True)
        loss.backward()
        generator.step()
        falling.step()
        if step % 50 == 49:
            found = f"error {error.item():.4f}, critic {against.item():.3f}"
            print(f"{training.settings.family}: {step + 1} of {steps}, {found}", flush=True)


def drawing(labels: Tensor, training: GanTraining, rng: torch.Generator) -> Tensor:
    """[n, 1]: last values of latents that draw these labels."""
    values = torch.randn(50 * len(labels), 1, generator=rng)
    codes = training._label().code(torch.cat([torch.zeros(len(values), LATENT), values], 1)[..., None, None])
    drawn = codes.flatten(1).argmax(1)
    pools = {label: iter(values[drawn == label]) for label in labels.unique().tolist()}
    return torch.stack([next(pools[label]) for label in labels.tolist()])
