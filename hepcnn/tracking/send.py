"""The parts of one run, sent to MLflow: each only as far as it is not there yet."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hepcnn.spool.reader import Spool
from hepcnn.tracking.memory import Memory
from hepcnn.tracking.store import Store

INFINITE, CUT = "hepcnn.infinite_metrics", "hepcnn.cut_parameters"
MOST_TEXT = 5000
"""Characters of a tag that every MLflow store takes."""
MOST_VALUE, MOST_NAME = 6000, 250
MOST_PARAMETERS, MOST_METRICS = 100, 1000
FULL_PARAMETERS = "long_parameters.json"


class Sender:
    """Sends what a spool says of a run, within MLflow's limits.

    Parameters
    ----------
    spool, store
        From where to where.
    memory
        What was sent before; kept up to date.
    remember
        Called whenever something has been sent that need not be sent again.
    """

    def __init__(self, spool: Spool, store: Store, memory: Memory, remember: Callable[[], None]) -> None:
        self.spool, self.store, self.memory, self._remember = spool, store, memory, remember

    def send_params(self, run_id: str) -> None:
        """Parameters; those that are too long are cut, and whole in a file."""
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

    def send_points(self, run_id: str) -> int:
        """Points of metrics, in the order of the spool; returns how many were sent."""
        points, sent = self.spool.points, min(self.memory.points, len(self.spool.points))
        for start in range(sent, len(points), MOST_METRICS):
            batch = points[start : start + MOST_METRICS]
            metric = self.store.mlflow.entities.Metric
            made = [metric(clean_name(point.key), point.value, point.time, point.step) for point in batch]
            self.store.client.log_batch(run_id, metrics=made)
            self.memory.points = start + len(batch)
            self._remember()
        return len(points) - sent

    def send_tags(self, run_id: str) -> None:
        """Tags that changed, and the note."""
        tags = {clean_name(name): text[:MOST_TEXT] for name, text in self.spool.tags.items()}
        if self.spool.note:
            tags["mlflow.note.content"] = self.spool.note[:MOST_TEXT]
        if self.spool.n_resumed:
            tags["hepcnn.resumed"] = str(self.spool.n_resumed)
        # MLflow keeps NaN as such, and for an infinity the largest number that it knows: this tells these apart.
        if infinite := {point.key for point in self.spool.points if math.isinf(point.value)}:
            tags[INFINITE] = ", ".join(sorted(infinite))[:MOST_TEXT]
        changed = {name: text for name, text in tags.items() if self.memory.tags.get(name) != text}
        entities = self.store.mlflow.entities
        listed = [entities.RunTag(name, text) for name, text in changed.items()]
        for start in range(0, len(listed), MOST_PARAMETERS):
            self.store.client.log_batch(run_id, tags=listed[start : start + MOST_PARAMETERS])
        self.memory.tags |= changed

    def send_datasets(self, run: Any) -> None:
        """Inputs, each once."""
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

    def send_file(self, run_id: str, path: str, place: str) -> None:
        """A file or folder, where it is there and differs from what was sent; one that is gone is left as it was."""
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

    def send_status(self, run_id: str) -> None:
        """How the run ended, or that it goes on. A study has no end of its own."""
        if self.spool.status == self.memory.status:
            return
        if self.spool.status is None:
            self.store.client.update_run(run_id, status="RUNNING")
        elif self.spool.start["stage"] != "study":
            self.store.client.set_terminated(run_id, self.spool.status, end_time=self.spool.time)
        self.memory.status = self.spool.status


def clean_name(name: str) -> str:
    """A name with the characters that MLflow takes, and no longer than it takes; two long ones stay different."""
    cleaned = re.sub(r"[^\w\-. :/]", "_", name).strip("/ ") or "_"
    if len(cleaned) <= MOST_NAME:
        return cleaned
    return cleaned[: MOST_NAME - 9] + "_" + hashlib.sha256(name.encode()).hexdigest()[:8]


def _stamp(path: Path) -> str:
    """What changes when a file, or any file of a folder, does."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    listed = [(str(one.relative_to(path)), one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
