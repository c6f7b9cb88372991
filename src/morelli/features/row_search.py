"""Row search: how well the whole generator explains table rows, for many rows at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from morelli.errors import MismatchError
from morelli.features.protocol import Progress, SampleSpec
from morelli.numerics.columns import Number, Table
from morelli.numerics.levenberg import Levenberg
from morelli.numerics.program import Program

BANK, MADE, ROWS = 2**15, 2**12, 256  # generated rows to start from, made in one batch, and searched for in one
THOUSAND = 1000  # share of a column's spread that stands for the error of a value of unknown rounding
PROBE = 4  # steps after which the worse half of a wave's starts is given up
EXPLAINED = 2.0  # mean squared miss at which no further start is needed; rounding alone has 1
ALIKE = 3e-2  # relative gain of a step at which a start has ended


@dataclass(frozen=True, eq=False)
class Explained:
    """Of n rows: `cost` [n], `rest` [n] (root mean squared miss), and the `steps` and `starts` it took."""

    cost: Tensor
    rest: Tensor
    steps: Tensor
    starts: Tensor


class RowSearch:
    """min over z of Σ misses(G(z), row)² + ‖z‖²: minus twice the log of how likely latent and rounding are together.

    `misses` are in deviations of the rounding with which the row was written (`Table.misses`). Without a table nothing
    is known of that, and a thousandth of each column's spread stands for it. Levenberg–Marquardt from the nearest of
    32,768 generated rows, in waves of one, one more, two, four, … starts; the worse half of a wave is given up after
    four steps; a row is done once its misses are those of rounding.

    Source: ours; SM-Inv₂ of arXiv 2306.06210 searches by Adam from random latents and takes the plain distance.
    """

    def __init__(self, generator: Program, spec: SampleSpec, device: torch.device, seed: int = 0) -> None:
        self.generator, self.spec = generator.to(device), spec
        self.table = spec.form.table or Table(tuple(Number(str(i + 1)) for i in range(math.prod(spec.shape))))
        size = math.prod(generator.in_shape)
        self.latents = torch.randn(BANK, size, generator=torch.Generator().manual_seed(seed)).to(device)
        made = torch.cat([self._made(some) for some in self.latents.split(MADE)])
        self.loose = self.table.loosely(made).std(0).clamp_min(1e-12) / THOUSAND
        self.spread = made.std(0).clamp_min(1e-12)
        self.bank = made / self.spread

    def run(self, samples: Tensor, restarts: int, steps: int, pull: float, progress: Progress | None) -> Explained:
        """[n, *spec.shape] → what the best of at most `restarts` starts of at most `steps` steps reached."""
        parts = []
        for some in samples.flatten(1).split(ROWS):
            parts.append(self._run(some, restarts, steps, pull))
            if progress:
                progress(len(some))
        empty = samples.new_zeros(0)
        joined = [torch.cat([getattr(part, name) for part in parts] or [empty]) for name in Explained.__annotations__]
        return Explained(*joined)

    def _run(self, rows: Tensor, restarts: int, steps: int, pull: float) -> Explained:
        values = self.table.decode(rows) if self.spec.form.table is not None else rows.double()
        order = torch.cdist(rows / self.spread, self.bank).topk(restarts, largest=False).indices
        cost, rest = (torch.full((len(rows),), math.inf, dtype=torch.float64, device=rows.device) for _ in range(2))
        taken, starts = torch.zeros_like(cost), torch.zeros_like(cost)
        busy, used = torch.arange(len(rows), device=rows.device), 0
        while used < restarts and len(busy):
            size = min(restarts - used, used or 1)
            z = self.latents[order[busy, used : used + size].flatten()]
            found, missed, tried = self._wave(z, values[busy].repeat_interleave(size, 0), size, steps, pull)
            better = found < cost[busy]
            cost[busy] = torch.where(better, found, cost[busy])
            rest[busy] = torch.where(better, missed, rest[busy])
            taken[busy] += tried
            used += size
            starts[busy] = used
            busy = busy[rest[busy].square() > EXPLAINED]
        return Explained(cost, rest, taken, starts)

    def _wave(self, z: Tensor, values: Tensor, size: int, steps: int, pull: float) -> tuple[Tensor, Tensor, Tensor]:
        """Of each row the best cost, its root mean squared miss, and the steps of all its `size` starts."""

        def misses(z: Tensor, rows: Tensor) -> Tensor:
            return self.table.misses(self._made(z), values[rows], self.loose)

        n, probe = len(z) // size, min(PROBE, steps)
        found = Levenberg(probe, ALIKE, 0.0, pull).solve(misses, z)
        cost = found.cost.double() * values.shape[1] + found.value.double().square().sum(1)
        order = cost.reshape(n, size).argsort(dim=1, stable=True)[:, : max(1, (size + 1) // 2)]
        kept = (order + size * torch.arange(n, device=z.device)[:, None]).flatten()
        going = kept[~found.converged[kept] & found.cost[kept].isfinite()]
        if probe < steps and len(going):
            left = values[going]

            def later(z: Tensor, rows: Tensor) -> Tensor:
                return self.table.misses(self._made(z), left[rows], self.loose)

            end = Levenberg(steps - probe, ALIKE, 0.0, pull).solve(later, found.value[going], found.damping[going])
            found.value[going], found.cost[going] = end.value, end.cost
            found.steps[going] += end.steps
        mean = found.cost.double().nan_to_num(math.inf).reshape(n, size)
        total = mean * values.shape[1] + found.value.double().square().sum(1).reshape(n, size)
        best = total.argmin(1, keepdim=True)
        return total.gather(1, best)[:, 0], mean.gather(1, best)[:, 0].sqrt(), found.steps.reshape(n, size).sum(1)

    def _made(self, latents: Tensor) -> Tensor:
        made: Tensor = self.generator(latents.reshape(-1, *self.generator.in_shape))
        if made[0].numel() != math.prod(self.spec.shape):
            raise MismatchError(f"the generator makes {tuple(made.shape[1:])}; samples are {self.spec.shape}.")
        return made.reshape(len(made), -1)
