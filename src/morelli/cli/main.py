"""morelli: one command per use case. A command parses, calls and renders; torch is imported only when it runs."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from morelli._version import __version__
from morelli.cli import attributing, calibrating, exits, heads, provenance, render, serving, zero_shot
from morelli.cli.answers import answer, beside
from morelli.cli.options import (
    BUNDLES,
    HEADS,
    AsJson,
    Bf16,
    Device,
    Overwrite,
    Seed,
    device_of,
    refuse,
)
from morelli.cli.progress import bars

app = typer.Typer(
    name="morelli",
    help="Tells which generative model made a sample, and says how sure it is.\n\n"
    "Exit codes: 0 done; 2 not done, one line says why; 3 done, but some files were refused; docs/commands.md has all.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Method(StrEnum):
    imprint = "imprint"
    flipad = "flipad"
    rawpad = "rawpad"
    dctpad = "dctpad"
    sm_f = "sm-f"
    sm_inv = "sm-inv"
    sm_inv_perceptual = "sm-inv-perceptual"
    latent = "latent"
    aedr = "aedr"
    reconstruction = "reconstruction"


class DetectorName(StrEnum):
    deep_sad = "deep_sad"
    lda = "lda"
    mahalanobis = "mahalanobis"
    template = "template"
    ridge = "ridge"
    distance = "distance"


class InversionName(StrEnum):
    steps = "steps"
    lasso = "lasso"
    closed_form = "closed-form"
    ridge = "ridge"
    gaussian = "gaussian"
    non_negative = "non-negative"
    per_channel = "per-channel"
    cell = "cell"
    weighted = "weighted"
    jpeg_cell = "jpeg-cell"


class Start(StrEnum):
    normal = "normal"
    nearest = "nearest"
    encoder = "encoder"


class Family(StrEnum):
    dcgan = "dcgan"
    wgan_gp = "wgan-gp"
    lsgan = "lsgan"
    ebgan = "ebgan"
    c_dcgan = "c-dcgan"
    style = "style"
    kl_wgan = "kl-wgan"
    kl_wgan_hinge = "kl-wgan-hinge"


def main() -> None:
    """The entry point. Whatever happens ends in an exit code, and in one line where it is no result."""
    sys.exit(exits.run(app))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"morelli {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


heads.register(app)


@app.command()
def train(
    head: Annotated[
        Path, typer.Argument(help="The head of your generator, made by `morelli head`.", autocompletion=HEADS)
    ],
    own: Annotated[list[str], typer.Option(help="Samples of your generator: folder, file or glob. May be repeated.")],
    out: Annotated[Path, typer.Option(help="Where to write the attributor.")],
    other: Annotated[list[str] | None, typer.Option(help="Samples of anything else, for training.")] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help="What to look at; by default imprint for images and sound, for tables latent if it can, else flipad."
        ),
    ] = None,
    detector: Annotated[DetectorName | None, typer.Option(help="In place of the method's own.")] = None,
    rate: Annotated[
        float, typer.Option(help="False-rejection rate: own samples are rejected at most so often.")
    ] = 0.005,
    held_out: Annotated[int | None, typer.Option(help="Own samples to hold out; by default about a quarter.")] = None,
    inversion: Annotated[
        InversionName | None, typer.Option(help="How flipad inverts; docs/inversion.md says which suits what.")
    ] = None,
    weight: Annotated[float | None, typer.Option(help="Weight of the lasso, in place of 5e-4.")] = None,
    gap: Annotated[float | None, typer.Option(help="Invert to this certified gap, instead of by 20 steps.")] = None,
    turned: Annotated[
        bool | None, typer.Option(help="Also train against own images mirrored and turned, as imprints do.")
    ] = None,
    upright: Annotated[
        bool,
        typer.Option(
            "--upright", help="imprint: attribute no image that was mirrored or turned, no sound that was cut."
        ),
    ] = False,
    whole: Annotated[
        bool | None,
        typer.Option(help="imprint, of heads with the whole generator: make again with it what would be attributed."),
    ] = None,
    perturb: Annotated[
        list[str] | None,
        typer.Option(
            help="What samples may have been through, as jpeg:80 or none. May be repeated: imprint learns each apart, "
            "others one of them for each sample, in turn."
        ),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Hold nothing out: calibrate on so many folds, for little data.")
    ] = None,
    restarts: Annotated[
        int | None,
        typer.Option(help="Of the latents' search, in place of 10 (latent: 2 and more with an encoder, else 32)."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of the latents' search, in place of 1000 (latent: 40, latent decoders 100).")
    ] = None,
    start: Annotated[
        Start | None,
        typer.Option(help="Where the search starts: normal or nearest (sm-inv), encoder or nearest (latent)."),
    ] = None,
    sibling: Annotated[
        list[str] | None,
        typer.Option(help="Head of a model to tell this one from: is its decoder the same?", autocompletion=HEADS),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Of Deep SAD, in place of the paper's 50 or 100.")] = None,
    hop: Annotated[
        int | None, typer.Option(help="imprint of sound: samples in a frame, where it is not found.")
    ] = None,
    bf16: Bf16 = False,
    as_json: AsJson = False,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Fit an attributor to a head and samples.

    Example: morelli train my.head --own own/ --out my.attributor
    """
    from morelli.app.training import train as run

    with bars() as stage:
        attributor = run(
            head,
            own,
            other or None,
            method=None if method is None else str(method),
            detector=None if detector is None else str(detector),
            out=out,
            rate=rate,
            held_out=held_out,
            inversion=None if inversion is None else str(inversion),
            weight=weight,
            gap=gap,
            turned=turned,
            upright=upright,
            whole=whole,
            perturb=perturb or (),
            folds=folds,
            restarts=restarts,
            steps=steps,
            start=None if start is None else str(start),
            siblings=sibling or (),
            epochs=epochs,
            hop=hop,
            bf16=bf16,
            seed=seed,
            device=device_of(device),
            overwrite=overwrite,
            stage=stage,
        )
    beside("warning", attributor.card["warnings"])
    found = {"written": str(out), "rate": attributor.rate, "threshold": attributor.threshold, "card": attributor.card}
    answer(found, render.training(attributor.card, out), as_json)


attributing.register(app)


@app.command()
def inspect(
    bundle: Annotated[Path, typer.Argument(help="A head or an attributor.", autocompletion=BUNDLES)],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say what a bundle holds. Nothing in it is executed.

    Example: morelli inspect my.attributor
    """
    from morelli.app.bundles import inspect as run

    found = run(bundle)
    answer(found, render.bundle(found), as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a report, as `morelli attribute --json` prints one.

    Example: morelli schema
    """
    from morelli.app.pages import report_schema

    print(json.dumps(report_schema(), indent=1, ensure_ascii=False))


@app.command(name="train-gan")
def train_gan(
    images: Annotated[
        Path, typer.Argument(help="A folder of images, of c-dcgan with a sub-folder for each label; of kl-wgan a CSV.")
    ],
    out: Annotated[Path, typer.Option(help="Where to write the generator; the checkpoint goes next to it.")],
    family: Annotated[Family, typer.Option(help="Which of the paper's.")],
    steps: Annotated[int, typer.Option(help="Updates of the generator, in all.")],
    width: Annotated[int | None, typer.Option(help="Base channels; by default the paper's 64, of kl-wgan 300.")] = None,
    critic_width: Annotated[int | None, typer.Option(help="Of the critic, where it differs.")] = None,
    batch: Annotated[int | None, typer.Option(help="By default the paper's 128 images, of kl-wgan 256 rows.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="kl-wgan: a column to leave out. May be repeated.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side: 64, the default, or 128.")] = None,
    channels: Annotated[int | None, typer.Option(help="1 for grey, 3, the default, for colour.")] = None,
    bf16: Bf16 = False,
    as_json: AsJson = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train one of the paper's small GANs. Interrupted, or asked for more steps, it goes on where it stopped.

    Example: morelli train-gan images/ --family dcgan --steps 5000 --width 32 --out my.generator
    """
    from morelli.app.gans import train_gan as run
    from morelli.app.table_gans import FAMILIES, train_table_gan

    name = str(family)
    said: dict[str, Any] = {
        "width": width,
        "batch": batch,
        "critic_width": critic_width,
        "size": size,
        "channels": channels,
    }
    given = {setting: value for setting, value in said.items() if value is not None}
    of_images = {"--critic-width": critic_width, "--size": size, "--channels": channels, "--bf16": bf16}
    if name in FAMILIES:
        refuse(of_images, "a family of images", f"--family {name}")
    else:
        refuse({"--without": without}, "a family of tables, as kl-wgan,", f"--family {name}")
    with bars() as stage:
        common: dict[str, Any] = {"family": name, "steps": steps, "seed": seed, "device": device_of(device)}
        if name in FAMILIES:
            train_table_gan(images, out, without=without or (), stage=stage, **common, **given)
        else:
            run(images, out, bf16=bf16, stage=stage, **common, **given)
    answer({"written": str(out), "checkpoint": f"{out}.training"} | common, f"written: {out}", as_json)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="A folder to write images, attributors, result.json and report.html to.")
    ] = Path("demo"),
    fast: Annotated[bool, typer.Option("--fast", help="Fewer samples: well under a minute.")] = False,
    as_json: AsJson = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Run the main job on the generators that come with Morelli and compare four methods.

    Example: morelli demo --fast
    """
    from morelli.app.demo import run_demo

    with bars() as stage:
        result = run_demo(out, fast=fast, seed=seed, overwrite=overwrite, stage=stage)
    written = f"written: {out}/report.html, {out}/result.json; the images are in {out}/images"
    answer({"written": str(out), "result": result}, f"{render.comparison(result)}\n{written}", as_json)


calibrating.register(app)
zero_shot.register(app)
provenance.register(app)
serving.register(app)

if __name__ == "__main__":
    main()
