"""`morelli serve`: the same answers over HTTP, and a page."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any

import typer

from morelli.cli.options import Device, device_of
from morelli.cli.progress import errors
from morelli.errors import MorelliError

INSTALL = "the server needs more: pip install 'morelli[web]'"


def serve(
    attributor: Annotated[
        list[Path] | None, typer.Option(help="To judge with. May be repeated; the page offers a choice.")
    ] = None,
    gallery: Annotated[Path | None, typer.Option(help="Known models to identify.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; only this machine by default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="MORELLI_TOKEN", help="What clients must know. Better given by MORELLI_TOKEN.")
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Let anybody ask who reaches this address.")] = False,
    max_bytes: Annotated[int, typer.Option(min=1, help="Of one request, all its files together.")] = 32 * 2**20,
    max_files: Annotated[int, typer.Option(min=1, help="Of one request.")] = 16,
    max_pixels: Annotated[int, typer.Option(min=1, help="Of one picture.")] = 16_000_000,
    max_rows: Annotated[int, typer.Option(min=1, help="Of tables, or windows of sound, of one request.")] = 20_000,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds of judging for one request.")] = 60,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may be here at once.")] = 64,
    rate_limit: Annotated[int, typer.Option(min=0, help="Files a minute of one client; 0: any number.")] = 300,
    workers: Annotated[int, typer.Option(min=1, help="Processes that judge; each holds everything.")] = 1,
    rate: Annotated[
        float, typer.Option(help="Unknown models are taken for one of the gallery at most so often.")
    ] = 0.05,
    network: Annotated[Path | None, typer.Option(help="A fingerprint network of your own.")] = None,
    proxy: Annotated[
        list[str] | None, typer.Option(help="Address of a reverse proxy whose X-Forwarded-For is believed.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Host name to answer to, behind a proxy. May be repeated.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Serve a page and an HTTP interface. Nothing that is sent is kept.

    Example: morelli serve --attributor my.attributor --gallery my.gallery
    """
    if not attributor and gallery is None:
        raise MorelliError("there is nothing to serve; name an --attributor, a --gallery, or both.")
    names = [path.name for path in attributor or ()]
    if len(set(names)) < len(names):
        raise MorelliError(f"two attributors have one name ({', '.join(names)}). Rename one: clients choose by name.")
    local = _is_local(host)
    if not local and not token and not no_token:
        raise MorelliError(
            f"{host} can be reached by others. Set a token (MORELLI_TOKEN=… or --token), or say --no-token."
        )
    try:
        from morelli.web.server import serve as run
        from morelli.web.settings import Limits, Settings
    except Exception as error:  # a broken installation raises nearly anything
        raise MorelliError(f"{INSTALL} ({type(error).__name__}: {error}).") from error
    hosts = tuple(each.lower() for each in name or ())
    if local and not token and not hosts:
        hosts = ("localhost", "127.0.0.1", "[::1]", host.lower())  # a page elsewhere may name itself after this machine
    limits = Limits(max_bytes, max_files, max_pixels, max_rows, time_limit, queue, rate_limit, workers)
    settings = Settings(
        tuple(attributor or ()),
        gallery,
        rate,
        network,
        token or None,
        hosts,
        limits,
        device if device == "auto" else device_of(device),
    )

    def announce(about: dict[str, Any]) -> None:
        shown = f"[{host}]" if ":" in host else host
        for each in about["attributors"]:
            print(f"attributor: {each['name']}, reads {_reads(each['reads'])}", flush=True)
        if about["gallery"] is not None:
            print(f"gallery: {about['gallery']['name']}, {len(about['gallery']['models'])} models", flush=True)
        if not local and not token:
            errors.print("warning: anybody who reaches this address may ask.")
        print(f"serving: http://{shown}:{port}/", flush=True)

    run(settings, host, port, proxies=tuple(proxy or ()), announce=announce)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reads(reads: dict[str, Any]) -> str:
    return f"{reads['kind']}s of {'x'.join(map(str, reads['shape'][::-1]))}"


def register(app: typer.Typer) -> None:
    app.command()(serve)
