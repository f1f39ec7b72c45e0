"""SIGINT and SIGTERM ask for a stop at the next good moment instead of killing the process at a bad one."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from hepcnn.errors import HepcnnError


class StopRequest(HepcnnError):  # noqa: N818 - it is a request, not an error
    """The user or the batch system asked for a stop, and the state is saved."""


class StopFlag:
    """Set by a signal, read between two batches."""

    def __init__(self) -> None:
        self.requested = False

    def set(self, *_: Any) -> None:
        """Ask for a stop; usable as a signal handler."""
        self.requested = True


@contextlib.contextmanager
def listen_for_stop() -> Iterator[StopFlag]:
    """Let SIGINT and SIGTERM set a flag within the block.

    Outside the main thread signals cannot be caught, and the flag is never set.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, flag.set) for kind in kinds}
    try:
        yield flag
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
