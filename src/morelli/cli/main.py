"""morelli: one command per use case. A command parses, calls and renders; torch is imported only when it runs."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from morelli._version import __version__
from morelli.cli import calibrating, exits, heads, jobs, provenance, render, serving, zero_shot
from morelli.cli.answers import answer, beside
from morelli.cli.options import (
    ATTRIBUTORS,
    BUNDLES,
    HEADS,
    SOME_REFUSED,
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
    restarts: Annotated[int | None, typer.Option(help="Of the latents' search, in place of 10 (latent: 32).")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of the latents' search, in place of 1000 (latent: 40, latent decoders 100).")
    ] = None,
    start: Annotated[Start | None, typer.Option(help="Where sm-inv's search starts.")] = None,
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


@app.command()
def attribute(
    files: Annotated[list[str], typer.Argument(help="What to judge: folders, files or globs.")],
    attributor: Annotated[
        Path, typer.Option("--with", help="The attributor, made by `morelli train`.", autocompletion=ATTRIBUTORS)
    ],
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
