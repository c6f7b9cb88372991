"""TableGenerator: a module that makes encoded table rows, with the transform between those and ordinary rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from morelli.errors import MismatchError
from morelli.generators.torch_module import Latent, TorchGenerator
from morelli.numerics.activation import Columns
from morelli.numerics.columns import Category, Modes, Table
from morelli.numerics.file_form import FileForm
from morelli.numerics.head import Head


class TableGenerator(TorchGenerator):
    """A generator of rows. Its samples are rows as a file would hold them: rounded, categories one-hot; encoded.

    Args:
        module, latent, layer, batch, announce: as of `TorchGenerator`.
        table: the columns, in the order of the module's output, and how they are scaled.
        heads: the module, of one input, returns what its last linear layer gives, before tanh and softmax or Gumbel
            draw; the table says where those follow, and they are applied here. Off, the module has applied them,
            without drawing.
    Raises:
        HeadNotFound: see `TorchGenerator`.
        MismatchError: the module's rows have another width than the table's.
    """

    def __init__(
        self,
        module: nn.Module,
        latent: Latent,
        table: Table,
        *,
        heads: bool = False,
        layer: str | None = None,
        batch: int = 1024,
        announce: Callable[[str], None] = print,
    ) -> None:
        self.table = table
        activation = None
        if table.groups or table.bounded:
            activation = Columns(tuple(table.bounded), tuple((g.start, g.stop) for g in table.groups))
            module = Headed(module, activation) if heads else module
            layer = f"inner.{layer}" if heads and layer is not None else layer
        super().__init__(module, latent, layer=layer, activation=activation, batch=batch, announce=announce)
        if self._map.out_shape != (table.width,):
            raise MismatchError(f"the module makes rows of {self._map.out_shape}; the table's are ({table.width},).")

    def head(
        self, n: int = 10_000, seed: int = 0, progress: Callable[[int], None] | None = None, *, whole: bool = False
    ) -> Head:
        """As of `TorchGenerator`, with the table, so that files of ordinary rows can be read."""
        return replace(super().head(n, seed, progress, whole=whole), form=FileForm(table=self.table))

    def samples(self, n: int, seed: int) -> Tensor:
        """[n, table.width], float32: drawn where the heads draw, decoded, rounded and encoded again."""
        made = super().samples(n, seed)
        rng = torch.Generator().manual_seed(seed)
        groups = iter(self.table.groups)
        for column in self.table.columns:
            if isinstance(column, Modes | Category):
                group = next(groups)
                if column.drawn:
                    chosen = torch.multinomial(made[:, group], 1, generator=rng)[:, 0]
                    made[:, group] = torch.nn.functional.one_hot(chosen, group.stop - group.start).to(made)
        return self.table.stored(made)

    def rows(self, n: int, seed: int) -> Tensor:
        """[n, columns], float64: ordinary values; categories by their place."""
        return self.table.decode(self.samples(n, seed))


class Headed(nn.Module):
    """A module of one input with the heads of a table behind it."""

    def __init__(self, inner: nn.Module, activation: Columns) -> None:
        super().__init__()
        self.inner, self.activation = inner, activation

    def forward(self, z: Tensor) -> Tensor:
        return self.activation.forward(self.inner(z))
