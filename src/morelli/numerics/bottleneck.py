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
    widths = _widths(program)
    place = min(range(len(widths)), key=widths.__getitem__)
    if not widths[place] < widths[0]:
        raise UnsuitableProgram("this network is nowhere narrower than its input, so it has no latents to search.")
    return _split(program, place)


def split_after_mapping(program: Program) -> tuple[Program | None, Program]:
    """A generator as what it makes of its latents while they are narrow, and the rest; None where that is nothing.

    They meet at the narrowest result that everything passes through, of equals at the last: of a StyleGAN at w.
    """
    widths = _widths(program)
    place = max(i for i, width in enumerate(widths) if width == min(widths))
    return _split(program, place) if place else (None, program)


def _widths(program: Program) -> list[float]:
    """Values of a sample in each result but the output, the input first; without end where not all passes through."""
    results, counts = program.results(1), _counts(program)
    last = list(range(len(results)))  # the step that reads each result for the last time
    for number, step in enumerate(program.steps, 1):
        for kind, value in references([step.args, step.options]):
            if kind == "step" and value not in counts:
                last[value] = number
    widths, read_until = [float(math.prod(program.in_shape))], last[0]
    for number, result in enumerate(results[1:-1], 1):
        alone = read_until <= number and isinstance(result, Tensor) and result.ndim > 1
        widths.append(math.prod(result.shape[1:]) if alone else math.inf)
        read_until = max(read_until, last[number])
    return widths


def _counts(program: Program) -> set[int]:
    """Results that are the number of samples."""
    numbered = enumerate(program.steps, 1)
    return {n for n, step in numbered if step.operation == COUNT.operation and step.args[1] == 0}


def _split(program: Program, place: int) -> tuple[Program, Program]:
    """Up to a result that all passes through, and after it."""
    counts = _counts(program)

    def renumbered(number: int) -> int:
        return 1 if number in counts and number < place else number - place + (number > place)

    before, after = program.steps[:place], program.steps[place:]
    later = [Step(s.operation, _moved(s.args, renumbered), _moved(s.options, renumbered)) for s in after]
    shape = tuple(program.results(1)[place].shape[1:])
    return _program(program, program.in_shape, before), _program(program, shape, (COUNT, *later))


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
