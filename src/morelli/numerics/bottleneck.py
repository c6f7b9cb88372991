"""The bottleneck of a network: where least goes through, and what comes before and after it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from morelli.errors import UnsuitableProgram
from morelli.numerics.program import Program, Step, references

COUNT = Step("sym_size.int", ({"step": 0}, 0), {})  # how many samples there are, which either half can tell


def split_at_bottleneck(program: Program) -> tuple[Program, Program]:
    """An autoencoder as its encoder and its decoder: what the second computes from what the first gives.

    They meet at the narrowest result that everything passes through, of equals at the first.

    Raises:
        UnsuitableProgram: nowhere is it narrower than its input.
    """
    results = program.results(1)
    counts = {n for n, step in enumerate(program.steps, 1) if step.operation == COUNT.operation and step.args[1] == 0}
    last = list(range(len(results)))  # the step that reads each result for the last time
    for number, step in enumerate(program.steps, 1):
        for kind, value in references([step.args, step.options]):
            if kind == "step" and value not in counts:
                last[value] = number
    sizes, read_until = [math.inf], last[0]
    for number, result in enumerate(results[1:-1], 1):
        alone = read_until <= number and isinstance(result, Tensor) and result.ndim > 1
        sizes.append(math.prod(result.shape[1:]) if alone else math.inf)
        read_until = max(read_until, last[number])
    place = min(range(len(sizes)), key=sizes.__getitem__)
    if not sizes[place] < math.prod(program.in_shape):
        raise UnsuitableProgram("this network is nowhere narrower than its input, so it has no latents to search.")

    def renumbered(number: int) -> int:
        return 1 if number in counts and number < place else number - place + (number > place)

    before, after = program.steps[:place], program.steps[place:]
    later = [Step(s.operation, _moved(s.args, renumbered), _moved(s.options, renumbered)) for s in after]
    return (
        _program(program, program.in_shape, before),
        _program(program, tuple(results[place].shape[1:]), (COUNT, *later)),
    )


def _program(whole: Program, shape: tuple[int, ...], steps: tuple[Step, ...]) -> Program:
    """With the tensors that it reads."""
    names = {name for step in steps for kind, name in references([step.args, step.options]) if kind == "tensor"}
    return Program(shape, steps, {name: whole.tensors[name] for name in names})


def _moved(value: Any, renumbered: Callable[[int], int]) -> Any:
    match value:
        case {"step": int(number)}:
            return {"step": renumbered(number)}
        case Mapping():
            return {key: _moved(inner, renumbered) for key, inner in value.items()}
        case list() | tuple():
            return tuple(_moved(inner, renumbered) for inner in value)
    return value
