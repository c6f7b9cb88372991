"""The commands about heads: made, compared, and what an autoencoder gives back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from morelli.cli.answers import answer, beside
from morelli.cli.options import BUNDLES, HEADS, SOME_REFUSED, AsJson, Device, Overwrite, Seed, device_of, refuse
from morelli.cli.progress import bars
from morelli.errors import MorelliError


def head(
    out: Annotated[Path, typer.Option(help="Where to write the head.")],
    factory: Annotated[
        str | None, typer.Argument(help="package.module:function that returns your torch module. It is run.")
    ] = None,
    diffusers: Annotated[
        Path | None, typer.Option(help="In place of a factory: an autoencoder's folder or safetensors file.")
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(help="In place of a factory: a generator exported to ONNX. None of your code is run.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Latents or photographs for --diffusers, in place of normal latents.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Pixels a side of the windows that --diffusers judges by, in place of 128.")
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole",
            help="Also store the whole generator (for imprint, sm-inv, latent), or a latent decoder's autoencoder.",
        ),
    ] = False,
    latent: Annotated[str, typer.Option(help="Shape of one latent, drawn from N(0, I), for example 100x1x1.")] = "",
    draws: Annotated[
        int | None, typer.Option(help="Latents over which the mean activation is taken: 10000; with --diffusers 200.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Name of the last linear layer, instead of searching.")] = None,
    levels: Annotated[
        int | None, typer.Option(help="Values that a pixel of its files can take, in place of 256: 65536 of 16 bits.")
    ] = None,
    window: Annotated[str, typer.Option(help="centre,width in which its DICOM files are read; else their own.")] = "",
    as_json: AsJson = False,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Find the last layer of a generator and write it as a head.

    Example: morelli head mypkg.gan:load --latent 100x1x1 --out my.head
    """
    from morelli.app.autoencoders import DRAWS, head_from_autoencoder
    from morelli.app.heads import head_from_factory, head_from_onnx
    from morelli.numerics.file_form import LEVELS

    if sum(given is not None for given in (factory, diffusers, onnx)) != 1:
        raise MorelliError("give one source of the head and no more: package.module:function, --diffusers or --onnx.")
    if diffusers is None:
        refuse({"--source": source, "--size": size}, "--diffusers", "a factory" if onnx is None else "--onnx")
    else:
        refuse({"--latent": latent}, "a factory", "--diffusers")
        refuse({"--layer": layer, "--levels": levels, "--window": window}, "a factory or --onnx", "--diffusers")
    if onnx is not None:
        elsewhere = {"--whole": whole, "--latent": latent, "--device": device not in ("auto", "cpu") and device}
        refuse(elsewhere, "a factory", "--onnx, whose graph says itself what it reads")
    with bars() as stage:
        common: dict[str, Any] = {"seed": seed, "overwrite": overwrite, "stage": stage}
        told: dict[str, Any] = {"draws": draws or 10_000, "layer": layer, "levels": levels or LEVELS, "window": window}
        if diffusers is not None:
            common |= {"draws": draws or DRAWS, "whole": whole, "device": device_of(device)}
            found = head_from_autoencoder(diffusers, out, source=source, size=size or 128, **common)
        elif onnx is not None:
            found = head_from_onnx(onnx, out, **told, **common)
        else:
            told |= {"latent": latent, "whole": whole, "device": device_of(device)}
            found = head_from_factory(str(factory), out, **told, **common)
    answer({"written": str(out), "found": found}, f"{found}\nwritten: {out}", as_json)


def reconstruct(
    autoencoder: Annotated[Path, typer.Argument(help="Folder of diffusers', or safetensors file.")],
    source: Annotated[list[str], typer.Argument(help="Photographs, or a file of latents (.npy, .safetensors).")],
    out: Annotated[Path, typer.Option(help="A folder to write the images to, as PNG.")],
    size: Annotated[int, typer.Option(min=8, help="Pixels a side at most; of larger photographs the middle.")] = 512,
    as_json: AsJson = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Make own samples of a latent decoder: photographs encoded and decoded, or latents decoded.

    Example: morelli reconstruct vae/ photos/ --out own/
    """
    from morelli.app.autoencoders import reconstruct as run

    with bars() as stage:
        made = run(autoencoder, source, out, size=size, device=device_of(device), overwrite=overwrite, stage=stage)
    beside("refused", [reason for _, reason in made.refused])
    refused = [{"file": file, "reason": reason} for file, reason in made.refused]
    told = {"written": str(out), "images": made.written, "refused": refused}
    answer(told, f"written: {made.written} images to {out}", as_json)
    raise typer.Exit(SOME_REFUSED if made.refused else 0)


def compare(
    first: Annotated[Path, typer.Argument(help="A head or an attributor.", autocompletion=BUNDLES)],
    second: Annotated[
        list[str],
        typer.Argument(help="Another head; or samples of another model, for an attributor.", autocompletion=HEADS),
    ],
    level: Annotated[float, typer.Option(help="P-value below which samples count as told apart.")] = 0.01,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Can two models be told apart? By their heads, or by samples of one and an attributor of the other.

    Example: morelli compare my.head theirs.head
    """
    from morelli.app.comparing import compare as run

    with bars() as stage:
        other = second[0] if len(second) == 1 else second
        found = run(first, other, level=level, device=device_of(device), stage=stage)
    answer(found.to_dict(), found.text, as_json)


def register(app: typer.Typer) -> None:
    for command in (head, reconstruct, compare):
        app.command()(command)
