"""The file that a generation writes: whether it can be written, its parts beside it, and being told to stop."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hepcnn.errors import HepcnnError
from hepcnn.generate.parts import PartStore


def check_output(output: Path) -> None:
    """See that a file can be written, before hours are spent on it.

    Raises
    ------
    HepcnnError
        When it is a folder, or in a place where nothing can be written.
    """
    if output.is_dir():
        raise HepcnnError(f"{output}: cannot write there: this is a folder")
    parent = next(folder for folder in output.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise HepcnnError(f"{output}: cannot write there: {parent} is no folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise HepcnnError(f"{output}: cannot write there: no right to write in {parent}")


def open_store(store: PartStore[Any], output: Path) -> None:
    """Open the folder of parts beside an output file.

    Raises
    ------
    HepcnnError
        When that cannot be made.
    """
    try:
        store.open()
    except OSError as error:
        raise HepcnnError(f"{output}: cannot write beside this file: {error.strerror}") from error


@contextlib.contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """Let SIGTERM, where nobody handles it, unwind the stack like Ctrl-C: workers and unfinished files go."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
