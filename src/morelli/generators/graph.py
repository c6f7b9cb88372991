"""A forward pass as a graph: every operation that depends on the module's inputs, with what went in and came out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from morelli.generators.tracing import layer_names

RANDOM = {"randn", "rand", "randn_like", "rand_like", "normal", "normal_", "uniform_", "bernoulli", "randint"}


@dataclass(frozen=True, eq=False)
class Node:
    """An input of the module, or what one operation returned.

    Attributes:
        place: its number, in the order of the pass; inputs come first.
        function: None for inputs. index: which of several results.
        arguments, options: of the call; tensors that depend on the inputs are nodes, others stand for themselves.
        output: a copy of the result, and
        taken: copies of its dependent tensor arguments in order, where they were asked for.
        layer: the innermost named module that ran it.
        like: of no values, in the result's precision and on its device.
    """

    place: int
    function: Any
    index: int | None
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    layer: str
    shape: tuple[int, ...]
    like: Tensor
    output: Tensor | None = None
    taken: tuple[Tensor, ...] = ()

    @property
    def name(self) -> str:
        """Of the operation, without underscores: add, conv2d, interpolate."""
        return str(getattr(self.function, "__name__", "")).strip("_")

    @property
    def parents(self) -> list[Node]:
        return list(_of_kind((self.arguments, self.options), Node))

    def value(self) -> Tensor:
        assert self.output is not None  # its place was asked for
        return self.output

    def replay(self, known: dict[Node, Tensor]) -> Tensor:
        """Its result, had the nodes in `known` been these."""
        if self not in known:
            arguments, options = _mapped((self.arguments, self.options), Node, lambda node: node.replay(known))
            made = self.function(*arguments, **options)
            known = {**known, self: made if self.index is None else made[self.index]}
        return known[self]


@dataclass(frozen=True, eq=False)
class Graph:
    """All nodes of a pass, and the one that the module returned."""

    nodes: list[Node]
    result: Node | None


class _Recorder(TorchFunctionMode):
    def __init__(self, wanted: Collection[int] | None) -> None:
        super().__init__()
        self.wanted = wanted
        self.nodes: list[Node] = []
        self.layers: list[str] = [""]
        self.now = WeakIdKeyDictionary()  # each tensor's newest node: operations in place give it another

    def add(self, output: Tensor, **call: Any) -> None:
        place = len(self.nodes)
        kept = self.wanted is None or place in self.wanted
        taken = call.pop("taken", ())
        node = Node(
            place,
            output=output.clone() if kept else None,
            taken=taken,
            layer=self.layers[-1],
            shape=tuple(output.shape),
            like=output.new_zeros(0),
            **call,
        )
        self.nodes.append(node)
        self.now[output] = node

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = (tuple(args), dict(kwargs or {}))
        tensors = [t for t in _of_kind(given, Tensor) if t in self.now]
        random = str(getattr(func, "__name__", "")) in RANDOM
        if not tensors and not random:
            return func(*args, **(kwargs or {}))
        arguments, options = _mapped(given, Tensor, lambda tensor: self.now.get(tensor, tensor))
        before = tensors if self.wanted is None or len(self.nodes) in self.wanted else []
        before = [tensor.clone() for tensor in before]
        output = func(*args, **(kwargs or {}))
        several = isinstance(output, tuple | list)
        for index, each in enumerate(output if several else (output,)):
            if isinstance(each, Tensor):
                call = {"function": func, "index": index if several else None}
                self.add(each, arguments=arguments, options=options, taken=tuple(before), **call)
        return output


def record(
    module: nn.Module, inputs: list[Tensor], run: Callable[[], Any], wanted: Collection[int] | None = None
) -> tuple[Any, Graph]:
    """What `run` returns, and the operations on the module's inputs that ran meanwhile.

    Args:
        wanted: the places of nodes whose tensors are kept; None for all.
    """
    recorder = _Recorder(wanted)
    for tensor in inputs:
        recorder.add(tensor, function=None, index=None, arguments=(), options={})
    with layer_names(module, recorder.layers), recorder:
        output = run()
    result = recorder.now.get(output) if isinstance(output, Tensor) else None
    return output, Graph(recorder.nodes, result)


def _of_kind(value: Any, kind: type) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _of_kind(inner, kind)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _of_kind(inner, kind)


def _mapped(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return type(value)(_mapped(inner, kind, change) for inner in value)
    if isinstance(value, dict):
        return {key: _mapped(inner, kind, change) for key, inner in value.items()}
    return value
