"""Options that several commands share, and the device they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from morelli.cli.completion import devices, ending
from morelli.cli.exits import SOME_REFUSED as SOME_REFUSED
from morelli.errors import MorelliError

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu or cuda.", autocompletion=devices)]
HEADS, ATTRIBUTORS, GALLERIES = ending(".head"), ending(".attributor"), ending(".gallery")
BUNDLES = ending(".head", ".attributor")
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at the output path.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31, help="Of every random choice.")]
Bf16 = Annotated[bool, typer.Option("--bf16", help="Train in bfloat16: faster on hardware that has it.")]


def device_of(name: str) -> str:
    import torch

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    if chosen.partition(":")[0] not in ("cpu", "cuda"):
        raise MorelliError(f"the device is '{name}'; expected auto, cpu or cuda.")
    if chosen.startswith("cuda"):
        if not torch.cuda.is_available():
            raise MorelliError(f"the device is '{name}', but this machine has no CUDA. Use --device cpu.")
        torch.set_float32_matmul_precision("high")  # TF32
    return chosen


def refuse(given: Mapping[str, object], theirs: str, here: str) -> None:
    """Raises MorelliError if one of these options was given: None, False and empty ones were not.

    Args:
        theirs: what takes them. here: what was asked for instead.
    """
    named = [name for name, value in given.items() if value not in (None, False, "", [], ())]
    if named:
        them = "it" if len(named) == 1 else "them"
        raise MorelliError(
            f"{', '.join(named)} given, but only {theirs} takes {them}, and this is {here}. Leave {them} out."
        )
