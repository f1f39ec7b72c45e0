"""The verbs of ``hepcnn``. Each parses its arguments, calls one documented function and prints what it says.

Everything heavy is imported inside the verbs, so that ``--help`` answers at once.
"""

import signal
import sys
from typing import Annotated, NoReturn

import typer

from hepcnn import __version__
from hepcnn.cli import (
    batch,
    comparison,
    convert,
    export,
    networks,
    recipes,
    robustness,
    samples,
    studies,
    taggers,
    tracking,
)
from hepcnn.cli.app import app
from hepcnn.errors import HepcnnError

__all__ = [
    "app",
    "batch",
    "comparison",
    "convert",
    "export",
    "main",
    "networks",
    "recipes",
    "robustness",
    "samples",
    "studies",
    "taggers",
    "tracking",
]

INTERRUPTED = (130, 143)  # after Ctrl-C and after SIGTERM


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    pass


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run ``hepcnn``: 0 done, 1 a problem with input or config in one message, 2 wrong usage, 75 run me again."""
    # A batch system's SIGTERM ends a verb as Ctrl-C does, so that it cleans up behind itself.
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except SystemExit as ending:
        if ending.code not in INTERRUPTED:
            raise
        _fail("stopped; nothing half-written is left, and what was finished before is kept")
    except HepcnnError as error:
        _fail(str(error), code=error.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}")


def _fail(message: str, *, code: int = 1) -> NoReturn:
    # A second signal while the interpreter ends would spoil the exit status.
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(kind, signal.SIG_IGN)
    sys.stdout.flush()
    print(f"hepcnn: {message}", file=sys.stderr)
    sys.exit(code)
