"""One process at a time, over all nodes that see the same folder.

A lock is a file that only one process can create. It says who holds it, so that the lock of a process that was killed
can be told from one in use.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from hepcnn.errors import HepcnnError

STALE_SECONDS = 600.0
"""A lock that nobody touched for so long is nobody's; its holder touches it while it works."""
BREAKING_SECONDS = 60.0


class LockedError(HepcnnError):
    """Another process holds a lock."""


class FileLock:
    """A lock file, held within a ``with`` block.

    Parameters
    ----------
    path
        The file.
    wait
        Seconds to wait for another holder.

    Raises
    ------
    LockedError
        When another process holds it for longer than that; the message says which.
    OSError
        When the file cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str], *, wait: float = 60.0) -> None:
        self.path, self.wait = Path(path), wait

    def __enter__(self) -> "FileLock":
        deadline, pause = time.monotonic() + self.wait, 0.02
        while not self._take():
            self._break_if_stale()
            if time.monotonic() > deadline:
                raise LockedError(f"{self.path}: held by {_describe(_read(self.path))}; delete it if that is gone")
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)

    def touch(self) -> None:
        """Say that the holder is still at work."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def _take(self) -> bool:
        try:
            number = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump({"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}, file)
        return True

    def _break_if_stale(self) -> None:
        if not _is_stale(self.path):
            return
        # Only one breaks it: else the second would break the lock that the first then took.
        with _only_breaker(self.path.with_name(self.path.name + ".breaking")) as is_mine:
            if is_mine and _is_stale(self.path):
                self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def _only_breaker(folder: Path) -> Iterator[bool]:
    try:
        folder.mkdir()
    except FileExistsError:
        if _age(folder) > BREAKING_SECONDS:
            with contextlib.suppress(OSError):
                folder.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def is_alive(host: str, pid: int) -> bool | None:
    """Whether a process lives; None where that cannot be known, since it is on another machine."""
    if host != socket.gethostname():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] == "Z"


def _is_stale(path: Path) -> bool:
    age = _age(path)
    holder = _read(path)
    if holder and is_alive(str(holder.get("host", "")), int(holder.get("pid", 0))) is False:
        return True
    return age > STALE_SECONDS


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _describe(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')}"
