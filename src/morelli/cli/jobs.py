"""`morelli attribute … --out scores.parquet`: what is asked of a long job, and what it says at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from morelli.cli.answers import answer
from morelli.cli.options import SOME_REFUSED, device_of
from morelli.cli.progress import bars
from morelli.errors import MorelliError

LONG = "Long jobs"
Out = Annotated[
    Path | None,
    typer.Option(
        help="Write verdicts on any number of samples here (.parquet); goes on after an interruption.",
        rich_help_panel=LONG,
    ),
]
Column = Annotated[
    str | None,
    typer.Option(help="Of Parquet files: which column of bytes holds the samples.", rich_help_panel=LONG),
]
Batch = Annotated[
    int | None, typer.Option(min=1, help="Samples that are judged at once, in place of 64.", rich_help_panel=LONG)
]
Actors = Annotated[
    int, typer.Option(min=0, help="Judge in so many processes, by Ray; 0: in this one.", rich_help_panel=LONG)
]
Gpus = Annotated[
    float, typer.Option(min=0, help="GPUs of each actor; several may share one, as 0.5.", rich_help_panel=LONG)
]
Address = Annotated[
    str | None, typer.Option(help="Of a running Ray cluster, or auto; else one is started.", rich_help_panel=LONG)
]


def refuse(out: Path | None, others: list[str]) -> None:
    """Raises MorelliError for options that do not go together."""
    if out is None:
        raise MorelliError(
            "--column, --batch, --actors, --gpus and --address are for long jobs. Add --out NAME.parquet."
        )
    if others:
        raise MorelliError(
            f"{', '.join(others)} given with --out, but a long job writes rows of one attributor alone, and never "
            "has all verdicts at once. Leave one of them out."
        )


def run(
    files: list[str],
    attributor: Path,
    out: Path | None,
    column: str | None,
    batch: int | None,
    actors: int,
    gpus: float,
    address: str | None,
    device: str,
    as_json: bool,
) -> NoReturn:
    """Ends with an exit code."""
    assert out is not None
    from morelli.app.scorer import BATCH

    actors_asked = bool(actors or gpus or address)
    if actors_asked and device != "auto":
        raise MorelliError(
            f"--device {device} says nothing to actors: they compute on CUDA with --gpus, else on the CPU."
        )
    given: dict[str, Any] = {"column": column, "batch": batch or BATCH}
    with bars() as stage:
        if actors_asked:
            from morelli.cluster import attribute_to as spread

            found = spread(files, attributor, out, actors=actors or 1, gpus=gpus, address=address, stage=stage, **given)
        else:
            from morelli.app.jobs import attribute_to

            found = attribute_to(files, attributor, out, device=device_of(device), stage=stage, **given)
    answer(found, said(found), as_json)
    raise typer.Exit(SOME_REFUSED if found["summary"]["refused"] else 0)


def said(found: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in found["summary"].items() if count)
    promise = found["attributor"]["promise"]
    return f"written: {found['out']}\n\n{counts or 'nothing judged'}. {promise}\n{found['limits']}"
