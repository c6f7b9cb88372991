"""Train a KL-WGAN on a table, with checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from morelli.app.sources import Stage, silent
from morelli.errors import MorelliError
from morelli.generators.kl_wgan import CRITIC_STEPS, KlWganSettings, KlWganTraining
from morelli.generators.table_generator import TableGenerator
from morelli.numerics.columns import Table
from morelli.storage import bundle
from morelli.storage.numbers import read_numbers
from morelli.storage.table_generators import load_table_generator, save_table_generator

CHECKPOINT = "table_gan_training"
FAMILIES = {"kl-wgan": "kl", "kl-wgan-hinge": "hinge"}  # family → loss
EPOCHS = 500


def train_table_gan(
    table: str | Path,
    out: str | Path,
    *,
    family: str = "kl-wgan",
    steps: int | None = None,
    without: Sequence[str] = (),
    width: int = 300,
    batch: int = 256,
    seed: int = 0,
    device: str = "cpu",
    save_every: int = 250,
    stage: Stage = silent,
) -> TableGenerator:
    """Train a KL-WGAN as in arXiv 2306.06210 on PCA-whitened rows. It is of numbers only.

    Args:
        table: a CSV with a header; the generator writes each column with as many decimals as it has there.
        out: the generator is written here; next to it, in `out` + ".training", a checkpoint from which a run that was
            interrupted, or is asked for more steps, goes on to the same bits.
        family: "kl-wgan", or "kl-wgan-hinge" with the loss of that paper's scripts.
        steps: of the generator, in all; by default so many that the critic sees the table 500 times.
        without: columns to leave out.
    Raises:
        UnreadableSample, MismatchError, OutOfRange: no suitable table, or a checkpoint with other settings.
    """
    if family not in FAMILIES:
        raise MorelliError(f"there is no table GAN family '{family}'; there are {', '.join(FAMILIES)}.")
    out = Path(out)
    checkpoint = out.with_name(out.name + ".training")
    names, rows, decimals = read_numbers(table, without)
    made = Table.whitened(names, rows, decimals)
    settings = KlWganSettings(FAMILIES[family], width, batch, seed=seed)
    training = KlWganTraining(settings, made.encode(rows).to(device))
    if checkpoint.exists():
        training.restore(bundle.read(checkpoint, CHECKPOINT).state)
    count = EPOCHS * -(-len(rows) // batch) // CRITIC_STEPS if steps is None else steps
    progress = stage(f"training {family}", count)
    progress(min(training.done, count))
    while training.done < count:
        training.step()
        progress(1)
        if training.done % save_every == 0 or training.done == count:
            bundle.write(checkpoint, CHECKPOINT, training.state(), overwrite=True)
    about = asdict(settings) | {"steps": training.done, "rows": len(rows), "file": Path(table).name}
    save_table_generator(training.finished_generator().cpu(), made, out, about, overwrite=out.exists())
    return load_table_generator(out)
