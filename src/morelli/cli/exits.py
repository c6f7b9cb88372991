"""How a run ends: an exit code, and one line for everything that is no result. docs/commands.md lists them."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from typer import Abort

from morelli._version import __version__
from morelli.errors import MorelliError, printable
from morelli.storage.writing import cannot_write

DONE, NOT_DONE, SOME_REFUSED = 0, 2, 3
FAULT = 70  # an error that nobody foresaw: EX_SOFTWARE of sysexits.h
INTERRUPTED, CLOSED = 130, 141  # as shells count: 128 + SIGINT, 128 + SIGPIPE
DEBUG = "MORELLI_DEBUG"


def run(app: Callable[..., Any]) -> int:
    """Run the command line and return its exit code. Nothing is raised but what asks Python itself to exit."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold anything
    try:
        code = app(prog_name="morelli", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        return _closed()
    except (KeyboardInterrupt, Abort):
        code = INTERRUPTED
    except Exception as error:
        return _told(error)
    if code == INTERRUPTED:
        _say("Interrupted", "interrupted. Nothing half written is left; a checkpoint or a CSV goes on where it is.")
    return int(code or DONE)


def _told(error: Exception) -> int:
    if isinstance(error, BrokenPipeError):
        return _closed()
    kind = type(error).__name__
    if isinstance(error, MorelliError):
        _say(kind, str(error))
    elif hasattr(error, "format_message"):  # of click, which typer carries under one name or another
        return _misused(error)
    elif isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        _say("OutOfMemory", "the memory does not suffice. Give fewer or smaller samples, or another --device.")
    elif isinstance(error, OSError) and error.strerror:
        try:
            sys.stdout.flush()
        except OSError:
            _silence()  # it was standard output itself
        _say("OSError", printable(cannot_write(error.filename or "the result", error)))
    else:
        return _fault(error)
    return NOT_DONE


def _misused(error: Any) -> int:
    """A command line that cannot be read; without any word, the help."""
    path = error.ctx.command_path if getattr(error, "ctx", None) else "morelli"
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        said = " ".join(error.format_message().split()).rstrip(".")
        _say("UsageError", f"{said}. See '{path} --help'.")
    return NOT_DONE


def _fault(error: Exception) -> int:
    what = " ".join(f"{type(error).__name__}: {error}".split())[:400]
    if os.environ.get(DEBUG, "") not in ("", "0"):
        traceback.print_exception(error)
        advice = "Please report it with the lines above"
    else:
        advice = f"Run it again with {DEBUG}=1 and please report what that shows"
    _say("InternalError", f"{what}. This is a fault of Morelli {__version__}, not of yours. {advice}.")
    return FAULT


def _closed() -> int:
    """Whoever read our output has gone."""
    _silence()
    return CLOSED


def _silence() -> None:
    """What is still to be written on standard output goes nowhere, quietly."""
    if sys.__stdout__ is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())


def _say(kind: str, message: str) -> None:
    """One line on standard error, as JSON where the result was asked for as such."""
    if "--json" in sys.argv[1:]:
        print(json.dumps({"error": {"kind": kind, "message": message}}), file=sys.stderr)
    else:
        print(f"error: {message}", file=sys.stderr)
