"""From a module, or a graph in ONNX, to a head bundle: the one place where a user's code runs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from morelli.app.bundles import save
from morelli.app.sources import Stage, silent
from morelli.errors import MorelliError
from morelli.generators.onnx_graph import onnx_generator
from morelli.generators.torch_module import TorchGenerator
from morelli.numerics.file_form import LEVELS
from morelli.storage.bundle import check_free

REASON = 400  # characters of a foreign error that are shown


def head_from_factory(
    factory: str,
    out: str | Path,
    *,
    latent: str = "",
    draws: int = 10_000,
    layer: str | None = None,
    whole: bool = False,
    levels: int = LEVELS,
    window: str = "",
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
    stage: Stage = silent,
) -> str:
    """Call `package.module:function`, find the head of what it returns, write it, and say what was found.

    Args:
        factory: returns a torch module, or a `TorchGenerator` where latents are not N(0, I).
        latent: shape of one latent, "100x1x1"; not needed for a `TorchGenerator`.
        whole: also store the whole generator, as operations and weights; "sm-inv" and "latent" need it, and
            "imprint" tells siblings in compressed, noisy and cut files by it.
        levels: how many values a pixel of the model's files can take: 65536 of 16 bits. See docs/medical.md.
        window: "centre,width" in which DICOM files are read, in place of each file's own.
        draws: latents over which the anchor, the mean activation, is taken.
    Raises:
        MorelliError: the factory cannot be imported, called or used.
        OutOfRange: levels or a window that no file has. HeadNotFound: see `TorchGenerator`.
        UnsuitableProgram: the whole generator cannot be stored.
    """
    check_free(out, overwrite)
    told: dict[str, Any] = {"levels": levels, "window": _window(window)}
    made = _call(factory)
    if isinstance(made, nn.Module):
        made = TorchGenerator(made.to(device), _shape(latent), layer=layer, announce=lambda line: None)
    if not isinstance(made, TorchGenerator):
        raise MorelliError(f"{factory} returned a {type(made).__name__}; expected a torch module or a TorchGenerator.")
    return _write(made, out, told, draws=draws, whole=whole, seed=seed, overwrite=overwrite, stage=stage)


def head_from_onnx(
    path: str | Path,
    out: str | Path,
    *,
    draws: int = 10_000,
    layer: str | None = None,
    levels: int = LEVELS,
    window: str = "",
    seed: int = 0,
    overwrite: bool = False,
    stage: Stage = silent,
) -> str:
    """The same for a generator exported to ONNX that reads one latent drawn from N(0, I). No code of yours is run.

    Args:
        path: of the file; weights beside it are read, in other folders not. `layer`: the name of a node.
    Raises:
        HeadNotFound, MorelliError: see `onnx_generator`.
    """
    check_free(out, overwrite)
    told: dict[str, Any] = {"levels": levels, "window": _window(window)}
    made = onnx_generator(path, announce=lambda line: None, layer=layer)
    return _write(made, out, told, draws=draws, whole=False, seed=seed, overwrite=overwrite, stage=stage)


def _write(
    made: TorchGenerator,
    out: str | Path,
    told: Mapping[str, Any],
    *,
    draws: int,
    whole: bool,
    seed: int,
    overwrite: bool,
    stage: Stage,
) -> str:
    head = made.head(draws, seed, stage("activations", draws), whole=whole)
    head = replace(head, form=replace(head.form, **told))
    measuring = stage("conditioning of the map", 1)
    head = head.measured()
    measuring(1)
    save(head, out, overwrite=overwrite)
    return made.found


def _call(factory: str) -> object:
    module, _, function = factory.partition(":")
    if not module or not function:
        raise MorelliError(f"'{factory}' is no factory; expected package.module:function, for example mypkg.gan:load.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), function)()
    except MorelliError:
        raise
    except Exception as error:  # it is the user's code: whatever it raises becomes one line
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:REASON]
        raise MorelliError(f"{factory} could not be run ({reason}). Try it in Python first.") from error


def _shape(latent: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(size) for size in latent.lower().split("x"))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise MorelliError(
            f"the latent shape is '{latent}'; expected numbers joined by x, for example --latent 100x1x1."
        )
    return shape


def _window(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        centre, width = (float(each) for each in text.split(","))
    except ValueError:
        raise MorelliError(
            f"the window is '{text}'; expected centre and width, for example --window 300,1500."
        ) from None
    return centre, width
