"""The writing half of the tracking: a run appends to its own file, and knows nothing of any server."""

import errno
import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hepcnn.errors import InputError
from hepcnn.spool.reader import NAME, STATUSES, VERSION, Spool, read_spool

FSYNC_SECONDS = 30.0
"""How often records of steps are forced to the disk; those of epochs are at once, and the end."""
MOST_PENDING = 100_000


@dataclass(frozen=True)
class Identity:
    """What a run is. Two runs of one ``key`` and ``config`` may be one, which went on."""

    key: str
    name: str
    stage: str
    study: str
    config: str = ""
    parent: str = ""
    uri: str = ""
    experiment: str = ""
    artifacts: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class SpoolWriter:
    """Appends records to a run's spool. It never raises for a disk that is full or gone.

    Parameters
    ----------
    path
        The spool. One that is there and is of the same run is gone on with, another is put aside.
    identity
        What the run is.
    say
        Called with a sentence when records cannot be written, and when they can again.
    clock
        Seconds since 1970.

    Notes
    -----
    Records that could not be written wait in memory and are tried again with the next one. A record is written by one
    call; what a full disk let through of it is cut off, so that no line is damaged.
    """

    def __init__(
        self,
        path: Path,
        identity: Identity,
        *,
        say: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path, self.identity, self._say, self._clock = path, identity, say, clock
        self._guard = threading.Lock()
        self._pending: list[bytes] = []
        self._is_troubled = False
        self._file = -1
        self._time = 0
        self._fsynced = time.monotonic()
        self.before: Spool | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.before = self._find_before()
        except OSError as error:
            self._tell(error)
        if self.before is None:
            self._begin()
        else:
            self.uid, self._time = self.before.uid, self.before.time
            self._append({"kind": "resume", "tags": dict(identity.tags), **self._who()}, fsync=True)

    def restart(self) -> None:
        """Begin a new run: what is in the spool was not gone on with."""
        if self.before is not None:
            self._put_aside(self.before, ending=self.before.status or "KILLED")
            self.before = None
        self._begin()

    def rewind(self, step: int) -> None:
        """Say that the steps after this one come again."""
        self._append({"kind": "rewind", "step": step, "time": self._now()})

    def add_metrics(self, values: Mapping[str, float], *, step: int, fsync: bool = False) -> None:
        """Metrics of a step; NaN and infinities are kept as such."""
        shown = {name: _plain(value) for name, value in values.items()}
        self._append({"kind": "metrics", "step": step, "time": self._now(), "values": shown}, fsync=fsync)

    def add_params(self, values: Mapping[str, Any]) -> None:
        """Parameters; the first value of each counts."""
        self._append({"kind": "params", "values": dict(values)})

    def add_tags(self, values: Mapping[str, str]) -> None:
        """Tags; the last value of each counts."""
        self._append({"kind": "tags", "values": dict(values)})

    def add_note(self, text: str) -> None:
        """What the run's page says, in Markdown."""
        self._append({"kind": "note", "text": text})

    def add_artifact(self, path: Path, place: str = "") -> None:
        """A file or folder that belongs to the run."""
        self._append({"kind": "artifact", "path": os.path.relpath(path, self.path.parent), "place": place})

    def add_dataset(self, path: str, *, sha256: str, name: str = "", **more: Any) -> None:
        """An input."""
        name = name or Path(path).name
        self._append({"kind": "dataset", "name": name, "path": path, "sha256": sha256, **more})

    def end(self, status: str) -> None:
        """The run is over: FINISHED, FAILED or KILLED."""
        if status not in STATUSES:
            raise ValueError(f"status '{status}': expected one of {', '.join(STATUSES)}")
        self._append({"kind": "end", "status": status, "time": self._now()}, fsync=True)

    def close(self) -> None:
        """Let go of the file."""
        with self._guard:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def _begin(self) -> None:
        self._time = 0
        self.uid = str(uuid.uuid4())
        about = {name: value for name, value in vars(self.identity).items() if name != "tags"}
        start = {"kind": "start", "version": VERSION, "uid": self.uid, **about, "tags": dict(self.identity.tags)}
        self._append(start | self._who(), fsync=True)

    def _find_before(self) -> Spool | None:
        """What is in the spool already, if this run goes on with it."""
        if not self.path.exists():
            return None
        cut_tail(self.path)
        if self.path.stat().st_size == 0:
            return None
        try:
            before = read_spool(self.path)
        except InputError as error:
            aside = self.path.with_name(f"track-damaged-{uuid.uuid4().hex[:8]}.jsonl")
            self.path.rename(aside)
            self._warn(f"{error}; the file is {aside.name} now, and the run begins a new one")
            return None
        if all(before.start.get(name) == getattr(self.identity, name) for name in ("key", "config")):
            return before
        self._time = before.time
        self._put_aside(before, ending=None if before.status else "KILLED")
        return None

    def _put_aside(self, before: Spool, *, ending: str | None) -> None:
        if ending is not None:
            self.end(ending)
        self.close()
        # What was pushed of it stays known under its new name.
        for path in (self.path, pushed_path(self.path)):
            if path.exists():
                path.rename(path.with_name(path.name.replace("track", f"track-{before.uid[:8]}", 1)))

    def _who(self) -> dict[str, Any]:
        return {"time": self._now(), "host": socket.gethostname(), "pid": os.getpid()}

    def _now(self) -> int:
        # A clock that jumps back must not put later steps before earlier ones.
        self._time = max(self._time, int(1000 * self._clock()))
        return self._time

    def _append(self, record: Mapping[str, Any], *, fsync: bool = False) -> None:
        line = json.dumps(record, default=str, allow_nan=False).encode() + b"\n"
        with self._guard:
            if len(self._pending) < MOST_PENDING:
                self._pending.append(line)
            try:
                self._write_pending(fsync=fsync)
            except OSError as error:
                self._tell(error)
                return
            if self._is_troubled:
                self._warn(f"{self.path}: records are written again")
            self._is_troubled = False

    def _write_pending(self, *, fsync: bool) -> None:
        if self._file < 0:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        while self._pending:
            before = os.fstat(self._file).st_size
            line = self._pending[0]
            if os.write(self._file, line) < len(line):
                os.ftruncate(self._file, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            del self._pending[0]
        now = time.monotonic()
        if fsync or now - self._fsynced > FSYNC_SECONDS:
            os.fsync(self._file)
            self._fsynced = now

    def _tell(self, error: OSError) -> None:
        if not self._is_troubled:
            reason = error.strerror
            self._warn(f"{self.path}: cannot be written ({reason}); the run goes on, its records wait in memory")
        self._is_troubled = True

    def _warn(self, sentence: str) -> None:
        if self._say is not None:
            self._say(sentence)


def pushed_path(spool: Path) -> Path:
    """Where it is kept what of a spool was pushed."""
    return spool.with_name(f"{spool.stem}.pushed.json")


def find_spool(folder: Path) -> Path:
    """The spool of a run's folder."""
    return folder / NAME


def cut_tail(path: Path) -> None:
    """Remove a last line that has no end: its writer was killed while it wrote."""
    with path.open("r+b") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def _plain(value: float) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else str(number)
