"""KL-WGANs of tables on disk: weights, and the table that their rows are of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from morelli.errors import MorelliError, UnreadableBundle
from morelli.generators.kl_wgan import LATENT, build_kl_wgan
from morelli.generators.table_generator import TableGenerator
from morelli.numerics.columns import Table
from morelli.numerics.state import State
from morelli.storage import bundle
from morelli.storage.networks import check_shapes

KIND = "table_gan"


def save_table_generator(
    module: nn.Sequential, table: Table, path: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> str:
    """Write a generator that `build_kl_wgan` built; returns the bundle's digest."""
    width = module[0].out_features
    settings = {"width": width, "table": table.settings(), "provenance": dict(provenance)}
    return bundle.write(path, KIND, State(settings, dict(module.state_dict())), overwrite=overwrite)


def load_table_generator(path: str | Path) -> TableGenerator:
    """A generator of ordinary rows, written by `train_gan`. Raises UnreadableBundle."""
    found = bundle.read(Path(path), KIND)
    try:
        table = Table.from_settings(found.state.settings["table"])
        sizes = table.width, found.state.settings["width"]
        check_shapes(lambda: build_kl_wgan(*sizes), found.state.tensors)
        module = build_kl_wgan(*sizes)
        module.load_state_dict(dict(found.state.tensors))
        return TableGenerator(module.eval(), (LATENT,), table, announce=lambda line: None)
    except (MorelliError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnreadableBundle(f"{path}: no generator of rows ({str(error).splitlines()[0][:120]}).") from None
