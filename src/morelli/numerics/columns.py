"""Table: the columns of ordinary rows, and the owner's transform between them and what a generator makes.

A row of values [c] (a category as its place among the known ones) is *encoded* as [d] numbers, which is what the
generator's last layer makes; a number takes one place or, by modes, 1 + k, a category one place for each value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from morelli.errors import MismatchError, OutOfRange
from morelli.numerics.whitening import fit_whitening

REACH = 4.0  # deviations of a mode that stand for 1, as in CTGAN
MOST_DECIMALS = 9
LEAST_CHANCE = 1e-6  # of a category, below which it cannot be told apart


@dataclass(frozen=True)
class Number:
    """value = scale · encoded + shift. `decimals` are those it is written with; None where nothing is rounded.

    Standardised: scale is the deviation, shift the mean. Min–max to [−1, 1]: half the range, and its middle.
    """

    name: str
    decimals: int | None = None
    scale: float = 1.0
    shift: float = 0.0

    @property
    def width(self) -> int:
        return 1

    def encode(self, values: Tensor) -> Tensor:
        return ((values - self.shift) / self.scale)[:, None]

    def decode(self, encoded: Tensor) -> Tensor:
        return encoded[:, 0] * self.scale + self.shift


@dataclass(frozen=True)
class Quantile:
    """A number by its rank: knots are values at evenly spaced ranks; encoded is a rank in [0, 1], or a normal score."""

    name: str
    knots: tuple[float, ...]
    decimals: int | None = None
    normal: bool = True

    @property
    def width(self) -> int:
        return 1

    def encode(self, values: Tensor) -> Tensor:
        knots = torch.tensor(self.knots, dtype=values.dtype, device=values.device)
        rank = _interpolated(values, knots, torch.linspace(0, 1, len(knots)).to(values))
        return (torch.special.ndtri(rank.clamp(1e-7, 1 - 1e-7)) if self.normal else rank)[:, None]

    def decode(self, encoded: Tensor) -> Tensor:
        rank = torch.special.ndtr(encoded[:, 0]) if self.normal else encoded[:, 0]
        knots = torch.tensor(self.knots, dtype=encoded.dtype, device=encoded.device)
        return _interpolated(rank, torch.linspace(0, 1, len(knots)).to(encoded), knots)


@dataclass(frozen=True)
class Modes:
    """Mode-specific normalisation: (value − mean)/(4·deviation) of one of k modes, and which mode, as one-hot.

    The mode of a value is the likeliest one. `drawn`: the generator draws the mode, as Gumbel heads do. Source: Xu et
    al., "Modeling Tabular Data using Conditional GAN" (2019). Differs: there the mode of a value is drawn, too.
    """

    name: str
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    decimals: int | None = None
    drawn: bool = False

    @property
    def width(self) -> int:
        return 1 + len(self.means)

    def encode(self, values: Tensor) -> Tensor:
        mean, deviation = (torch.tensor(x, dtype=values.dtype, device=values.device) for x in self._modes)
        away = (values[:, None] - mean) / deviation
        mode = (-0.5 * away.square() - deviation.log()).argmax(1)
        chosen = torch.nn.functional.one_hot(mode, len(mean)).to(values)
        inside = (away / REACH).gather(1, mode[:, None]).clamp(-0.99, 0.99)
        return torch.cat([inside, chosen], 1)

    def decode(self, encoded: Tensor) -> Tensor:
        mean, deviation = (torch.tensor(x, dtype=encoded.dtype, device=encoded.device) for x in self._modes)
        mode = encoded[:, 1:].argmax(1)
        return encoded[:, 0] * REACH * deviation[mode] + mean[mode]

    @property
    def _modes(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.means, self.deviations


@dataclass(frozen=True)
class Category:
    """One of several texts, one-hot. `drawn`: the generator draws it, as Gumbel heads do; else takes the likeliest."""

    name: str
    values: tuple[str, ...]
    drawn: bool = False

    @property
    def width(self) -> int:
        return len(self.values)

    def encode(self, values: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(values.long(), len(self.values)).to(values)

    def decode(self, encoded: Tensor) -> Tensor:
        return encoded.argmax(1).to(encoded)


Column = Number | Quantile | Modes | Category
KINDS: dict[str, type[Column]] = {"number": Number, "quantile": Quantile, "modes": Modes, "category": Category}


@dataclass(frozen=True)
class Table:
    """Columns in the order of the generator's output.

    Attributes:
        mean, matrix: where all columns are plain numbers, of a whitening: encoded = (values − mean) @ matrix.
    Raises:
        OutOfRange: no columns, a name twice, or settings without meaning.
        MismatchError: a whitening of another size, or of columns with scales of their own.
    """

    columns: tuple[Column, ...]
    mean: tuple[float, ...] = ()
    matrix: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(set(names)) < len(names) or not all(names):
            raise OutOfRange(f"a table has columns {names}; expected at least one, each with a name of its own.")
        for column in self.columns:
            _check(column)
        if self.matrix:
            plain = all(isinstance(c, Number) and (c.scale, c.shift) == (1.0, 0.0) for c in self.columns)
            sizes = {len(names)} == {len(self.mean), len(self.matrix), *map(len, self.matrix)}
            if not plain or not sizes:
                raise MismatchError(f"a whitening takes {len(names)} plain numbers, a mean and a square matrix.")

    @staticmethod
    def whitened(names: Sequence[str], rows: Tensor, decimals: Sequence[int | None]) -> Table:
        """The table of a generator of whitened rows: PCA-whitening fitted to `rows` [n, c]."""
        mean, matrix = fit_whitening(rows)
        columns = tuple(Number(name, places) for name, places in zip(names, decimals, strict=True))
        return Table(columns, tuple(mean.tolist()), tuple(map(tuple, matrix.tolist())))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def width(self) -> int:
        """Numbers in an encoded row."""
        return sum(column.width for column in self.columns)

    @property
    def groups(self) -> list[slice]:
        """Where one-hot codes stand, each of which a softmax makes."""
        found = []
        for column, place in zip(self.columns, self._places, strict=True):
            if isinstance(column, Modes | Category):
                found.append(slice(place.start + isinstance(column, Modes), place.stop))
        return found

    @property
    def bounded(self) -> list[int]:
        """Where values inside a mode stand, each of which a tanh makes."""
        pairs = zip(self.columns, self._places, strict=True)
        return [place.start for column, place in pairs if isinstance(column, Modes)]

    @cached_property
    def _places(self) -> list[slice]:
        places, start = [], 0
        for column in self.columns:
            places.append(slice(start, start + column.width))
            start += column.width
        return places

    @cached_property
    def _whitening(self) -> tuple[Tensor, Tensor, Tensor]:
        matrix = torch.tensor(self.matrix, dtype=torch.float64)
        return torch.tensor(self.mean, dtype=torch.float64), matrix, torch.linalg.inv(matrix)

    def encode(self, values: Tensor) -> Tensor:
        """Values [n, c] → encoded rows [n, d], float32. Raises MismatchError for another number of columns."""
        values = values.double()
        if values.shape[1:] != (len(self.columns),):
            raise MismatchError(f"rows have {tuple(values.shape[1:])} values; this table has {len(self.columns)}.")
        if self.matrix:
            mean, matrix, _ = (x.to(values.device) for x in self._whitening)
            return ((values - mean) @ matrix).float()
        return torch.cat([c.encode(values[:, i]) for i, c in enumerate(self.columns)], 1).float()

    def loosely(self, encoded: Tensor) -> Tensor:
        """Encoded rows [n, d] → values [n, c], float64, before anything is rounded; differentiable in the numbers."""
        encoded = encoded.double()
        if encoded.shape[1:] != (self.width,):
            raise MismatchError(f"encoded rows are {tuple(encoded.shape[1:])}; this table's are ({self.width},).")
        if self.matrix:
            mean, _, back = (x.to(encoded.device) for x in self._whitening)
            return encoded @ back + mean
        pairs = zip(self.columns, self._places, strict=True)
        return torch.stack([column.decode(encoded[:, place]) for column, place in pairs], 1)

    def decode(self, encoded: Tensor) -> Tensor:
        """Encoded rows [n, d] → values [n, c], float64, rounded as they are written."""
        values = self.loosely(encoded)
        for i, column in enumerate(self.columns):
            places = getattr(column, "decimals", None)
            if places is not None:
                values[:, i] = (values[:, i] * 10**places).round() / 10**places
        return values

    def stored(self, encoded: Tensor) -> Tensor:
        """Encoded rows as a file gives them back: decoded, rounded and encoded again. What must be judged."""
        return self.encode(self.decode(encoded))

    def misses(self, made: Tensor, values: Tensor, loose: Tensor) -> Tensor:
        """How far generated rows [p, d] are from values [p, c], in deviations of what stands between them: [p, c].

        Of a number with decimals that is the error of rounding, a step/√12; of another `loose` [c]. Of a category the
        root of −2 log its chance, or of one that is not drawn, of that relative to the likeliest.
        """
        reached = self.loosely(made)
        found = []
        for i, (column, place) in enumerate(zip(self.columns, self._places, strict=True)):
            if isinstance(column, Category):
                chances = made[:, place].double().clamp_min(LEAST_CHANCE)
                chance = chances.gather(1, values[:, i : i + 1].long())[:, 0]
                best = chances.sum(1) if column.drawn else chances.amax(1)
                found.append((2 * (best / chance).log()).clamp_min(1e-12).sqrt())
            else:
                step = loose[i].double() if column.decimals is None else 10.0**-column.decimals / math.sqrt(12)
                found.append((reached[:, i] - values[:, i]) / step)
        return torch.stack(found, 1)

    def settings(self) -> dict[str, Any]:
        kinds = {kind: name for name, kind in KINDS.items()}
        columns = [{"type": kinds[type(column)]} | asdict(column) for column in self.columns]
        return {"columns": columns, "mean": list(self.mean), "matrix": [list(row) for row in self.matrix]}

    @staticmethod
    def from_settings(settings: Mapping[str, Any]) -> Table:
        columns = []
        for given in settings["columns"]:
            values: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in given.items()}
            columns.append(KINDS[str(values.pop("type"))](**values))
        return Table(tuple(columns), tuple(settings["mean"]), tuple(map(tuple, settings["matrix"])))


def _check(column: Column) -> None:
    """Raises OutOfRange for settings without meaning."""
    places = getattr(column, "decimals", None)
    if places is not None and places not in range(MOST_DECIMALS + 1):
        raise OutOfRange(f"column '{column.name}' has {places} decimals; expected 0 to {MOST_DECIMALS}, or None.")
    match column:
        case Number():
            fine = math.isfinite(column.scale) and column.scale > 0 and math.isfinite(column.shift)
        case Quantile():
            fine = len(column.knots) > 1 and all(a <= b for a, b in zip(column.knots, column.knots[1:], strict=False))
        case Modes():
            fine = 0 < len(column.means) == len(column.deviations) and min(column.deviations) > 0
        case Category():
            fine = len(column.values) > 1 and len(set(column.values)) == len(column.values)
    if not fine:
        raise OutOfRange(
            f"column '{column.name}' cannot be used as {column}; scales and deviations are positive, knots rise, modes "
            "have a mean and a deviation each, and a category has at least two values, all different."
        )


def _interpolated(x: Tensor, at: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear through (at, values), both rising; constant outside."""
    upper = torch.searchsorted(at, x.detach().contiguous()).clamp(1, len(at) - 1)
    below, above = at[upper - 1], at[upper]
    share = ((x - below) / (above - below).clamp_min(1e-300)).clamp(0, 1)
    return values[upper - 1] + share * (values[upper] - values[upper - 1])
