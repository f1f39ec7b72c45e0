"""One spool → one MLflow run, as often as one likes.

A run is found by its ``hepcnn.run`` tag. Its points are sent in the order of the spool, with the spool's times: MLflow
takes an equal point only once, so a push that was cut off is simply done again.
"""

import contextlib
import datetime
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepcnn.errors import InputError
from hepcnn.spool.lock import FileLock
from hepcnn.spool.reader import Point, Spool, read_spool
from hepcnn.spool.writer import find_spool
from hepcnn.tracking.memory import Memory, read_memory, write_memory
from hepcnn.tracking.store import Store, explained

RUN, KEY, INFINITE, CUT = "hepcnn.run", "hepcnn.key", "hepcnn.infinite_metrics", "hepcnn.cut_parameters"
MOST_TEXT = 5000
"""Characters of a tag that every MLflow store takes."""
MOST_VALUE, MOST_NAME = 6000, 250
MOST_PARAMETERS, MOST_METRICS = 100, 1000
FULL_PARAMETERS = "long_parameters.json"
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
        self._send_params(run_id)
        n_points = self._send_points(run_id)
        self._send_tags(run_id)
        self._send_datasets(run)
        for path, place in files.items():
            self._send_file(run_id, path, place)
        self._send_status(run_id)
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
            tags = {RUN: self.spool.uid, KEY: start["key"]}
            if parent := self._find_parent():
                tags["mlflow.parentRunId"] = parent
            day = date_of(start["time"])
            run = self.store.client.create_run(
                self.store.experiment, tags=tags, run_name=f"{start['name']} {day}", start_time=int(start["time"])
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
                tags = {RUN: uid, KEY: study, "hepcnn.study": study}
                run = self.store.client.create_run(
                    self.store.experiment, tags=tags, run_name=f"study {study}", start_time=started
                )
        return str(run.info.run_id)

    def _send_params(self, run_id: str) -> None:
        listed = list(self.spool.params.items())
        if len(listed) == self.memory.params:
            return
        entities, long = self.store.mlflow.entities, {}
        sent = []
        for name, value in listed:
            text = str(value)
            if len(text) > MOST_VALUE:
                long[name], text = value, text[: MOST_VALUE - 1] + "…"
            sent.append(entities.Param(clean_name(name), text))
        for start in range(0, len(sent), MOST_PARAMETERS):
            self.store.client.log_batch(run_id, params=sent[start : start + MOST_PARAMETERS])
        if long:
            self.store.client.log_dict(run_id, long, FULL_PARAMETERS)
            self.store.client.set_tag(run_id, CUT, f"{', '.join(long)}: whole in {FULL_PARAMETERS}"[:MOST_TEXT])
        self.memory.params = len(listed)

    def _send_points(self, run_id: str) -> int:
        points, sent = self.spool.points, min(self.memory.points, len(self.spool.points))
        for start in range(sent, len(points), MOST_METRICS):
            batch = points[start : start + MOST_METRICS]
            self.store.client.log_batch(run_id, metrics=[self._make_metric(point) for point in batch])
            self.memory.points = start + len(batch)
            self._remember()
        return len(points) - sent

    def _make_metric(self, point: Point) -> Any:
        # MLflow keeps NaN as such, and for an infinity the largest number that it knows: tags tell these apart.
        if math.isinf(point.value):
            names = {name for name in self.spool.tags.get(INFINITE, "").split(", ") if name} | {point.key}
            self.spool.tags[INFINITE] = ", ".join(sorted(names))
        return self.store.mlflow.entities.Metric(clean_name(point.key), point.value, point.time, point.step)

    def _send_tags(self, run_id: str) -> None:
        tags = {clean_name(name): text[:MOST_TEXT] for name, text in self.spool.tags.items()}
        if self.spool.note:
            tags["mlflow.note.content"] = self.spool.note[:MOST_TEXT]
        if self.spool.n_resumed:
            tags["hepcnn.resumed"] = str(self.spool.n_resumed)
        changed = {name: text for name, text in tags.items() if self.memory.tags.get(name) != text}
        entities = self.store.mlflow.entities
        listed = [entities.RunTag(name, text) for name, text in changed.items()]
        for start in range(0, len(listed), MOST_PARAMETERS):
            self.store.client.log_batch(run_id, tags=listed[start : start + MOST_PARAMETERS])
        self.memory.tags |= changed

    def _send_datasets(self, run: Any) -> None:
        if len(self.spool.datasets) == self.memory.n_datasets:
            return
        entities = self.store.mlflow.entities
        known = {one.dataset.digest for one in run.inputs.dataset_inputs} if run.inputs else set()
        inputs = []
        for record in self.spool.datasets:
            # MLflow's digests have 36 characters; the whole hash is in the source.
            digest = str(record["sha256"])[:32]
            if digest in known:
                continue
            known.add(digest)
            source = {name: record[name] for name in ("path", "sha256", "entries") if record.get(name) is not None}
            dataset = entities.Dataset(
                name=str(record["name"])[-500:], digest=digest, source_type="local", source=json.dumps(source)
            )
            tag = entities.InputTag("mlflow.data.context", str(record.get("context", self.spool.start["stage"])))
            inputs.append(entities.DatasetInput(dataset, [tag]))
        if inputs:
            self.store.client.log_inputs(run.info.run_id, inputs)
        self.memory.n_datasets = len(self.spool.datasets)

    def _send_file(self, run_id: str, path: str, place: str) -> None:
        source = (self.spool.path.parent / path).resolve()
        if not source.exists():
            return
        stamp = _stamp(source)
        key = f"{place}:{path}"
        if self.memory.files.get(key) == stamp:
            return
        if source.is_dir():
            self.store.client.log_artifacts(run_id, str(source), place or source.name)
        else:
            self.store.client.log_artifact(run_id, str(source), place or None)
        self.memory.files[key] = stamp
        self._remember()

    def _send_status(self, run_id: str) -> None:
        if self.spool.status == self.memory.status:
            return
        if self.spool.status is None:
            self.store.client.update_run(run_id, status="RUNNING")
        elif self.spool.start["stage"] != "study":
            self.store.client.set_terminated(run_id, self.spool.status, end_time=self.spool.time)
        self.memory.status = self.spool.status

    def _remember(self) -> None:
        if self.lock is not None:
            self.lock.touch()
        write_memory(self.spool.path, self.place, self.memory)


def clean_name(name: str) -> str:
    """A name with the characters that MLflow takes, and no longer than it takes; two long ones stay different."""
    cleaned = re.sub(r"[^\w\-. :/]", "_", name).strip("/ ") or "_"
    if len(cleaned) <= MOST_NAME:
        return cleaned
    return cleaned[: MOST_NAME - 9] + "_" + hashlib.sha256(name.encode()).hexdigest()[:8]


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


def _stamp(path: Path) -> str:
    """What changes when a file, or any file of a folder, does."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    listed = [(str(one.relative_to(path)), one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
