"""Signals ask for a stop at the next good moment instead of killing the process at a bad one.

SIGTERM and SIGUSR1 are what a batch system sends before it takes the machine away: the process ends with the exit code
`TRY_AGAIN`, which a job script may answer by running the same command again. SIGINT (Ctrl-C) means that somebody wanted
an end: exit code 1.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from hepcnn.errors import HepcnnError

TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: a temporary failure, run me again."""
PREEMPTING = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest(HepcnnError):  # noqa: N818 - it is a request, not an error
    """The user or the batch system asked for a stop, and the state is saved."""

    def __init__(self, message: str, *, run_again: bool = False) -> None:
        super().__init__(message)
        self.exit_code = TRY_AGAIN if run_again else 1


class StopFlag:
    """Set by a signal, read between two batches: 0, 1 for SIGINT, 2 for a signal of a batch system."""

    def __init__(self) -> None:
        self.level = 0

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self.level > 0

    def set(self, number: int = signal.SIGINT, *_: Any) -> None:
        """Ask for a stop; usable as a signal handler."""
        self.level = max(self.level, 2 if number in PREEMPTING else 1)


@contextlib.contextmanager
def listen_for_stop() -> Iterator[StopFlag]:
    """Let SIGINT, SIGTERM and SIGUSR1 set a flag within the block.

    Outside the main thread signals cannot be caught, and the flag is never set.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {kind: signal.signal(kind, flag.set) for kind in (signal.SIGINT, *PREEMPTING)}
    try:
        yield flag
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def run_again_when_preempted() -> Iterator[None]:
    """Turn SIGTERM and SIGUSR1 into a `StopRequest` at once, where nothing needs to be saved first."""
    heard: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    before = {kind: signal.signal(kind, stop) for kind in PREEMPTING}
    try:
        yield
    except KeyboardInterrupt:
        if not heard:
            raise
        name = signal.Signals(heard[0]).name
        raise StopRequest(f"stopped by {name}; the same command goes on from what is saved", run_again=True) from None
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
