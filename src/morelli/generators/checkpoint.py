"""Weights of a checkpoint into a module: prefixes taken off, the part named where there are several, misfits said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from morelli.errors import MismatchError, UnreadableBundle

PREFIXES = ("module.", "_orig_mod.", "ema_model.", "online_model.")  # of wrappers, at the front of every name
SHOWN = 3  # names of each kind that an error lists


def load_weights(module: nn.Module, weights: Mapping[str, Any] | str | Path, part: str | None = None) -> nn.Module:
    """Load a state dict, or what contains one, and return the module. Every weight must be there and fit.

    A checkpoint may hold several sets of weights under names of their own (`generator`, `g_ema`) or as prefixes
    (`g_ema.0.weight`); prefixes that wrappers leave (`module.`, `_orig_mod.`) are taken off. Where several sets fit the
    module, which made the samples is not guessed: mostly it is the moving average.

    Args:
        weights: a state dict, a mapping that holds some, or the path of a safetensors file. Pickles are not read here.
        part: the name of the set, for example "g_ema".
    Raises:
        MismatchError: no set fits, several do and none is named, or there is none of that name. The module is not
            changed then.
        UnreadableBundle: the file is no safetensors file.
    """
    expected = module.state_dict()
    given = _read(weights) if isinstance(weights, str | Path) else weights
    found = dict(_parts(given, set(expected)))
    names = ", ".join(f"'{name}'" for name in found if name) or "none by name"
    if part is not None:
        if part not in found:
            raise MismatchError(f"the checkpoint has no weights '{part}'; it has {names}.")
        chosen = found[part]
    else:
        fitting = [name for name in found if not _misfits(expected, found[name])]
        if len(fitting) > 1:
            listed = " and ".join(f"'{name}'" for name in fitting)
            raise MismatchError(
                f"the checkpoint holds {len(fitting)} sets of weights that fit, {listed}. Samples are mostly made by "
                "the moving average (ema): say which one by part=…"
            )
        if not found:
            raise MismatchError(f"there are no tensors in the checkpoint; at its top are {_some(list(given))}.")
        near = min(found, key=lambda name: len(_missing(expected, found[name])))
        chosen = found[fitting[0] if fitting else near]
    if wrong := _misfits(expected, chosen):
        raise MismatchError(f"the weights do not fit a {type(module).__name__}: {wrong}. Sets there are: {names}.")
    module.load_state_dict({name: chosen[name] for name in expected if name in chosen}, strict=False)
    return module


def _read(path: str | Path) -> Mapping[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UnreadableBundle(
            f"{path} is no safetensors file ({str(error).splitlines()[0][:120]}). A pickle can run code: load it "
            "yourself by torch.load(path, weights_only=True) and pass what it returns."
        ) from None


def _parts(weights: Mapping[str, Any], expected: set[str], name: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Sets of tensors by name: mappings inside the mapping, and prefixes that names of the module's weights follow."""
    tensors = {str(key): value for key, value in weights.items() if isinstance(value, Tensor)}
    for key, value in weights.items():
        if isinstance(value, Mapping):
            yield from _parts(value, expected, f"{name}.{key}".strip("."))
    if not tensors:
        return
    plain = _bare(tensors)
    prefixes = dict.fromkeys(
        key.removesuffix(known) for key in plain for known in expected if key.endswith(f".{known}")
    )
    if expected & set(plain) or not prefixes:
        yield name, plain
        return
    for prefix in prefixes:
        inside = {key.removeprefix(prefix): value for key, value in plain.items() if key.startswith(prefix)}
        yield f"{name}.{prefix}".strip("."), inside


def _bare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    bare = dict(tensors)
    while front := next((p for p in PREFIXES if bare and all(k.startswith(p) or k == "n_averaged" for k in bare)), ""):
        bare = {key.removeprefix(front): value for key, value in bare.items() if key.startswith(front)}
    return bare


def _missing(expected: Mapping[str, Any], given: Mapping[str, Tensor]) -> list[str]:
    """Counters that old checkpoints lack, and weights of quantised layers, which are no tensors, do not count."""
    return [
        name
        for name, value in expected.items()
        if isinstance(value, Tensor) and name not in given and not name.endswith("num_batches_tracked")
    ]


def _misfits(expected: Mapping[str, Any], given: Mapping[str, Tensor]) -> str:
    missing, beyond = _missing(expected, given), [name for name in given if name not in expected]
    shapes = [
        f"{name} is {tuple(given[name].shape)} where {tuple(value.shape)} is expected"
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    ]
    kinds = (("missing", missing), ("not expected", beyond), ("", shapes))
    return "; ".join(f"{kind} {_some(names)}".strip() for kind, names in kinds if names)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(str(name) for name in names[:SHOWN]) + more
