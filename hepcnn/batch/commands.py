"""Programs of a batch system, asked with patience but not for ever."""

import shutil
import subprocess
from collections.abc import Sequence

from hepcnn.errors import BatchError

PATIENCE_S = 60.0
"""Seconds that a scheduler may take to answer."""


def has_program(name: str) -> bool:
    """Whether a program is on the PATH."""
    return shutil.which(name) is not None


def run_program(command: Sequence[str], *, patience: float = PATIENCE_S) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end.

    Raises
    ------
    BatchError
        When it is not there, or did not answer in time.
    """
    try:
        return subprocess.run(
            list(command), capture_output=True, text=True, errors="replace", check=False, timeout=patience
        )
    except FileNotFoundError as error:
        raise BatchError(f"no program '{command[0]}' on PATH: is this a login node of the cluster?") from error
    except subprocess.TimeoutExpired as error:
        raise BatchError(f"'{' '.join(command)}' gave no answer within {patience:.0f} s; try again later") from error


def ask(command: Sequence[str], *, patience: float = PATIENCE_S) -> str:
    """What a program prints.

    Raises
    ------
    BatchError
        As `run_program`, and when it fails; with its last words.
    """
    done = run_program(command, patience=patience)
    if done.returncode:
        words = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise BatchError(f"'{' '.join(command)}' failed: {words}")
    return done.stdout
