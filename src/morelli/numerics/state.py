"""State: what a part is made of, as named tensors and settings. Storage knows nothing else of a part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

SEPARATOR = "/"


@dataclass(frozen=True, eq=False)
class State:
    """Named tensors, JSON-able settings, and the states of the parts inside.

    Names of tensors and parts must not contain "/"; it joins them in `flatten`.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    parts: Mapping[str, State] = field(default_factory=dict)

    def flatten(self) -> dict[str, Tensor]:
        """All tensors, those of a part under `part/name`."""
        flat = dict(self.tensors)
        for part, state in self.parts.items():
            flat |= {f"{part}{SEPARATOR}{name}": tensor for name, tensor in state.flatten().items()}
        return flat

    def describe(self) -> dict[str, Any]:
        """Settings and, under `parts`, those of the parts: what becomes the manifest."""
        described: dict[str, Any] = {"settings": dict(self.settings)}
        if self.parts:
            described["parts"] = {name: part.describe() for name, part in self.parts.items()}
        return described

    @staticmethod
    def rebuild(described: Mapping[str, Any], flat: Mapping[str, Tensor]) -> State:
        """The inverse of `describe` and `flatten`."""
        parts = {
            name: State.rebuild(
                inner,
                {
                    key.removeprefix(name + SEPARATOR): tensor
                    for key, tensor in flat.items()
                    if key.startswith(name + SEPARATOR)
                },
            )
            for name, inner in described.get("parts", {}).items()
        }
        own = {key: tensor for key, tensor in flat.items() if SEPARATOR not in key}
        return State(settings=dict(described["settings"]), tensors=own, parts=parts)


def named(thing: Any, kinds: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    """JSON-able settings of a dataclass of settings, with its name in `kinds` as `type`."""
    return {"type": next(name for name, kind in kinds.items() if type(thing) is kind)} | asdict(thing)


def from_named(settings: Mapping[str, Any], kinds: Mapping[str, Callable[..., Any]]) -> Any:
    """The inverse of `named`."""
    values = dict(settings)
    return kinds[values.pop("type")](**values)
