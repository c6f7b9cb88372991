"""Train one of the paper's small GANs on a folder of images, with checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morelli.app.sources import Stage, silent
from morelli.errors import MismatchError
from morelli.features.protocol import SampleSpec
from morelli.generators.gan_training import GanSettings, GanTraining
from morelli.generators.small_gans import FAMILIES
from morelli.numerics.file_form import ANY, FileForm
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
    size: int = 64,
    stage: Stage = silent,
) -> nn.Module:
    """Train a DCGAN, WGAN-GP, LSGAN or EBGAN as in arXiv 2306.06210, appendix G.2, a conditional DCGAN, or a StyleGAN2.

    Args:
        images: a folder of images of that size, of 8 or 16 bits or DICOM. The labels of a conditional family are the
            names of its sub-folders.
        out: the generator is written here; next to it, in `out` + ".training", a checkpoint from which a run
            that was interrupted, or is asked for more steps, goes on to the same bits.
        family: "dcgan", "wgan-gp", "lsgan", "ebgan", "c-dcgan" or "style".
        steps: of the generator, in all.
        width, critic_width: base channels; the critic has as many as the generator unless told otherwise.
        bf16: compute in bfloat16; about twice as fast on hardware that has it.
        channels, size: of the images: 1 or 3, and 64 or 128 pixels a side.
    Returns:
        The generator in evaluation mode, with weights as on disk, in half precision.
    Raises:
        UnreadableSample, MismatchError: no suitable images or labels, or a checkpoint with other settings.
    """
    out = Path(out)
    checkpoint = out.with_name(out.name + ".training")
    paths = find(images)
    spec = SampleSpec((channels, size, size), form=FileForm(levels=ANY))
    collection = read_all(paths, spec, progress=stage("reading images", len(paths)))
    rate = FAMILIES[family].learning_rate if family in FAMILIES else GanSettings.learning_rate
    settings = GanSettings(family, width, critic_width, batch, rate, seed, bf16)
    about: dict[str, Any] = {"images": len(collection.samples), "folder": Path(images).name}
    labels = None
    if family in FAMILIES and FAMILIES[family].conditional:
        refused = {path for path, _ in collection.refused}
        about["labels"], labels = read_labels(Path(images), [path for path in paths if path not in refused])
    training = GanTraining(settings, collection.samples.to(device), None if labels is None else labels.to(device))
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
    about = asdict(settings) | {"steps": training.done} | about
    save_generator(module, family, out, about, size=size, overwrite=out.exists())
    return _as_stored(module)


def read_labels(folder: Path, files: Sequence[Path]) -> tuple[list[str], Tensor]:
    """The sub-folders' names in order, and each file's place among them. Raises MismatchError for fewer than two."""
    parts = [file.relative_to(folder).parts for file in files]
    loose = [file for file, inside in zip(files, parts, strict=True) if len(inside) < 2]
    if loose:
        raise MismatchError(f"{loose[0].name} lies in no sub-folder of {folder}; a conditional GAN's labels are those.")
    names = sorted({inside[0] for inside in parts})
    if len(names) < 2:
        raise MismatchError(f"{folder} has images in one sub-folder; a conditional GAN needs two labels or more.")
    return names, torch.tensor([names.index(inside[0]) for inside in parts])


def _as_stored(module: nn.Module) -> nn.Module:
    return module.half().float().cpu()
