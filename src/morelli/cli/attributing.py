"""The command that judges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morelli.cli import jobs, render
from morelli.cli.answers import answer
from morelli.cli.options import ATTRIBUTORS, SOME_REFUSED, Device, device_of
from morelli.cli.progress import bars


def attribute(
    files: Annotated[list[str], typer.Argument(help="What to judge: folders, files or globs.")],
    attributor: Annotated[
        Path, typer.Option("--with", help="The attributor, made by `morelli train`.", autocompletion=ATTRIBUTORS)
    ],
    second: Annotated[
        Path | None,
        typer.Option(
            help="An attributor by another method, which has to attribute too. Each gets half the rate.",
            autocompletion=ATTRIBUTORS,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    csv: Annotated[
        Path | None, typer.Option(help="Write verdicts here as they come; goes on after an interruption.")
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(help="Write the report here: a page (.html), PDF (.pdf) or .json. May be repeated."),
    ] = None,
    attack_card: Annotated[
        Path | None, typer.Option(help="What was measured of attacks on this attributor (JSON), for the report.")
    ] = None,
    dated: Annotated[
        str | None, typer.Option(help="A date to put on the report; by default SOURCE_DATE_EPOCH's, or none.")
    ] = None,
    certify: Annotated[
        int, typer.Option(min=0, help="Look again at so many samples: how exact is their inversion or search?")
    ] = 0,
    together: Annotated[
        bool, typer.Option("--together", help="All samples are of one source: judge them together as well.")
    ] = False,
    fdr: Annotated[
        float | None, typer.Option(help="Name those not attributed at this false-discovery rate, for a queue of files.")
    ] = None,
    out: jobs.Out = None,
    column: jobs.Column = None,
    batch: jobs.Batch = None,
    actors: jobs.Actors = 0,
    gpus: jobs.Gpus = 0.0,
    address: jobs.Address = None,
    device: Device = "auto",
) -> None:
    """Did this model make these samples? One verdict per image, window of sound or table row.

    Example: morelli attribute suspects/ --with my.attributor --csv verdicts.csv --report report.html

    Any number of samples: morelli attribute crawl/ --with my.attributor --out scores.parquet
    """
    if out is not None or actors or gpus or address or column or batch:
        with_report: dict[str, object] = {
            "--second": second,
            "--csv": csv,
            "--report": report,
            "--certify": certify,
            "--together": together,
            "--fdr": fdr,
        }
        with_report |= {"--attack-card": attack_card, "--dated": dated}
        jobs.refuse(out, [name for name, given in with_report.items() if given])
        jobs.run(files, attributor, out, column, batch, actors, gpus, address, device, as_json)
    from morelli.app.attack_card import read_attack_card
    from morelli.app.attributing import attribute as run
    from morelli.app.pages import check_paths, date_of, stamped, with_attack_card, write_report

    check_paths(report or ())
    dated, card = date_of(dated), None if attack_card is None else read_attack_card(attack_card)
    with bars() as stage:
        found = run(
            files,
            attributor,
            second=second,
            csv=csv,
            certify=certify,
            together=together,
            fdr=fdr,
            device=device_of(device),
            stage=stage,
        )
    found = stamped(found, dated)
    if attack_card is not None and card is not None:
        found = with_attack_card(found, card, attack_card)
    for path in report or ():
        write_report(found, attributor, path)
    told = found.to_dict()
    answer(told, render.verdicts(told), as_json)
    raise typer.Exit(SOME_REFUSED if found.refused else 0)


def register(app: typer.Typer) -> None:
    app.command()(attribute)
