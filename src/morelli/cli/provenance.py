"""The commands about origin: what a picture says of its own, and reports that say who made them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from morelli.cli.answers import answer, harmless
from morelli.cli.exits import NOT_DONE
from morelli.cli.options import SOME_REFUSED, AsJson, Overwrite
from morelli.cli.origins import origins
from morelli.cli.render import aligned

PASSPHRASE = "MORELLI_KEY_PASSPHRASE"
Reports = Annotated[list[Path], typer.Argument(help="A report as JSON, and pages (HTML, PDF) beside it.")]


def provenance(
    files: Annotated[list[str], typer.Argument(help="Pictures: folders, files or globs.")],
    trust: Annotated[
        Path | None, typer.Option(help="Root certificates (PEM): C2PA signers they vouch for count as known.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What do pictures say of their own origin? C2PA manifests and metadata, as facts.

    Example: morelli provenance suspects/
    """
    from morelli.app.provenance import provenance as run

    found = run(files, trust=trust)
    answer(found, origins(found), as_json)
    raise typer.Exit(SOME_REFUSED if found["refused"] else 0)


def sign(
    reports: Reports,
    key: Annotated[Path, typer.Option(help=f"Your private key (PEM). A passphrase is asked for, or in {PASSPHRASE}.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write; by default the first report's name and .dsse.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Say when, as 2026-01-31T12:00:00Z; else no time is claimed.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Sign a report and the digests of the files it judged, with your own key.

    Example: morelli sign report.json --key my.pem --out report.json.dsse
    """
    from morelli.app.signing import read_bytes
    from morelli.app.signing import sign as run
    from morelli.storage.signing_keys import is_locked

    passphrase = os.environ.get(PASSPHRASE)
    if passphrase is None and is_locked(read_bytes(key)):
        passphrase = typer.prompt("passphrase", hide_input=True, err=True)
    written = run(reports, key, out=out, passphrase=passphrase, time=time, overwrite=overwrite)
    answer({"written": str(written)}, f"written: {written}", as_json)


def verify_report(
    reports: Reports,
    signature: Annotated[Path, typer.Option(help="What `morelli sign` wrote.")],
    public_key: Annotated[Path, typer.Option(help="The signer's public key (PEM), which you have from the signer.")],
    report_only: Annotated[bool, typer.Option("--report-only", help="Do not look at the judged files.")] = False,
    as_json: AsJson = False,
) -> None:
    """Are these the reports that this key signed, and the files that were judged?

    Example: morelli verify-report report.json --signature report.json.dsse --public-key my.pub.pem
    """
    from morelli.app.verifying import verify_report as run

    found = run(reports, signature, public_key, judged=not report_only)
    answer(found, _signed(found), as_json)
    raise typer.Exit(0 if found["verified"] else NOT_DONE)


@harmless
def _signed(found: Mapping[str, Any]) -> str:
    """Whether a signature holds, and of what; else what does not fit."""
    if not found["verified"]:
        return "\n".join(f"not verified: {problem}" for problem in found["problems"])
    rows = [(file["state"], file["role"], file["file"]) for file in found["files"]]
    said = found["predicate"]
    about = [f"attributor: {said['attributor']['name']}, {said['attributor']['digest']}"] if said["attributor"] else []
    time = f"time, as the signer says: {said['time']}" if "time" in said else "no time is claimed"
    closing = "The key signed these bytes. That the verdict is right, no signature proves."
    return "\n".join(["verified", *aligned(rows), *about, time, closing])


def register(app: typer.Typer) -> None:
    app.command()(provenance)
    app.command()(sign)
    app.command(name="verify-report")(verify_report)
