"""What a command says: its result on standard output, as text or as one JSON object; what is beside it on the other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from morelli.cli.progress import errors
from morelli.errors import printable

P = ParamSpec("P")


def harmless(render: Callable[Concatenate[Any, P], str]) -> Callable[Concatenate[Any, P], str]:
    """What files and bundles call themselves must not move a cursor: each text becomes one printable line."""

    @wraps(render)
    def rendered(found: Any, /, *rest: P.args, **options: P.kwargs) -> str:
        return render(_printable(found), *rest, **options)

    return rendered


def _printable(found: Any) -> Any:
    if isinstance(found, str):
        return printable(found)
    if isinstance(found, Mapping):
        return {_printable(key): _printable(value) for key, value in found.items()}
    return [_printable(each) for each in found] if isinstance(found, list | tuple) else found


def answer(found: Mapping[str, Any], text: str, as_json: bool) -> None:
    """Print the result. Numbers that JSON has no word for become null."""
    print(json.dumps(_plain(found), indent=1, allow_nan=False) if as_json else text)


def beside(what: str, lines: Iterable[str]) -> None:
    """Print each as one line on standard error, after its kind: warning or refused."""
    for line in lines:
        errors.print(printable(f"{what}: {line}"), markup=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
