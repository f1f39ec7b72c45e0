"""Beside a training: its spool, pushed while it grows."""

import time
from dataclasses import dataclass
from pathlib import Path

from hepcnn.errors import HepcnnError, InputError
from hepcnn.spool.lock import FileLock, LockedError
from hepcnn.spool.reader import Spool, read_spool
from hepcnn.spool.repair import is_orphan
from hepcnn.spool.writer import find_spool
from hepcnn.tracking.store import Store
from hepcnn.tracking.sync import Say, sync_paths

LOCK = "track.follow.lock"


@dataclass(frozen=True)
class Rhythm:
    """Seconds: between two pushes, at most between two tries while no store answers, and for how long after the end."""

    every: float = 5.0
    at_most: float = 60.0
    after_end: float = 60.0


def follow_run(
    folder: Path, *, uri: str = "", experiment: str = "", say: Say | None = None, rhythm: Rhythm | None = None
) -> bool:
    """Push a run's spool until the run has ended.

    Parameters
    ----------
    folder
        The run's folder.
    uri, experiment
        Where to, instead of what the spool says.
    say
        Called with a sentence when the store stops or begins to answer.
    rhythm
        How often.

    Returns
    -------
    bool
        Whether all was pushed. If not, the spool keeps it for ``hepcnn track sync``. False too where another process
        follows this run.
    """
    try:
        with FileLock(folder / LOCK, wait=0) as lock:
            return _Follower(folder, uri, experiment, say, rhythm or Rhythm(), lock).run()
    except LockedError:
        return False


class _Follower:
    def __init__(
        self, folder: Path, uri: str, experiment: str, say: Say | None, rhythm: Rhythm, lock: FileLock
    ) -> None:
        self.folder, self.uri, self.experiment = folder, uri, experiment
        self.say, self.rhythm, self.lock = say, rhythm, lock
        self.stores: dict[tuple[str, str], Store] = {}
        self.pushed: int | None = None
        self.n_failed = 0

    def run(self) -> bool:
        over: float | None = None
        while True:
            self.lock.touch()
            spool = self._read()
            # A spool that is gone, or damaged, will not end by itself.
            is_over = spool is None or spool.status is not None or is_orphan(spool)
            is_pushed = self._push()
            if is_over and is_pushed:
                return True
            over = (over or time.monotonic()) if is_over else None
            if over is not None and time.monotonic() - over > self.rhythm.after_end:
                return False
            time.sleep(min(self.rhythm.every * 2**self.n_failed, self.rhythm.at_most))

    def _read(self) -> Spool | None:
        try:
            return read_spool(find_spool(self.folder))
        except InputError:
            return None  # not begun yet, or damaged: the push says so

    def _push(self) -> bool:
        spool = find_spool(self.folder)
        size = spool.stat().st_size if spool.exists() else -1
        if size == self.pushed and self.n_failed == 0:
            return True
        try:
            sync_paths([self.folder], uri=self.uri, experiment=self.experiment, say=self.say, stores=self.stores)
        except HepcnnError as error:
            if self.n_failed == 0 and self.say is not None:
                self.say(f"tracking waits: {error}")
            self.n_failed = min(self.n_failed + 1, 10)
            return False
        if self.n_failed and self.say is not None:
            self.say("tracking goes on: the store answers again")
        self.pushed, self.n_failed = size, 0
        return True
