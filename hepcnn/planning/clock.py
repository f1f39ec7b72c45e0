"""A clock that a loaded machine does not fool."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Processor seconds of this process and of those that it waited for; ``wall`` seconds where a GPU does the work."""

    def __init__(self, *, wall: bool = False) -> None:
        self._wall = wall

    def now(self) -> float:
        """Seconds since some moment."""
        if self._wall:
            return time.perf_counter()
        uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(use.ru_utime + use.ru_stime for use in uses)

    @contextmanager
    def measure(self) -> Iterator[list[float]]:
        """Yields a list to which the seconds of the block are appended."""
        seconds: list[float] = []
        started = self.now()
        yield seconds
        seconds.append(self.now() - started)


def time_import(*modules: str) -> float:
    """Processor seconds that a fresh interpreter takes until it has these modules."""
    with Clock().measure() as seconds:
        subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], check=True, capture_output=True)
    return seconds[0]
