"""Commands of the gallery: which known model made it, or none of them?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from morelli.cli import render
from morelli.cli.options import SOME_REFUSED, Device, Overwrite, device_of
from morelli.cli.progress import bars, errors
from morelli.errors import printable

Where = Annotated[Path, typer.Option("--gallery", help="The gallery, a folder.")]
Network = Annotated[Path | None, typer.Option(help="A fingerprint network of your own, in place of the shipped one.")]
Rate = Annotated[float, typer.Option(help="Unknown models are taken for a known one at most so often.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


def enrol(
    name: Annotated[str, typer.Argument(help="Of the model: letters, digits, '.', '_' and '-'.")],
    gallery: Where,
    samples: Annotated[
        list[str] | None, typer.Argument(help="Ten pictures of it or more: folders, files or globs.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="In place of pictures: a decoder's safetensors file, or a bundle.")
    ] = None,
    layers: Annotated[str | None, typer.Option(help="Its last blocks: 'relu convt:2,1 relu convt:2,1 tanh'.")] = None,
    upsample: Annotated[str, typer.Option(help="Where they are guessed: nearest or bilinear.")] = "nearest",
    photographs: Annotated[Path | None, typer.Option(help="For weights: 32 pictures or more to simulate with.")] = None,
    network: Network = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Add a model to a gallery from samples of it, or, as a candidate only, from its weights.

    Example: morelli enrol sdxl samples_of_sdxl/ --gallery my.gallery
    """
    from morelli.app.galleries import enrol as run

    with bars() as stage:
        entry = run(
            name,
            samples or None,
            gallery,
            weights=weights,
            layers=layers,
            upsample=upsample,
            photographs=photographs,
            network=network,
            overwrite=overwrite,
            device=device_of(device),
            stage=stage,
        )
    for warning in entry.card["warnings"]:
        errors.print(printable(f"warning: {warning}"), markup=False, soft_wrap=True)
    for refused in entry.card["refused"]:
        errors.print(printable(f"refused: {refused['reason']}"), markup=False, soft_wrap=True)
    what = "from weights alone" if entry.predicted else f"{len(entry.fingerprints)} samples"
    print(f"enrolled: {name}, {what}, in {gallery}")
    raise typer.Exit(SOME_REFUSED if entry.card["refused"] else 0)


def gallery(
    gallery: Annotated[Path, typer.Argument(help="The gallery, a folder.")],
    card: Annotated[str | None, typer.Option(help="Show what is known of this entry.")] = None,
    remove: Annotated[str | None, typer.Option(help="Remove this entry.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write all entries to this one file (.zip).")] = None,
    imported: Annotated[Path | None, typer.Option("--import", help="Add the entries of an exported file.")] = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """List a gallery's models; or show, remove, export or import some.

    Example: morelli gallery my.gallery --card sdxl
    """
    from morelli.app import galleries

    if imported is not None:
        print(f"imported: {', '.join(galleries.import_gallery(imported, gallery, overwrite=overwrite))}")
    if remove is not None:
        galleries.remove(remove, gallery)
        print(f"removed: {remove}")
    if export is not None:
        print(f"exported: {galleries.export_gallery(gallery, export, overwrite=overwrite)} entries to {export}")
    if imported is None and remove is None and export is None:
        cards = galleries.cards(gallery, card)
        print(json.dumps(cards, indent=1) if as_json else render.cards(cards))


def identify(
    samples: Annotated[list[str], typer.Argument(help="Pictures: folders, files or globs.")],
    gallery: Where,
    together: Annotated[bool, typer.Option("--together", help="All are of one source: one answer, and surer.")] = False,
    rate: Rate = 0.05,
    network: Network = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Which of the gallery's models made it? A ranking with p-values, or "none of these".

    Example: morelli identify suspect.png --gallery my.gallery
    """
    from morelli.app.identifying import identify as run

    with bars() as stage:
        found = run(
            samples, gallery, together=together, rate=rate, network=network, device=device_of(device), stage=stage
        )
    print(json.dumps(found.to_dict(), indent=1) if as_json else render.identification(found.to_dict()))
    raise typer.Exit(SOME_REFUSED if found.refused else 0)


def verify(
    first: Annotated[str, typer.Argument(help="Pictures of one source: a folder, file or glob.")],
    second: Annotated[str, typer.Argument(help="Pictures of the other.")],
    rate: Annotated[float, typer.Option(help="Two models are called one about so often.")] = 0.05,
    network: Network = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """One model or two? Needs no gallery.

    Example: morelli verify a/ b/
    """
    from morelli.app.identifying import verify as run

    with bars() as stage:
        found = run(first, second, rate=rate, network=network, device=device_of(device), stage=stage)
    print(json.dumps(found.to_dict(), indent=1) if as_json else render.verification(found.to_dict()))
    raise typer.Exit(SOME_REFUSED if found.refused else 0)


def lineage(
    samples: Annotated[list[str], typer.Argument(help="Five pictures of one model or more.")],
    gallery: Where,
    rate: Rate = 0.05,
    network: Network = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Which of the gallery's models has the decoder that a fine-tune's samples went through?

    Example: morelli lineage lora_samples/ --gallery my.gallery
    """
    from morelli.app.identifying import lineage as run

    with bars() as stage:
        found = run(samples, gallery, rate=rate, network=network, device=device_of(device), stage=stage)
    print(json.dumps(found.to_dict(), indent=1) if as_json else render.lineage(found.to_dict()))
    raise typer.Exit(SOME_REFUSED if found.refused else 0)


def register(app: typer.Typer) -> None:
    for command in (enrol, gallery, identify, verify, lineage):
        app.command()(command)
