"""One spool → one MLflow run, as often as one likes.

A run is found by its ``hepcnn.run`` tag. Its points are sent in the order of the spool, with the spool's times: MLflow
takes an equal point only once, so a push that was cut off is simply done again.
"""

import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepcnn.errors import InputError
from hepcnn.spool.lock import FileLock
from hepcnn.spool.reader import Spool, read_spool
from hepcnn.spool.writer import find_spool
from hepcnn.tracking.memory import Memory, read_memory, write_memory
from hepcnn.tracking.send import Sender
from hepcnn.tracking.store import Store, explained

RUN, KEY = "hepcnn.run", "hepcnn.key"
LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class TrackedRun:
    """Where a run is in MLflow; ``address`` is its page, ``n_points`` what this push added."""

    name: str
    run_id: str
    address: str
    is_new: bool
    n_points: int = 0


def push_spool(path: Path, store: Store, *, files: Mapping[str, str] | None = None) -> TrackedRun | None:
    """Bring to a store what it lacks of a spool.

    Parameters
    ----------
    path
        The spool.
    store
        The store.
    files
        More files of the run: paths, relative to the spool's folder, and their places.

    Returns
    -------
    TrackedRun or None
        None when somebody deleted the run in the store: it is left so.

    Raises
    ------
    TrackingError
        When the store cannot be reached; what was sent is kept, and the next push goes on.
    LockedError
        When another process pushes this spool for more than a minute.
    InputError
        When the spool is damaged.
    """
    with _locked(path) as lock, explained(store.uri):
        spool = read_spool(path)
        pusher = _Pusher(spool, store, lock)
        return pusher.push(dict(spool.artifacts) | dict(files or {}))


class _Pusher:
    def __init__(self, spool: Spool, store: Store, lock: FileLock | None) -> None:
        self.spool, self.store, self.lock = spool, store, lock
        self.place = f"{store.uri} {store.name}"
        self.memory = read_memory(spool.path, self.place)

    def push(self, files: Mapping[str, str]) -> TrackedRun | None:
        run, is_new = self._find_or_create()
        if run.info.lifecycle_stage == "deleted":
            return None
        run_id = run.info.run_id
        sender = Sender(self.spool, self.store, self.memory, self._remember)
        sender.send_params(run_id)
        n_points = sender.send_points(run_id)
        sender.send_tags(run_id)
        sender.send_datasets(run)
        for path, place in files.items():
            sender.send_file(run_id, path, place)
        sender.send_status(run_id)
        self._remember()
        return TrackedRun(self.spool.start["name"], run_id, self.store.address(run_id), is_new, n_points)

    def _find_or_create(self) -> tuple[Any, bool]:
        if self.memory.run_id:
            with contextlib.suppress(self.store.mlflow.exceptions.MlflowException):
                run = self.store.client.get_run(self.memory.run_id)
                if run.data.tags.get(RUN) == self.spool.uid:
                    return run, False
        self.memory = Memory()
        run = self.store.find_run(RUN, self.spool.uid)
        is_new = run is None
        if is_new:
            start = self.spool.start
            tags = {KEY: start["key"]}
            if parent := self._find_parent():
                tags["mlflow.parentRunId"] = parent
            day = date_of(start["time"])
            run = self.store.create_run(
                RUN, self.spool.uid, tags=tags, name=f"{start['name']} {day}", start_time=int(start["time"])
            )
        self.memory.run_id = run.info.run_id
        self._remember()
        return run, is_new

    def _find_parent(self) -> str:
        """The study's run; made here where it is not there yet, so that no child is pushed without it."""
        uid = self.spool.start.get("parent")
        if not uid:
            return ""
        if (run := self.store.find_run(RUN, uid)) is not None:
            return str(run.info.run_id)
        folder = self.spool.path.resolve().parent
        spools = [find_spool(above) for above in list(folder.parents)[:4] if _has(above, uid)]
        # Whoever pushes another part of this study asks for the same lock.
        with _locked((spools or [folder.parent / f"track-{uid[:8]}.jsonl"])[0]):
            if (run := self.store.find_run(RUN, uid)) is None:
                study, started = self.spool.start["study"], int(self.spool.start["time"])
                tags = {KEY: study, "hepcnn.study": study}
                run = self.store.create_run(RUN, uid, tags=tags, name=f"study {study}", start_time=started)
        return str(run.info.run_id)

    def _remember(self) -> None:
        if self.lock is not None:
            self.lock.touch()
        write_memory(self.spool.path, self.place, self.memory)


def date_of(milliseconds: int) -> str:
    """The day, in UTC."""
    return datetime.datetime.fromtimestamp(milliseconds / 1000, tz=datetime.UTC).strftime("%Y-%m-%d")


@contextlib.contextmanager
def _locked(spool: Path) -> Iterator[FileLock | None]:
    """Hold a spool's lock; where its folder cannot be written to, nobody else can push from it either."""
    if not os.access(spool.parent, os.W_OK):
        yield None
        return
    with FileLock(spool.with_name(f"{spool.name}.lock"), wait=LOCK_SECONDS) as lock:
        yield lock


def _has(folder: Path, uid: str) -> bool:
    try:
        return read_spool(find_spool(folder)).uid == uid
    except (InputError, OSError):
        return False
