"""Train one of the paper's small GANs on a folder of images, with checkpoints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from torch import nn

from morelli.app.sources import Stage, silent
from morelli.features.protocol import SampleSpec
from morelli.generators.gan_training import GanSettings, GanTraining
from morelli.generators.small_gans import SIZE
from morelli.storage import bundle
from morelli.storage.generators import save_generator
from morelli.storage.samples import find, read_all

CHECKPOINT = "gan_training"


def train_gan(
    images: str | Path,
    out: str | Path,
    *,
    family: str,
    steps: int,
    width: int = 64,
    critic_width: int | None = None,
    batch: int = 128,
    seed: int = 0,
    bf16: bool = False,
    device: str = "cpu",
    save_every: int = 250,
    channels: int = 3,
    stage: Stage = silent,
) -> nn.Module:
    """Train a DCGAN, WGAN-GP, LSGAN or EBGAN as in arXiv 2306.06210, appendix G.2.

    Args:
        images: a folder of 64×64 images.
        out: the generator is written here; next to it, in `out` + ".training", a checkpoint from which a run
            that was interrupted, or is asked for more steps, goes on to the same bits.
        family: "dcgan", "wgan-gp", "lsgan" or "ebgan".
        steps: of the generator, in all.
        width, critic_width: base channels; the critic has as many as the generator unless told otherwise.
        bf16: compute in bfloat16; about twice as fast on hardware that has it.
    Returns:
        The generator in evaluation mode, with weights as on disk, in half precision.
    Raises:
        UnreadableSample, MismatchError: no suitable images, or a checkpoint with other settings.
    """
    out = Path(out)
    checkpoint = out.with_name(out.name + ".training")
    paths = find(images)
    collection = read_all(paths, SampleSpec((channels, SIZE, SIZE)), progress=stage("reading images", len(paths)))
    settings = GanSettings(family, width, critic_width, batch, seed=seed, bf16=bf16)
    training = GanTraining(settings, collection.samples.to(device))
    if checkpoint.exists():
        training.restore(bundle.read(checkpoint, CHECKPOINT).state)
    progress = stage(f"training {family}", steps)
    progress(min(training.done, steps))
    while training.done < steps:
        training.step()
        progress(1)
        if training.done % save_every == 0 or training.done == steps:
            bundle.write(checkpoint, CHECKPOINT, training.state(), overwrite=True)
    module = training.finished_generator()
    about = {"steps": training.done, "images": len(collection.samples), "folder": Path(images).name}
    save_generator(module, family, out, asdict(settings) | about, overwrite=out.exists())
    return _as_stored(module)


def _as_stored(module: nn.Module) -> nn.Module:
    return module.half().float().cpu()
