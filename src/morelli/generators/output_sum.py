"""A generator's output as activation(Σ map(z) + bias): which places of a forward pass hold the z, and the sum's map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from morelli.errors import HeadNotFound
from morelli.generators.activation_fit import CLOSE, Fit, activation_error, fit_activation
from morelli.generators.contributions import summands, way_back
from morelli.generators.finding import bounded
from morelli.generators.graph import Graph
from morelli.generators.summands import Block, Summand
from morelli.numerics.activation import OutputActivation
from morelli.numerics.linear import LinearMap
from morelli.numerics.sums import LinearSum

EXACT = 1e-4  # of the range before the activation: how constant what no summand explains must be, to be a bias

Pass = Callable[[tuple[int, ...]], tuple[Tensor, Graph]]  # places to keep → what the module returned, and its graph


@dataclass(frozen=True, eq=False)
class OutputSum:
    """Found by `find_sum`.

    Attributes:
        map: of the one summand, or their `LinearSum` sum; each summand's weight is the spread of what enters it.
        names: of the summands, for people.
        length: of the graph; another pass whose graph is not as long took another path.
    """

    map: LinearMap
    bias: Tensor
    activation: OutputActivation
    summands: tuple[Summand, ...]
    names: tuple[str, ...]
    length: int

    @property
    def places(self) -> tuple[int, ...]:
        """Which nodes' tensors `activations` needs."""
        return tuple(summand.place for summand in self.summands)

    def activations(self, graph: Graph, count: int) -> Tensor:
        """[count, *map.in_shape] of a pass. Raises HeadNotFound where it took another path."""
        if len(graph.nodes) != self.length:
            raise HeadNotFound("the module takes another path from draw to draw, so it has no single last sum.")
        found = [summand.block(graph.nodes[summand.place], count) for summand in self.summands]
        if not isinstance(self.map, LinearSum):
            return found[0].input
        rows = zip(found, self.map.weights, strict=True)
        return self.map.join([block.input / weight for block, weight in rows])

    def samples(self, output: Tensor) -> Tensor:
        """What the module returned, [n, *map.out_shape]."""
        return output.reshape(len(output), *self.map.out_shape)

    def describe(self) -> str:
        shapes = f"{self.map.in_shape} → {self.map.out_shape}"
        return f"sum of: {' + '.join(self.names)}, {shapes}; activation: {self.activation}"

    def verify(self, output: Tensor, graph: Graph) -> None:
        """Raises HeadNotFound where another pass is not explained."""
        again = self.map.apply(self.activations(graph, len(output))) + self.bias
        error = activation_error(self.activation, again, output.reshape(again.shape))
        if error > CLOSE:
            raise HeadNotFound(
                f"{self.describe()} reproduces a second draw only to {error:.2g} of the output range: the weights "
                "depend on the latent, or the module is not deterministic."
            )


def find_sum(run: Pass, count: int, activation: OutputActivation | None) -> OutputSum:
    """From two passes over the same `count` draws: one to see the operations, one to keep what enters the summands.

    Raises:
        HeadNotFound: the output is no such sum, none of its summands is a linear layer, or they do not add up to it.
    """
    _, graph = run(())
    if graph.result is None:
        raise HeadNotFound("operations lead to the output that cannot be watched.")
    taken_apart = [(node, list(summands(node, count))) for node in way_back(graph.result)]
    sums = [(node, found) for node, found in taken_apart if any(summand.learnt for summand in found)]
    if not sums:
        raise HeadNotFound("no summand is a linear layer whose weights are the same for every sample.")
    output, graph = run(tuple(place for node, found in sums for place in (node.place, *(s.place for s in found))))
    fits = [_fit(graph.nodes[node.place].value(), output, activation) for node, _ in sums]
    for (node, found), fit in reversed(list(zip(sums, fits, strict=True))):  # the one farthest back
        if fit.holds:
            fit = bounded(fit, "the sum", output)
            return _sum_of(found, fit.activation, graph, graph.nodes[node.place].value(), count)
    raise HeadNotFound(
        f"no activation leads from the last sum to the output; the best, {fits[-1].activation}, is off by "
        f"{fits[-1].error:.2g}."
    )


def _fit(before: Tensor, output: Tensor, activation: OutputActivation | None) -> Fit:
    if activation is None:
        return fit_activation(before, output)
    return Fit(activation, activation_error(activation, before.reshape(output.shape), output))


def _sum_of(found: list[Summand], activation: OutputActivation, graph: Graph, reached: Tensor, count: int) -> OutputSum:
    blocks = [(summand, summand.block(graph.nodes[summand.place], count)) for summand in found]
    kept = [(summand, block, spread) for summand, block in blocks if (spread := _spread(block.input)) > 0]
    if not kept:
        raise HeadNotFound("the output does not depend on the latent.")
    rest = reached - sum(block.map.apply(block.input).reshape(reached.shape) for _, block, _ in kept)
    bias = rest.mean(0)
    if float((rest - bias).abs().max()) > EXACT * float(reached.max() - reached.min()):
        raise HeadNotFound(
            f"the summands {' + '.join(block.name for _, block, _ in kept)} do not add up to the output."
        )
    per_channel = bias.reshape(len(bias), -1).mean(1).reshape(-1, *[1] * (bias.ndim - 1))
    if float((bias - per_channel).abs().max()) <= EXACT * float(reached.max() - reached.min()):
        bias = per_channel
    parts: list[Block] = [block for _, block, _ in kept]
    weights = tuple(spread for *_, spread in kept)
    linear = parts[0].map if len(parts) == 1 else LinearSum(tuple(part.map for part in parts), weights)
    names = tuple(part.name for part in parts)
    return OutputSum(linear, bias, activation, tuple(s for s, *_ in kept), names, len(graph.nodes))


def _spread(z: Tensor) -> float:
    """Root mean square around the mean of the draws."""
    return float((z.double() - z.double().mean(0)).square().mean().sqrt())
