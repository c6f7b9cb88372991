"""The command that declares a population."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from morelli.cli import render
from morelli.cli.options import Device, Overwrite, Seed, device_of
from morelli.cli.progress import bars, errors
from morelli.errors import printable


class Calibrator(StrEnum):
    logistic = "logistic"
    pav = "pav"
    kde = "kde"


def calibrate(
    attributor: Annotated[Path, typer.Argument(help="The attributor, made by `morelli train`.")],
    population: Annotated[Path, typer.Option(help="A folder with a sub-folder of samples for each other source.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it; by default in place.")] = None,
    calibrator: Annotated[Calibrator, typer.Option(help="From scores to likelihood ratios.")] = Calibrator.logistic,
    leave_source_out: Annotated[
        bool, typer.Option("--leave-source-out", help="Also measure the ratios, each source by a fit without it.")
    ] = False,
    copies: Annotated[
        int, typer.Option(min=0, help="Samples of each source that are judged after every condition too.")
    ] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Measure how other sources are judged: verdicts then carry a likelihood ratio and a false-attribution rate.

    Example: morelli calibrate my.attributor --population others/ --leave-source-out
    """
    from morelli.app.calibrating import calibrate as run

    with bars() as stage:
        done = run(
            attributor,
            population,
            out=out,
            calibrator=str(calibrator),
            leave_source_out=leave_source_out,
            copies=copies,
            seed=seed,
            device=device_of(device),
            overwrite=overwrite,
            stage=stage,
        )
    assert done.population is not None
    found = done.population.about(done.rate)
    for warning in found["warnings"]:
        errors.print(printable(f"warning: {warning}"), markup=False, soft_wrap=True)
    print(json.dumps(found, indent=1) if as_json else render.population(found))
    if not as_json:
        print(f"written: {out or attributor}")


def register(app: typer.Typer) -> None:
    app.command()(calibrate)
